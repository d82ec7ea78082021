def check(initial, final, *, x: dict, y: dict):
    return final["facing"] == x and [x, y] in final["next_to"] and [y, x] in final["next_to"]
