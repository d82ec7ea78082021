def check(initial, final, *, container: dict):
    return container not in final["locked"] and container in final["unlocked"]
