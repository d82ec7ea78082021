def holding(env, *, item: dict):
    """Bring about holding(item): walk, then take.

    Precondition: item is cargo True.
    Effect: final["holding"] == item.
    """
    env.walk(to=item)
    env.take(item=item)
