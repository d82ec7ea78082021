def pick_up_past_locked_door(env, *, x: dict, door: dict):
    """Bring about pick_up(x): pick up, then open, then drop, then pick up.

    Precondition: door is kind door, state locked.
    Effect: final["carrying"] == x.
    """
    env.pick_up(target={"color": door["color"], "kind": "key"})
    env.open(target=door)
    env.drop()
    env.pick_up(target=x)
