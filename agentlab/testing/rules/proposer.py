"""A proposer that makes tasks from what its prompt shows: the start state, the tools, the changes.

It knows five kinds of world. Where it sees a courier's, BabyAI's rooms, a shop or facts that can be
brought about, it words tasks in the language of these and needs no code; where it sees tools for
files, it asks for files to be written and moved too, with a verifier over whatever state there is.
Elsewhere it proposes nothing, which is a valid answer. It sometimes forgets the unlocking, or what
else comes first, in a solution, and mends it when it is told that the task failed.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from typing import cast

from pydantic import JsonValue

from agentlab.testing.rules import asked, babyai, courier, effects, files, git, store
from agentlab.testing.rules.reading import Call, given, labelled, whole_text
from agentlab.types import ChatRequest, JsonObject, ToolSpec, derive_seed

FORGETS = 0.2
"""Of the solutions past a lock, those without the unlocking."""
FREELY = 0.3
"""Of the tasks over files, those in words of its own although the facts have a language."""
TOOL_LINE = re.compile(
    r"(?:^|⟦)- ([\w.-]+) (\{.*\}) \((?:none|explores|changes)\): (.*?)⟧?$", re.MULTILINE
)
FILE = re.compile(r"(?<![\w/])[\w-]+(?:/[\w-]+)*\.[a-z]{1,5}\b")


def tasks(request: ChatRequest) -> JsonObject:
    """Several tasks."""
    found = re.findall(r"Propose (\d+) tasks", whole_text(request))
    return {"tasks": [*_tasks(request, int(found[-1]) if found else 1)]}


def task(request: ChatRequest) -> JsonObject | None:
    """One task; None where it knows none."""
    if "Write the instruction that this attempt fulfils" in whole_text(request):
        return _achieved(request)
    made = _tasks(request, 1)
    return made[0] if made else None


def _rng(request: ChatRequest) -> random.Random:
    # The first user's message: a repair is of the same task.
    first = next((m.text for m in request.messages if m.role == "user"), "")
    return random.Random(derive_seed(request.sampling.seed, first))


def _tasks(request: ChatRequest, count: int) -> list[JsonObject]:
    worlds = [w for piece in given(request) for w in courier.worlds(piece)]
    rng = _rng(request)
    repaired = sum("does not hold" in m.text for m in request.messages) > 0
    known = whole_text(request).lower()
    made: dict[str, JsonObject] = {}
    for _ in range(count * 10):
        if worlds:
            forgets = rng.random() < FORGETS and not repaired
            new = _delivery(worlds[0], rng, forgets=forgets, pairs="composed" in known)
        else:
            new = (
                _shopping(request, rng)
                or _worded(request, rng, mends=repaired)
                or _file_task(request, rng)
            )
        if new is None:
            break
        instruction = str(new["instruction"])
        if f"{instruction.lower()}" not in known or repaired:
            made.setdefault(instruction, new)
        if len(made) >= count:
            break
    return list(made.values())


def _draft(
    instruction: str, solution: Sequence[Call], failing: Sequence[Sequence[Call]], verify: str = ""
) -> JsonObject:
    def told(calls: Sequence[Call]) -> JsonValue:
        return [{"tool": name, "arguments": arguments} for name, arguments in calls]

    return {
        "instruction": instruction,
        "verify": verify,
        "solution": told(solution),
        "failing": [told(calls) for calls in failing],
    }


# --- a courier's world ----------------------------------------------------------------------


def _delivery(
    world: courier.World, rng: random.Random, *, forgets: bool, pairs: bool
) -> JsonObject | None:
    items = sorted(name for name in world.items if not name.endswith("token"))
    boxes, places = sorted(world.boxes), sorted(set(world.places) - {world.at})
    if not items or not boxes or not places:
        return None
    clauses: list[str] = []
    calls: list[Call] = []
    kinds = ["deliver", "deliver", "hold", "unlock", "go"]
    opened: set[str] = set()
    holding = world.holding
    for _ in range(2 if pairs or rng.random() < 0.3 else 1):
        kind = rng.choice(kinds)
        kinds = [other for other in kinds if other != kind]
        item, box, place = rng.choice(items), rng.choice(boxes), rng.choice(places)
        shut = world.boxes[box][1] and box not in opened
        steps: list[Call] = []
        if kind == "unlock" and not shut:
            kind = "deliver"
        if kind == "unlock" or (kind == "deliver" and shut and not forgets):
            steps += courier.steps_to_unlock(box)
            opened.add(box)
        if kind in ("deliver", "hold"):
            steps += courier.steps_to_hold(item)
        if kind == "deliver":
            steps += courier.steps_at(box, "put_in")
        if kind == "go":
            steps.append(("walk", {"to": courier.reference(place)}))
        elif holding:
            steps.insert(0, ("leave", {}))
        holding = item if kind == "hold" else holding if kind == "go" else ""
        calls += steps
        said = {
            "deliver": f"deliver the {item} to the {box}",
            "hold": f"pick up the {item}",
            "unlock": f"unlock the {box}",
            "go": f"go to the {place}",
        }[kind]
        clauses.append(said)
    text = ", then ".join(clauses)
    here: Call = ("walk", {"to": courier.reference(world.at)})
    return _draft(f"{text[0].upper()}{text[1:]}.", calls, [[("read_sign", {})], [here]])


def _achieved(request: ChatRequest) -> JsonObject | None:
    """What holds after and did not before, in the courier's words."""
    before, after = (_state(labelled(request, f"state {when}")) for when in ("before", "after"))
    if before is None or after is None or "delivered" not in after:
        return None
    said = ""
    for pair in _list(after, "delivered"):
        if pair not in _list(before, "delivered") and isinstance(pair, dict):
            said = f"Deliver {_name(pair.get('item'))} to {_name(pair.get('container'))}."
    if not said:
        for box in _list(after, "unlocked"):
            if box not in _list(before, "unlocked"):
                said = f"Unlock {_name(box)}."
    held = after.get("holding")
    if not said and held != before.get("holding") and isinstance(held, dict):
        said = f"Pick up {_name(held)}."
    if not said and after.get("at") != before.get("at"):
        said = f"Go to {_name(after.get('at'))}."
    failing: list[list[Call]] = [[("read_sign", {})], [("leave", {})]]
    return _draft(said, [], failing) if said else None


def _state(text: str) -> JsonObject | None:
    try:
        value: object = json.loads(text)
    except ValueError:
        return None
    return cast("JsonObject", value) if isinstance(value, dict) else None


def _list(state: JsonObject, name: str) -> list[JsonValue]:
    value = state.get(name)
    return value if isinstance(value, list) else []


def _name(reference: JsonValue) -> str:
    if not isinstance(reference, dict):
        return "something"
    if "name" in reference:
        return f"the {reference['name']}"
    return f"the {reference.get('colour') or reference.get('metal')} {reference.get('kind')}"


def _shopping(request: ChatRequest, rng: random.Random) -> JsonObject | None:
    said, solution, failing = store.task(request, rng)
    return _draft(said, solution, failing) if said else None


# --- worlds with a language of their own ----------------------------------------------------


def _worded(request: ChatRequest, rng: random.Random, *, mends: bool) -> JsonObject | None:
    """A task in BabyAI's words, or in those of facts; None where it sees neither, or by chance."""
    pages = [page for page in given(request) if babyai.view(page) or asked.facts(page)]
    if not pages:
        return None
    mission = babyai.mission(pages[0], rng)
    if mission is not None:
        return _draft(mission.text, [], mission.failing)
    tools = shown_tools(request)
    if rng.random() < FREELY and files.call(
        request.model_copy(update={"tools": tools}), "write", {"path": "a", "content": "b"}
    ):
        return None
    forgets = rng.random() < FORGETS and not mends
    # What it thinks of may be there already, or be like its own failing cases.
    craft = git.CRAFT if git.fits(tools) else effects.BY_WORDS
    thoughts = (
        effects.effect(pages[0], tools, rng, forgets=forgets, craft=craft) for _ in range(20)
    )
    made = next((each for each in thoughts if each is not None), None)
    return _draft(made.text, made.solution, made.failing) if made else None


# --- files ----------------------------------------------------------------------------------


def shown_tools(request: ChatRequest) -> tuple[ToolSpec, ...]:
    """The tools that a prompt lists, as far as they are told whole."""
    found: list[ToolSpec] = []
    for name, properties, description in TOOL_LINE.findall(whole_text(request)):
        try:
            value = cast("JsonObject", json.loads(properties))
        except ValueError:
            continue
        schema: JsonObject = {"type": "object", "properties": value}
        found.append(ToolSpec(name=name, description=description, parameters=schema))
    return tuple(found)


def _file_task(request: ChatRequest, rng: random.Random) -> JsonObject | None:
    pages = " ".join(labelled(request, label) for label in ("start state", "what you see"))
    known = sorted(set(FILE.findall(pages)))
    asked = request.model_copy(update={"tools": shown_tools(request)})
    word = f"note-{rng.randrange(10_000)}"
    new = f"{word}.txt"
    kind = rng.choice(("write", "write and move", "move") if known else ("write", "write and move"))
    other: list[Call | None] = [
        files.call(asked, "write", {"path": "other.txt", "content": "other"}),
        files.call(asked, "list", {"path": "."}) or files.call(asked, "list", {}),
    ]
    failing = [[each] for each in other if each is not None]
    calls: list[Call | None] = []
    text = f"written for {word}"
    if kind != "move":
        calls.append(files.call(asked, "write", {"path": new, "content": text}))
    match kind:
        case "write":
            said = f"Write '{text}' to {new}."
            verify = f"return {text!r} in after and {new!r} in after and {new!r} not in before"
        case "write and move":
            target = f"moved-{new}"
            values = {"source": new, "destination": target}
            calls.append(files.call(asked, "move", values))
            said = f"Write '{text}' to {new}, then move {new} to {target}."
            verify = f"return {text!r} in after and {target!r} in after"
        case _:
            source = rng.choice(known)
            target = f"moved-{source.rpartition('/')[2]}"
            calls.append(files.call(asked, "move", {"source": source, "destination": target}))
            said = f"Move {source} to {target}."
            verify = f"return {target!r} in after and {target!r} not in before"
    if len(failing) < 2 or None in calls:
        return None
    code = (
        "def verify(initial, final, answer):\n"
        f"    before, after = str(initial), str(final)\n    {verify}\n"
    )
    return _draft(said, [each for each in calls if each is not None], failing, code)
