"""An executor that plays BabyAI with the tools that take a thing, and words tasks for it.

It reads the mission's English and what it is shown, works the clauses off one after another, and
opens closed doors that are in the way. What it forgets is the key: it is refused at a locked door,
and gives up. It fetches the key first where something in the request speaks of keys: a piece of
advice, or a skill among its tools. Where requests have a seed, with some seeds it thinks of the
key after it was refused, so that attempts at one task do not all end alike.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from agentlab.testing.rules.reading import (
    Call,
    acting,
    arguments_of,
    calls_made,
    given,
    labelled,
    own_turns,
)
from agentlab.types import ChatRequest, JsonObject, Message, derive_uniform

MOST_TURNS = 40
REMEMBERS = 0.3
"""Of the seeds, those with which it thinks of the key after it was refused."""
VERBS = ("go_to", "pick_up", "open", "put_next")

PLACES = {
    "in front of you": "front", "behind you": "behind", "on your left": "left",
    "on your right": "right",
}  # fmt: skip
THING = (
    r"(?:the|an?) (?:(?P<{0}color>blue|green|grey|purple|red|yellow) )?"
    r"(?P<{0}kind>ball|box|key|door|object)"
    rf"(?: (?P<{{0}}place>{'|'.join(PLACES)}))?"
)
CLAUSE = re.compile(
    rf"(?:(?P<go_to>go to)|(?P<open>open)|(?P<pick_up>pick up)) {THING.format('x')}"
    rf"|(?P<put_next>put) {THING.format('m')} next to {THING.format('y')}"
)
POSE = re.compile(
    r"You are at column \d+, row \d+, facing \w+, carrying (?:nothing|the (?P<held>[^.]+))\."
)
LINE = re.compile(
    r"(?m)^- (?:(?P<state>open|closed|locked) )?(?P<color>\w+) (?P<kind>ball|box|key|door)"
    r"(?: (?P<number>\d+))? at column \d+, row \d+"
)
IN_THE_WAY = re.compile(r"no free way|not there to be reached|no free cell within reach beside")


class Wanted(NamedTuple):
    """A description in a mission; empty parts fit anything."""

    color: str = ""
    kind: str = ""
    place: str = ""


class Clause(NamedTuple):
    """One thing that is asked for."""

    verb: str
    x: Wanted
    y: Wanted = Wanted()


class Thing(NamedTuple):
    """A thing in view."""

    reference: JsonObject
    state: str = ""
    places: tuple[str, ...] = ()


class View(NamedTuple):
    """What one observation shows."""

    held: JsonObject | None
    things: tuple[Thing, ...]


class Made(NamedTuple):
    """A call that was made."""

    tool: str
    target: JsonObject
    answer: str

    @property
    def worked(self) -> bool:
        """Whether nothing says that it was refused."""
        return not re.match(
            r"Error|The call was refused|The skill did not|Not carried", self.answer
        )


def parse(text: str) -> tuple[Clause, ...]:
    """A mission's clauses in the order in which to do them; empty if it is none."""
    said = text.strip().rstrip(".").lower()
    first, after, second = said.partition(" after you ")
    parts = [second, first] if after else said.split(", then ")
    found: list[Clause] = []
    for part in (each for group in parts for each in group.split(" and ")):
        match = CLAUSE.fullmatch(part.strip())
        if match is None:
            return ()
        verb = next(verb for verb in VERBS if match[verb])
        x = _wanted(match, "m" if verb == "put_next" else "x")
        found.append(Clause(verb, x, _wanted(match, "y")))
    return tuple(found)


def _wanted(match: re.Match[str], which: str) -> Wanted:
    kind, place = match[f"{which}kind"] or "", match[f"{which}place"] or ""
    return Wanted(
        match[f"{which}color"] or "", "" if kind == "object" else kind, PLACES.get(place, "")
    )


def view(text: str) -> View | None:
    """The last view that a text shows."""
    poses = list(POSE.finditer(text))
    if not poses:
        return None
    things = tuple(
        Thing(_reference(found["color"], found["kind"], found["number"]), found["state"] or "")
        for found in LINE.finditer(text, poses[-1].end())
    )
    held = (poses[-1]["held"] or "").split()
    return View(_reference(*held) if len(held) > 1 else None, things)


def _reference(color: str, kind: str, number: str | None = None) -> JsonObject:
    return {"color": color, "kind": kind, **({"number": int(number)} if number else {})}


def play(request: ChatRequest) -> Message:
    """The next call, or the last words."""
    clauses = _mission(request)
    views = [seen for m in request.messages if (seen := view(m.text)) is not None]
    if not clauses or not views:
        return Message(role="assistant", text="I do not see what to do here.")
    made = [
        Made(use.name, _target(arguments_of(use)), answer) for use, answer in calls_made(request)
    ]
    clause = _unmet(clauses, made, _placed(request, views[0]))
    if clause is None:
        return Message(
            role="assistant", text="Done: everything that was asked for was carried out."
        )
    if own_turns(request) >= MOST_TURNS:
        return Message(role="assistant", text="I give up: this takes too long.")
    call = _next(request, clause, made, views)
    if call is None:
        return Message(role="assistant", text="I could not do it.")
    return acting(request, [call])


def _mission(request: ChatRequest) -> tuple[Clause, ...]:
    task = labelled(request, "task")
    plain = [line for m in request.messages if m.role == "user" for line in m.text.split("\n")]
    pieces = [*([task] if task else []), *given(request), *plain]
    return next((found for text in pieces if (found := parse(text))), ())


def _target(arguments: JsonObject) -> JsonObject:
    target = arguments.get("target")
    return target if isinstance(target, dict) else {}


def _placed(request: ChatRequest, first: View) -> dict[str, tuple[str, ...]]:
    """Reference, as JSON, to where the thing lay at the start, as seen by the agent."""
    found = {json.dumps(thing.reference, sort_keys=True): () for thing in first.things}
    for line in "\n".join(m.text for m in request.messages[:3]).split("\n"):
        if not line.startswith('{"properties"'):
            continue
        try:
            entity = cast("JsonObject", json.loads(line.rstrip("⟧")))
        except ValueError:
            continue
        properties, reference = entity.get("properties"), entity.get("reference")
        places = properties.get("location") if isinstance(properties, dict) else None
        if isinstance(places, list):
            found[json.dumps(reference, sort_keys=True)] = tuple(map(str, places))
    return found


Placed = dict[str, tuple[str, ...]]


def _fits(reference: JsonObject, wanted: Wanted, placed: Placed) -> bool:
    there = placed.get(json.dumps(reference, sort_keys=True), ())
    return (
        wanted.color in ("", reference.get("color"))
        and wanted.kind in ("", reference.get("kind"))
        and (not wanted.place or wanted.place in there)
    )


def _unmet(clauses: Sequence[Clause], made: Sequence[Made], placed: Placed) -> Clause | None:
    """The first clause that no call since the one before it was met has carried out."""
    left = list(clauses)
    held: JsonObject = {}
    for call in made:
        if not left:
            break
        if not call.worked:
            continue
        clause = left[0]
        skilled = call.answer.startswith("The skill completed")
        done = {
            "put_next": call.tool == "put_next_to"
            and _fits(held, clause.x, placed)
            and _fits(call.target, clause.y, placed),
        }.get(clause.verb, call.tool == clause.verb and _fits(call.target, clause.x, placed))
        if done or skilled:
            left.pop(0)
        held = call.target if call.tool == "pick_up" else {} if call.tool == "drop" else held
    return left[0] if left else None


def _next(
    request: ChatRequest, clause: Clause, made: Sequence[Made], views: Sequence[View]
) -> Call | None:
    """The next call for a clause; None where it is at its wits' end."""
    now, placed = views[-1], _placed(request, views[0])
    skill = _skill(request, clause, made, now, placed)
    if skill is not None:
        return ("drop", {}) if now.held is not None and clause.verb != "go_to" else skill
    knows = _remembers(request) or (
        any("is locked; carry" in call.answer for call in made) and _bethinks(request)
    )
    # What was refused before the last call that worked is worth another try.
    last = max(
        (n for n, call in enumerate(made) if call.worked and call.tool != "look"), default=-1
    )
    refused = [(call.tool, call.target) for call in made[last + 1 :]]
    why = made[-1].answer if made and refused else ""
    if knows and any(not call.worked and IN_THE_WAY.search(call.answer) for call in made):
        for thing in now.things:
            way = _opened(thing, now, knows=True) if thing.state == "locked" else None
            if way is not None and (way[0], _target(way[1])) not in refused:
                return way
    wanted = _step(clause, now, placed, refused, knows=knows)
    if wanted is not None and (wanted[0], _target(wanted[1])) not in refused:
        return wanted
    if not IN_THE_WAY.search(why):
        return None
    # A locked door in the way is tried too, and refuses: that is what it forgets.
    tried = [call.target for call in made if call.tool == "open"]
    for state in ("closed", "locked"):
        for thing in now.things:
            if thing.state == state and thing.reference not in tried:
                return ("open", {"target": thing.reference})
    return None


def _step(
    clause: Clause, now: View, placed: Placed, refused: Sequence[Call], *, knows: bool
) -> Call | None:
    held = now.held
    if clause.verb == "put_next" and held is not None and _fits(held, clause.x, placed):
        place = _choice(now, clause.y, placed, "put_next_to", refused, without=held)
        return ("put_next_to", {"target": place.reference}) if place else None
    tool = "pick_up" if clause.verb in ("put_next", "pick_up") else clause.verb
    if tool == "pick_up" and held is not None:
        return ("drop", {})
    thing = _choice(now, clause.x, placed, tool, refused)
    if thing is None:
        return None
    if tool == "open":
        return _opened(thing, now, knows=knows)
    return (tool, {"target": thing.reference})


def _choice(
    now: View,
    wanted: Wanted,
    placed: Placed,
    tool: str,
    refused: Sequence[Call],
    without: JsonObject | None = None,
) -> Thing | None:
    """The first thing that fits and was not refused, else the first that fits."""
    fitting = [
        thing
        for thing in now.things
        if _fits(thing.reference, wanted, placed)
        and thing.reference != without
        and (tool != "pick_up" or thing.reference["kind"] != "door")
        and (tool != "open" or thing.reference["kind"] == "door")
    ]
    new = [thing for thing in fitting if (tool, thing.reference) not in refused]
    return next(iter([*new, *fitting]), None)


def _opened(door: Thing, now: View, *, knows: bool) -> Call | None:
    """Open a door; where it is locked and one knows, with its key in hand."""
    if door.state == "locked" and knows:
        looks = {"color": door.reference["color"], "kind": "key"}
        if now.held is None or {name: now.held[name] for name in looks} != looks:
            if now.held is not None:
                return ("drop", {})
            keys = [t.reference for t in now.things if {**t.reference, **looks} == t.reference]
            return ("pick_up", {"target": keys[0]}) if keys else None
    return ("open", {"target": door.reference})


def _skill(
    request: ChatRequest, clause: Clause, made: Sequence[Made], now: View, placed: Placed
) -> Call | None:
    """A skill named after the clause's verb, once."""
    tried = {call.tool for call in made}
    for tool in request.tools:
        if "skill" not in tool.description[:20].lower() or tool.name in tried:
            continue
        properties = tool.parameters.get("properties")
        wanted = [clause.x, clause.y] if clause.verb == "put_next" else [clause.x]
        named = re.match(rf"(?:skill_)?{clause.verb}(?:_\d+)?$", tool.name)
        if not named or not isinstance(properties, dict) or len(properties) != len(wanted):
            continue
        using = "open" if clause.verb == "open" else "go_to"
        things = [_choice(now, each, placed, using, ()) for each in wanted]
        found = [thing.reference for thing in things if thing is not None]
        if len(found) == len(wanted):
            return tool.name, dict(zip(properties, found, strict=True))
    return None


def _remembers(request: ChatRequest) -> bool:
    """Whether something that was learnt speaks of keys: neither the task, a view nor a tool."""
    told = [p for p in given(request) if not parse(p) and not POSE.search(p) and "target" not in p]
    told += [t.description for t in request.tools if "skill" in t.description[:20].lower()]
    return any(re.search(r"(?i)\bkey\b.*\blocked\b|\blocked\b.*\bkey\b", text) for text in told)


def _bethinks(request: ChatRequest) -> bool:
    """Whether it thinks of the key by itself, once it was refused."""
    seed = request.sampling.seed
    return seed is not None and derive_uniform("keys", seed) < REMEMBERS


class Mission(NamedTuple):
    """A task that was made up."""

    text: str
    failing: tuple[tuple[Call, ...], tuple[Call, ...]]
    """Calls that do something else."""


def mission(text: str, rng: random.Random) -> Mission | None:
    """A mission for the start state that a text shows; None where it shows none."""
    now = view(text)
    things = [t for t in now.things if "number" not in t.reference] if now else []
    movable = [t for t in things if not t.state]
    doors = [t for t in things if t.state in ("closed", "locked")]
    if len(movable) < 3:
        return None
    one, two, other = rng.sample(movable, 3)
    said = [
        f"pick up the {_name(one)}",
        f"go to the {_name(one)}",
        f"put the {_name(one)} next to the {_name(two)}",
    ]
    if doors:
        said += [f"open the {_name(rng.choice(doors))}"] * 3
    words = rng.choice(said)
    if rng.random() < 0.25:
        words = f"{words}, then go to the {_name(other)}"
    elsewhere: Call = ("go_to", {"target": other.reference})
    return Mission(words, ((("look", {}),), (elsewhere, ("look", {}))))


def _name(thing: Thing) -> str:
    return f"{thing.reference['color']} {thing.reference['kind']}"
