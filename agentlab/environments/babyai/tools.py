"""The two toolsets, and how each call is carried out as primitive moves.

A call is planned on what is known (a `World`, which in the partial view is built from what was
seen) and gives either the moves or a sentence that says why it cannot be done. Nothing is moved
here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from pydantic import JsonValue

from agentlab.environments.babyai.goal import COLORS, KINDS
from agentlab.environments.babyai.layout import CARRIED, EMPTY, LOCKED, OPEN, Layout
from agentlab.environments.babyai.paths import facing, reach
from agentlab.environments.babyai.world import Move, World
from agentlab.types import JsonObject, ToolCall, ToolSpec

Toolset = Literal["objects", "primitive"]
View = Literal["full", "partial"]


class Plan(NamedTuple):
    """The moves of one call, or why there are none."""

    moves: tuple[int, ...] = ()
    error: str | None = None


NOTHING: JsonObject = {"type": "object", "properties": {}, "additionalProperties": False}


def _on_target(*kinds: str) -> JsonObject:
    """Arguments of a tool that takes one thing of these kinds."""
    target: JsonObject = {
        "type": "object",
        "description": "A thing by colour and kind, and by number where several look the same.",
        "x-entity": "object",
        "properties": {
            "color": {"type": "string", "enum": list(COLORS)},
            "kind": {"type": "string", "enum": list(kinds)},
            "number": {"type": "integer", "minimum": 1},
        },
        "required": ["color", "kind"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"target": target},
        "required": ["target"],
        "additionalProperties": False,
    }


PRIMITIVE: Mapping[str, Move] = {
    "turn_left": Move.LEFT,
    "turn_right": Move.RIGHT,
    "move_forward": Move.FORWARD,
    "pick_up_ahead": Move.PICKUP,
    "drop_ahead": Move.DROP,
    "toggle_ahead": Move.TOGGLE,
    "done": Move.DONE,
}

_PRIMITIVE_TEXT: Mapping[str, str] = {
    "turn_left": "Turn left on the spot.",
    "turn_right": "Turn right on the spot.",
    "move_forward": "Move one cell ahead, if nothing is there.",
    "pick_up_ahead": "Pick up the thing in the cell ahead.",
    "drop_ahead": "Put what you carry into the empty cell ahead.",
    "toggle_ahead": "Open or close the door ahead, or open the box ahead.",
    "done": "Do nothing for one step.",
}

LOOK = ToolSpec(
    name="look",
    description="Look at everything that can be seen; takes no step.",
    parameters=NOTHING,
    effect="none",
)
EXPLORE = ToolSpec(
    name="explore",
    description=(
        "Walk to the nearest place that shows something not seen yet; where there is none, open "
        "the nearest door that leads somewhere unseen."
    ),
    parameters=NOTHING,
    effect="explores",
)
OBJECTS = (
    LOOK,
    ToolSpec(
        name="go_to",
        description="Walk to a thing and face it. Closed doors are in the way.",
        parameters=_on_target(*KINDS),
    ),
    ToolSpec(
        name="pick_up",
        description="Walk to a ball, box or key and pick it up. You can carry one thing.",
        parameters=_on_target("ball", "box", "key"),
    ),
    ToolSpec(
        name="put_next_to",
        description="Put what you carry on a free cell right beside a thing.",
        parameters=_on_target(*KINDS),
    ),
    ToolSpec(
        name="drop",
        description="Put what you carry on a free cell near by, out of doorways.",
        parameters=NOTHING,
    ),
    ToolSpec(
        name="open",
        description=(
            "Walk to a door and open it (an open one is closed and opened again); a locked door "
            "needs the key of its colour in your hands. A box opens too and is gone then."
        ),
        parameters=_on_target("door", "box"),
    ),
)


def tools_of(toolset: Toolset, view: View) -> tuple[ToolSpec, ...]:
    """The tools of a toolset; only the partial view has something to explore."""
    if toolset == "primitive":
        return tuple(
            ToolSpec(name=name, description=_PRIMITIVE_TEXT[name], parameters=NOTHING)
            for name in PRIMITIVE
        )
    return (LOOK, EXPLORE, *OBJECTS[1:]) if view == "partial" else OBJECTS


def name_of(reference: JsonObject) -> str:
    """A reference in words: `red ball 2`."""
    number = reference.get("number")
    words = f"{reference['color']} {reference['kind']}"
    return words if number is None else f"{words} {number}"


def find(layout: Layout, target: JsonValue) -> int | str:
    """Index of the thing that a reference names, or a sentence that says why there is none."""
    for index, reference in enumerate(layout.references):
        if reference == target:
            return index
    if isinstance(target, dict):
        looks = {"color": target.get("color"), "kind": target.get("kind")}
        alike = [r for r in layout.references if {**looks, "number": r.get("number")} == r]
        if len(alike) > 1:
            numbers = " or ".join(str(reference["number"]) for reference in alike)
            return f"There are {len(alike)} of these; say which by number {numbers}."
    return f"There is no such thing here: {target!r}."


def plan_primitive(call: ToolCall) -> Plan:
    """The one move of a primitive call."""
    move = PRIMITIVE.get(call.tool)
    if move is None:
        return Plan(error=f"There is no tool {call.tool!r}; use one of {', '.join(PRIMITIVE)}.")
    if call.arguments:
        return Plan(error=f"{call.tool!r} takes no arguments.")
    return Plan(moves=(move,))


def plan_objects(world: World, call: ToolCall) -> Plan:
    """The moves of a call of the objects toolset; `look` and `explore` are not planned here."""
    if call.tool in ("drop", LOOK.name):
        if call.arguments or call.tool == LOOK.name:
            return Plan(error=f"{call.tool!r} takes no arguments.")
        return _drop(world)
    planner = _ON_TARGET.get(call.tool)
    if planner is None:
        known = ", ".join(tool.name for tool in OBJECTS)
        return Plan(error=f"There is no tool {call.tool!r}; use one of {known}.")
    if call.arguments.keys() != {"target"}:
        return Plan(error=f"{call.tool!r} takes one argument, 'target'.")
    thing = find(world.layout, call.arguments["target"])
    if isinstance(thing, str):
        return Plan(error=thing)
    return planner(world, thing)


def _name(world: World, thing: int) -> str:
    return f"the {name_of(world.layout.references[thing])}"


def _approach(world: World, thing: int) -> Plan:
    cell = world.where[thing]
    if cell < 0:
        if cell == CARRIED:
            return Plan(error=f"You carry {_name(world, thing)}; drop it first.")
        return Plan(error=f"{_name(world, thing).capitalize()} is not there to be reached.")
    width = world.layout.width
    known = reach(world.free, width, world.cell, world.direction)
    pose = known.to_pose(facing(cell, width))
    if pose < 0:
        return Plan(error=f"There is no free way to {_name(world, thing)}.")
    return Plan(moves=known.moves(pose))


def _go_to(world: World, thing: int) -> Plan:
    plan = _approach(world, thing)
    if plan.error is None and not plan.moves:
        # Already there: one idle step lets the verifier see it.
        return Plan(moves=(Move.DONE,))
    return plan


def _pick_up(world: World, thing: int) -> Plan:
    if world.layout.things[thing].kind == "door":
        return Plan(error="A door cannot be picked up.")
    if world.carrying == thing:
        return Plan(error=f"You carry {_name(world, thing)} already.")
    if world.carrying >= 0:
        return Plan(error=f"You carry {_name(world, world.carrying)}; drop it first.")
    plan = _approach(world, thing)
    return plan if plan.error else Plan(moves=(*plan.moves, Move.PICKUP))


def _open(world: World, thing: int) -> Plan:
    kind = world.layout.things[thing].kind
    if kind not in ("door", "box"):
        return Plan(error=f"A {kind} cannot be opened.")
    if kind == "box":
        plan = _approach(world, thing)
        return plan if plan.error else Plan(moves=(*plan.moves, Move.TOGGLE))
    state = world.doors[thing]
    if state == LOCKED:
        color = world.layout.things[thing].color
        held = world.layout.things[world.carrying] if world.carrying >= 0 else None
        if held is None or held.kind != "key" or held.color != color:
            return Plan(
                error=f"{_name(world, thing).capitalize()} is locked; carry the {color} key to it."
            )
    plan = _approach(world, thing)
    if plan.error:
        return plan
    toggles = (Move.TOGGLE, Move.TOGGLE) if state == OPEN else (Move.TOGGLE,)
    return Plan(moves=(*plan.moves, *toggles))


def _put_next_to(world: World, thing: int) -> Plan:
    if world.carrying < 0:
        return Plan(error="You carry nothing.")
    if world.carrying == thing:
        return Plan(error=f"You carry {_name(world, thing)}; it cannot be put next to itself.")
    cell = world.where[thing]
    if cell < 0:
        return Plan(error=f"{_name(world, thing).capitalize()} is not there to be reached.")
    width, cells = world.layout.width, world.cells
    free = [cell + offset for offset in world.layout.offsets if cells[cell + offset] == EMPTY]
    clear = [spot for spot in free if spot not in world.layout.doorways]
    harmless = [spot for spot in clear if _leaves_a_way(world, spot)]
    known = reach(world.free, width, world.cell, world.direction)
    for spots in (harmless, clear, free):
        pose = known.to_pose({pose for spot in spots for pose in facing(spot, width)})
        if pose >= 0:
            return Plan(moves=(*known.moves(pose), Move.DROP))
    return Plan(error=f"There is no free cell within reach beside {_name(world, thing)}.")


def _drop(world: World) -> Plan:
    if world.carrying < 0:
        return Plan(error="You carry nothing.")
    cells, doorways = world.cells, world.layout.doorways

    def free(spot: int) -> bool:
        return cells[spot] == EMPTY

    def clear(spot: int) -> bool:
        return free(spot) and spot not in doorways

    def harmless(spot: int) -> bool:
        return clear(spot) and _leaves_a_way(world, spot)

    known = reach(world.free, world.layout.width, world.cell, world.direction)
    for accepts in (harmless, clear, free):
        pose = known.to_front(accepts)
        if pose >= 0:
            return Plan(moves=(*known.moves(pose), Move.DROP))
    return Plan(error="There is no free cell within reach to put it on.")


def _leaves_a_way(world: World, spot: int) -> bool:
    """Whether the free cells around a spot stay joined to one another when it is filled."""
    east, south, west, north = world.layout.offsets
    ring = (north, north + east, east, south + east, south, south + west, west, north + west)
    free = [world.free[spot + offset] for offset in ring]
    stretches = 0
    for side in range(0, 8, 2):
        # A stretch of free cells ends at a side of the spot when the next corner, or the next
        # side, is blocked.
        if free[side] and not (free[side + 1] and free[(side + 2) % 8]):
            stretches += 1
    return stretches <= 1


_ON_TARGET: Mapping[str, Callable[[World, int], Plan]] = {
    "go_to": _go_to,
    "pick_up": _pick_up,
    "open": _open,
    "put_next_to": _put_next_to,
}
