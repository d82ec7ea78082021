def check(initial, final, *, item: dict, container: dict):
    return {"container": container, "item": item} in final["delivered"]
