def check(initial, final, *, x: dict, door: dict):
    return final["carrying"] == x
