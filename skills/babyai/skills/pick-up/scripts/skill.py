def pick_up(env, *, x: dict):
    """Bring about pick_up(x): pick up.

    Precondition: none.
    Effect: final["carrying"] == x.
    """
    env.pick_up(target=x)
