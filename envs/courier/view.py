"""What a courier is shown: the world in words, and the same as entities.

Everything is shown; there is nothing to explore. No rule of the world is decided here.
"""

from __future__ import annotations

from agentlab.envs.courier.world import Layout, Position, Thing
from agentlab.types import Entity, JsonObject


def entities_of(layout: Layout, position: Position) -> tuple[Entity, ...]:
    """Places, items and containers, in that order; a token that is spent is gone."""
    return tuple(
        _entity(layout, thing, changing)
        for thing in layout.things.values()
        if (changing := _changing(layout, position, thing)) is not None
    )


def _changing(layout: Layout, position: Position, thing: Thing) -> JsonObject | None:
    """The properties that moves can change; None for a thing that is gone."""
    place = layout.place_of(position, thing)
    if place is None:
        return None
    match thing.type:
        case "place":
            return {}
        case "container":
            return {"place": layout.places[place], "locked": position.locked[thing.number]}
        case "item":
            inside = layout.container_of(position, thing.number) is not None
            return {"place": layout.places[place], "inside": inside}


def _entity(layout: Layout, thing: Thing, changing: JsonObject) -> Entity:
    match thing.type:
        case "place":
            reference, fixed = layout.place_references[thing.number], {}
        case "container":
            reference, fixed = layout.container_references[thing.number], {"container": True}
        case "item":
            reference = layout.items[thing.number]
            fixed = {"cargo": layout.is_cargo(thing.number)}
    return Entity(
        type=thing.type, reference=reference, properties={**reference, **fixed, **changing}
    )


def text_of(layout: Layout, position: Position) -> str:
    """What a courier sees: the whole world, a line for each place."""
    held = position.holding
    in_hand = "nothing" if held is None else f"the {_name(layout.items[held])}"
    where = f"at the {layout.places[position.at]}"
    if position.beside is not None:
        references = layout.items if position.beside.type == "item" else layout.container_references
        where += f", beside the {_name(references[position.beside.number])},"
    lines = [f"You are {where} and hold {in_hand}."]
    for index, name in enumerate(layout.places):
        near = sorted(
            layout.places[b if a == index else a] for a, b in layout.gates if index in (a, b)
        )
        seen = [
            f"the {_name(item)}"
            for item, where in zip(layout.items, position.where, strict=True)
            if where == index
        ]
        for number, (kind, metal, place) in enumerate(layout.containers):
            if place == index:
                seen.append(_container(layout, position, number, f"the {metal} {kind}"))
        here = ", ".join(seen) or "nothing"
        lines.append(f"The {name} (gates to {', '.join(near)}): {here}.")
    return "\n".join(lines)


def _container(layout: Layout, position: Position, number: int, name: str) -> str:
    if position.locked[number]:
        return f"{name} (locked)"
    inside = [
        _name(item)
        for item, where in zip(layout.items, position.where, strict=True)
        if where == len(layout.places) + number
    ]
    return f"{name} (with {', '.join(inside)})" if inside else name


def _name(reference: JsonObject) -> str:
    return f"{reference.get('colour') or reference.get('metal')} {reference['kind']}"
