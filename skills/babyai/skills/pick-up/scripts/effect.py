def check(initial, final, *, x: dict):
    return final["carrying"] == x
