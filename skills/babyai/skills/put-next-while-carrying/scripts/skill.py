def put_next_while_carrying(env, *, x: dict, y: dict):
    """Bring about put_next(x, y): drop, then put next.

    Precondition: state has a carrying.
    Effect: final["facing"] == x and [x, y] in final["next_to"] and [y, x] in final["next_to"].
    """
    env.drop()
    env.skills.put_next(x=x, y=y)
