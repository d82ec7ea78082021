def go_to_past_locked_door(env, *, x: dict, door: dict):
    """Bring about go_to(x): pick up, then open, then go to.

    Precondition: door is kind door, state locked.
    Effect: final["facing"] == x.
    """
    env.pick_up(target={"color": door["color"], "kind": "key"})
    env.open(target=door)
    env.go_to(target=x)
