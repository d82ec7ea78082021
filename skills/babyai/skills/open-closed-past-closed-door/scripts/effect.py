def check(initial, final, *, x: dict, door: dict):
    return final["facing"] == x and x in final["open"]
