def open_closed_past_closed_door(env, *, x: dict, door: dict):
    """Bring about open(x): open, then open.

    Precondition: x is kind door, state closed; door is kind door, state closed.
    Effect: final["facing"] == x and x in final["open"].
    """
    env.skills.open(x=door)
    env.skills.open(x=x)
