def open_locked(env, *, x: dict):
    """Bring about open(x): pick up, then open.

    Precondition: x is kind door, state locked.
    Effect: final["facing"] == x and x in final["open"].
    """
    env.pick_up(target={"color": x["color"], "kind": "key"})
    env.open(target=x)
