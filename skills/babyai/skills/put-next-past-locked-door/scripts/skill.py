def put_next_past_locked_door(env, *, x: dict, y: dict, door: dict):
    """Bring about put_next(x, y): open locked, then drop, then put next.

    Precondition: door is kind door, state locked.
    Effect: final["facing"] == x and [x, y] in final["next_to"] and [y, x] in final["next_to"].
    """
    env.skills.open_locked(x=door)
    env.drop()
    env.skills.put_next(x=x, y=y)
