def open(env, *, x: dict):
    """Bring about open(x): open.

    Precondition: x is kind door.
    Effect: final["facing"] == x and x in final["open"].
    """
    env.open(target=x)
