"""An executor for any set of tools whose tasks say what is to be so: "Bring it about that …".

It matches what is asked for with tools by their words and parameters, and sees from the facts that
it is shown what is left to do. What it forgets is that a thing must be there before something is
put into it, a folder or a project: it is refused, and gives up, unless something in the request
says what comes first. Where requests have a seed, with some seeds it thinks of it once refused.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pydantic import JsonValue

from agentlab.testing.rules.asked import (
    FACTS,
    JOINT,
    OPENING,
    Clause,
    Facts,
    facts,
    holds,
    parse,
)
from agentlab.testing.rules.reading import (
    Call,
    acting,
    arguments_of,
    calls_made,
    given,
    labelled,
    own_turns,
)
from agentlab.types import (
    ChatRequest,
    JsonObject,
    Message,
    ToolSpec,
    canonical_json,
    derive_uniform,
    digest,
)

MOST_TURNS = 30
REMEMBERS = 0.3
"""Of the seeds, those with which it thinks of what comes first after it was refused."""
PAIRS = 0.35
"""Of the tasks it makes up, those that ask for two things."""
REFUSED = re.compile(r"\A(?:Error|The call was refused|The skill did not|Not carried out)")

ADDS = r"add|create|write|start|make|put|new|save|insert|book|begin"
REMOVES = r"remove|delete|drop|move|rename|cancel|clear|take"
ENDS = r"finish|complete|tick|close|check|mark|done|end"
ALIKE = (
    frozenset({"path", "file", "filename", "folder", "directory", "dir", "name"}),
    frozenset({"content", "contents", "text", "body", "data"}),
)
"""Words for parameters and fields that mean the same."""


class Steps(Protocol):
    """The calls that make a clause so; empty where none are known."""

    def __call__(
        self, clause: Clause, now: Facts, tools: Sequence[ToolSpec], *, knows: bool
    ) -> list[Call]:
        """These, in order."""
        ...


class Craft(NamedTuple):
    """What is known of a kind of world."""

    steps: Steps
    fresh: Callable[[str, Facts, random.Random], Clause]
    """Something to ask for, of the set of that name."""
    sets: Callable[[Facts], list[str]]
    """The sets that can be asked about."""
    turn: Callable[[Clause], int]
    """What is done first, low numbers first."""


def understands(request: ChatRequest) -> bool:
    """Whether its task is in this language."""
    return bool(_asked(request))


def _asked(request: ChatRequest) -> tuple[Clause, ...]:
    task = labelled(request, "task")
    plain = [line for m in request.messages if m.role == "user" for line in m.text.split("\n")]
    pieces = [*([task] if task else []), *given(request), *plain]
    return next((found for text in pieces if (found := parse(text))), ())


def play(request: ChatRequest, *, craft: Craft | None = None) -> Message:
    """The next call, or the last words."""
    craft = craft or BY_WORDS
    asked = _asked(request)
    shown = [seen for m in request.messages if (seen := facts(m.text)) is not None]
    if not asked or not shown:
        return Message(role="assistant", text="I do not see what to do here.")
    now = shown[-1]
    left = [each for each in sorted(asked, key=craft.turn) if not holds(each, now)]
    if not left:
        return Message(role="assistant", text="Done: everything that was asked for is so.")
    if own_turns(request) >= MOST_TURNS:
        return Message(role="assistant", text="I give up: this takes too long.")
    made = [(use.name, arguments_of(use), answer) for use, answer in calls_made(request)]
    refused = [(name, arguments) for name, arguments, answer in made if REFUSED.search(answer)]
    knows = _remembers(request) or (bool(refused) and _bethinks(request))
    skill = _skill(request.tools, left[0], [name for name, _, _ in made])
    if skill is not None:
        return acting(request, [skill])
    calls = craft.steps(left[0], now, request.tools, knows=knows)
    since = refused
    if calls and knows:
        # What was refused before the first thing was there is tried again.
        last = max((n for n, call in enumerate(made) if not REFUSED.search(call[2])), default=-1)
        since = [(name, arguments) for name, arguments, _ in made[last + 1 :]]
    if not calls or calls[0] in since:
        return Message(role="assistant", text="I could not do it.")
    return acting(request, calls[:1])


def steps(clause: Clause, now: Facts, tools: Sequence[ToolSpec], *, knows: bool) -> list[Call]:
    """The calls that make it so, as far as words tell; empty where none are known."""
    calls: list[Call] = []
    plain = clause._replace(flag="")
    if not clause.there:
        return _of(_best(tools, clause, REMOVES))
    if knows:
        for first in before(clause, now):
            calls += steps(first, now, tools, knows=True)
    present = holds(plain, now)
    if not present:
        adding = _of(_best(tools, plain, ADDS))
        if not adding:
            return []
        calls += adding
    if clause.flag and (clause.wanted or present):
        ending = _of(_best(tools, clause, ENDS if clause.wanted else REMOVES))
        if not ending:
            return []
        calls += ending
    return calls


def _of(call: Call | None) -> list[Call]:
    return [] if call is None else [call]


def before(clause: Clause, now: Facts) -> list[Clause]:
    """What must be there before it: members of sets that only name things, like folders."""
    found: list[Clause] = []
    for name, records in now.items():
        keys = {key for record in records for key in record}
        if name == clause.name or len(keys) != 1:
            continue
        (key,) = keys
        wanted = clause.fields.get(key)
        folder = [str(v).rpartition("/")[0] for v in clause.fields.values() if "/" in str(v)]
        if wanted is None and key in ALIKE[0] and folder:
            wanted = folder[0]
        first = Clause(True, name, {key: wanted})
        if wanted is not None and not holds(first, now):
            found.append(first)
    return found


def _best(tools: Sequence[ToolSpec], clause: Clause, verbs: str) -> Call | None:
    """The call of the tool whose words and parameters fit best."""
    ranked: list[tuple[float, int, str, Call]] = []
    for tool in tools:
        if _is_skill(tool) or not re.search(rf"(?i)(?:^|_)(?:{verbs})(?:_|$)", tool.name):
            continue
        filled = _filled(tool, clause, verbs)
        if filled is None:
            continue
        arguments, invented = filled
        said = 2.0 * _speaks(tool.name, clause.name) + _speaks(tool.description, clause.name)
        ranked.append((-said, invented, tool.name, (tool.name, arguments)))
    return min(ranked, key=lambda each: each[:3])[3] if ranked else None


def _speaks(text: str, name: str) -> bool:
    stems = {name.removesuffix("s").lower()}
    for group in ({"folder", "director", "directory"}, {"item", "entr", "entry"}):
        stems |= group if stems & group else set()
    return any(re.search(rf"(?:^|[^a-z]){stem}", text.lower()) for stem in stems)


def _filled(tool: ToolSpec, clause: Clause, verbs: str) -> tuple[JsonObject, int] | None:
    """Arguments for what a clause names, and how many had to be made up; None where it cannot."""
    properties, required = tool.parameters.get("properties"), tool.parameters.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return None
    left, made, invented = dict(clause.fields), dict[str, JsonValue](), 0
    for name, schema in properties.items():
        same = next((field for field in left if _alike(name, field)), None)
        if same is None and verbs == REMOVES and re.match("source|src|old|from", name):
            same = next(iter(left), None)
        if same is not None:
            made[name] = left.pop(same)
        elif name in required:
            kind = schema.get("type") if isinstance(schema, dict) else None
            if kind != "string":
                return None
            made[name] = f"spare-{digest(tool.name, canonical_json(clause.fields))[:6]}"
            invented += 1
    # Who ends or removes a thing need not be told all of it; who makes it must be.
    if verbs == ADDS and left:
        return None
    return (made, invented) if len(left) < len(clause.fields) else None


def _alike(parameter: str, field: str) -> bool:
    return parameter == field or any(parameter in group and field in group for group in ALIKE)


def _is_skill(tool: ToolSpec) -> bool:
    return "skill" in tool.description[:20].lower()


def _skill(tools: Sequence[ToolSpec], clause: Clause, tried: Sequence[str]) -> Call | None:
    """A skill with just the parameters of the clause and its set in its name, once."""
    for tool in tools:
        properties = tool.parameters.get("properties")
        if not _is_skill(tool) or tool.name in tried or not isinstance(properties, dict):
            continue
        removes = bool(re.search(rf"(?:^|_)(?:no|{REMOVES})_", tool.name))
        flagged = not clause.flag or clause.flag in tool.name
        if removes is clause.there or not flagged or not _speaks(tool.name, clause.name):
            continue
        kinds = {
            name: str(schema.get("x-entity", name)) if isinstance(schema, dict) else name
            for name, schema in properties.items()
        }
        made = {
            name: value
            for name, kind in kinds.items()
            for field, value in clause.fields.items()
            if field in (name, kind)
        }
        if len(made) == len(kinds) == len(clause.fields):
            return tool.name, made
    return None


def _remembers(request: ChatRequest) -> bool:
    """Whether something that was learnt says what comes first."""
    told = [piece for piece in given(request) if not parse(piece) and FACTS not in piece]
    return any(re.search(rf"(?i)\b(?:{ADDS})\w* .{{0,60}}\bfirst\b", text) for text in told)


def _bethinks(request: ChatRequest) -> bool:
    """Whether it thinks of that by itself, once it was refused."""
    seed = request.sampling.seed
    return seed is not None and derive_uniform("first", seed) < REMEMBERS


class Effect(NamedTuple):
    """A task that was made up."""

    text: str
    solution: tuple[Call, ...]
    failing: tuple[tuple[Call, ...], ...]


def effect(
    page: str,
    tools: Sequence[ToolSpec],
    rng: random.Random,
    *,
    forgets: bool,
    craft: Craft | None = None,
) -> Effect | None:
    """A task for the start state that a page shows; None where it shows none."""
    craft, now = craft or BY_WORDS, facts(page)
    sets = craft.sets(now or {})
    if now is None or not sets:
        return None
    name = rng.choice(sets)
    asked = [craft.fresh(name, now, rng)]
    if rng.random() < PAIRS:
        asked.append(craft.fresh(rng.choice(sets), now, rng))
    calls = _all(sorted(asked, key=craft.turn), now, tools, craft, knows=not forgets)
    others = [craft.steps(craft.fresh(name, now, rng), now, tools, knows=True) for _ in range(2)]
    failing = tuple(tuple(each) for each in others if each and each != calls)
    if not calls or len(failing) < 2:
        return None
    said = JOINT.join(clause.words for clause in asked)
    return Effect(f"{OPENING}{said}.", tuple(calls), failing)


def _all(
    asked: Sequence[Clause], now: Facts, tools: Sequence[ToolSpec], craft: Craft, *, knows: bool
) -> list[Call]:
    """The calls for several things, each once."""
    calls: list[Call] = []
    for clause in asked:
        found = craft.steps(clause, now, tools, knows=knows)
        if not found:
            return []
        calls += [call for call in found if call not in calls]
    return calls


def _new(name: str, now: Facts, rng: random.Random) -> Clause:
    """A clause of a set: a new record, sometimes in one of the places that there are."""
    record = now[name][0]
    flags = [key for key, value in record.items() if isinstance(value, bool)]
    fields: dict[str, JsonValue] = {}
    for key, value in record.items():
        if not isinstance(value, str):
            continue
        places = [
            str(other[key])
            for others in now.values()
            for other in others
            if set(other) == {key} and len(record) > 1
        ]
        word = (
            f"thing {rng.randrange(10_000)}" if " " in value else f"thing-{rng.randrange(10_000)}"
        )
        if places and rng.random() < 0.5:
            word = rng.choice(places)
        elif "." in value:
            folder = f"place-{rng.randrange(100)}/" if rng.random() < 0.5 else ""
            word = f"{folder}{word}.{value.rpartition('.')[2]}"
        fields[key] = word
    flag = rng.choice(["", *flags])
    return Clause(True, name, fields, flag, wanted=rng.random() < 0.5)


def _filled_sets(now: Facts) -> list[str]:
    return [name for name in now if now[name]]


def _what_goes_first(clause: Clause) -> int:
    """What has to go may lie in the way of what has to come."""
    return int(clause.there)


BY_WORDS = Craft(steps, _new, _filled_sets, _what_goes_first)
"""Any tools, matched with what is asked for by their words."""
