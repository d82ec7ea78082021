def at(env, *, place: dict):
    """Bring about at(place): walk.

    Precondition: place is kind place.
    Effect: final["at"] == place.
    """
    env.walk(to=place)
