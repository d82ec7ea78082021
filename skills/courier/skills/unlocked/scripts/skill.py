def unlocked(env, *, container: dict):
    """Bring about unlocked(container): walk, then take, then walk, then unlock.

    Precondition: container is container True, locked True.
    Effect: container not in final["locked"] and container in final["unlocked"].
    """
    env.walk(to={"kind": "token", "metal": container["metal"]})
    env.take(item={"kind": "token", "metal": container["metal"]})
    env.walk(to=container)
    env.unlock(container=container)
