def check(initial, final, *, x: dict):
    return final["facing"] == x and x in final["open"]
