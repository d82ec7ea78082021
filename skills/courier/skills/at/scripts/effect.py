def check(initial, final, *, place: dict):
    return final["at"] == place
