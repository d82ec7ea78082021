"""What a small model might know of Git, for tasks that say what is to be so in a repository.

The facts that it knows are branches, the one that is current, paths that are staged or untracked,
and the messages of commits. What it forgets is that nothing can be committed before it is staged,
and that a branch must be there before it is checked out: it is refused, and gives up, unless
something in the request says what comes first.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from pydantic import JsonValue

from agentlab.testing.rules import effects
from agentlab.testing.rules.asked import Clause, Facts
from agentlab.testing.rules.effects import Craft
from agentlab.testing.rules.reading import Call
from agentlab.types import ChatRequest, Message, ToolSpec

FIELDS = {
    "branches": "branch",
    "current": "branch",
    "staged": "path",
    "untracked": "path",
    "commits": "message",
}
"""Sets of facts, and what their members are called by."""
PARAMETER = r"files?|paths?|message|branch(?:_name)?|name"
"""What a tool calls the one thing that it is told."""
ORDER = ("commits", "branches", "current", "staged", "untracked")
"""A commit takes what is staged with it, so that what is to stay staged comes after."""


def play(request: ChatRequest) -> Message:
    """The next call, or the last words."""
    return effects.play(request, craft=CRAFT)


def fits(tools: Sequence[ToolSpec]) -> bool:
    """Whether these are tools for a repository."""
    return all(_tool(tools, ending) for ending in ("add", "commit", "checkout"))


def steps(clause: Clause, now: Facts, tools: Sequence[ToolSpec], *, knows: bool) -> list[Call]:
    """The calls that make it so; empty where none are known."""
    wanted = str(clause.fields.get(FIELDS.get(clause.name, ""), ""))
    first: list[Call] = []
    match clause.name, clause.there:
        case "branches", True:
            return _call(tools, "create_branch", wanted)
        case "current", True:
            if knows and wanted not in _there(now, "branches"):
                first = _call(tools, "create_branch", wanted)
            return first + _call(tools, "checkout", wanted)
        case "current", False:
            others = [branch for branch in _there(now, "branches") if branch != wanted]
            return _call(tools, "checkout", others[0]) if others else []
        case ("staged", True) | ("untracked", False):
            return _call(tools, "add", wanted)
        case "staged", False:
            return _call(tools, "reset")
        case "commits", True:
            if knows and not _there(now, "staged"):
                first = _call(tools, "add", (_there(now, "untracked") or ["."])[-1])
            return first + _call(tools, "commit", wanted)
        case _:
            return []


def fresh(name: str, now: Facts, rng: random.Random) -> Clause:
    """Something that is not so, of one of the sets."""
    number = rng.randrange(10_000)
    word = f"topic-{number}"
    if name == "commits":
        word = f"Say thing {number}."
    elif name in ("staged", "untracked"):
        word = rng.choice(_there(now, "untracked") or [word])
    elif name == "current" and rng.random() < 0.5:
        word = rng.choice(_there(now, "branches") or [word])
    return Clause(name != "untracked", name, {FIELDS[name]: word})


def _sets(now: Facts) -> list[str]:
    return [name for name in FIELDS if name in now]


def _turn(clause: Clause) -> int:
    return ORDER.index(clause.name) if clause.name in ORDER else len(ORDER)


def _there(now: Facts, name: str) -> list[str]:
    return [str(record.get(FIELDS[name])) for record in now.get(name, ())]


def _tool(tools: Sequence[ToolSpec], ending: str) -> ToolSpec | None:
    return next((tool for tool in tools if re.search(rf"(?:^|_){ending}$", tool.name)), None)


def _call(tools: Sequence[ToolSpec], ending: str, value: str = "") -> list[Call]:
    """The call of the tool of that name for a value; empty where there is none."""
    tool = _tool(tools, ending)
    properties = tool.parameters.get("properties") if tool is not None else None
    if tool is None or not isinstance(properties, dict):
        return []
    if not value:
        return [(tool.name, {})]
    for name, schema in properties.items():
        if re.fullmatch(PARAMETER, name):
            listed = isinstance(schema, dict) and schema.get("type") == "array"
            given: JsonValue = [value] if listed else value
            return [(tool.name, {name: given})]
    return []


CRAFT = Craft(steps, fresh, _sets, _turn)
