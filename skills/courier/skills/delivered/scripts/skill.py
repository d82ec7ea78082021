def delivered(env, *, item: dict, container: dict):
    """Bring about delivered(item, container): walk, then take, then walk, then put in.

    Precondition: item is cargo True; container is container True.
    Effect: {"container": container, "item": item} in final["delivered"].
    """
    env.walk(to=item)
    env.take(item=item)
    env.walk(to=container)
    env.put_in(container=container)
