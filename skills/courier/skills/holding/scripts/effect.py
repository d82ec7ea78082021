def check(initial, final, *, item: dict):
    return final["holding"] == item
