def put_next(env, *, x: dict, y: dict):
    """Bring about put_next(x, y): pick up, then put next to.

    Precondition: none.
    Effect: final["facing"] == x and [x, y] in final["next_to"] and [y, x] in final["next_to"].
    """
    env.pick_up(target=x)
    env.put_next_to(target=y)
