"""Whether a turn was done right, by the package's own checks of state and of responses.

The package's runner keeps instances in a module's globals and evaluates text; neither is done
here. Its two checks themselves are called, in its order, over worlds: after each turn that has
right answers, something must have been called, every public attribute must equal what the right
answers lead to, and what they responded must be among all responses so far. Verdicts are those
of its `multi_turn_checker`, but that a call which was refused counts as none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from agentlab.environments.bfcl import package
from agentlab.environments.bfcl.package import Entry
from agentlab.environments.bfcl.world import World, load
from agentlab.errors import InvalidTaskError

KEPT_GOLD = 32
"""Conversations whose right answers are kept carried out."""


class Right(NamedTuple):
    """What a turn's right answers lead to."""

    world: World
    responses: tuple[str, ...]
    empty: bool
    """There are none: the user cannot be served yet."""


class Said(NamedTuple):
    """What the checker remembers; equal ones judge alike from here on."""

    responses: tuple[str, ...] = ()
    """Responses so far that some turn asks for, sorted, none more often than it may be asked."""
    acted: bool = False
    """Something was called in this turn."""


def start(entry: Entry) -> World:
    """The world in which a conversation begins."""
    return load(entry.apis, entry.scenarios, long=entry.category == package.LONG)


def gold(entry: Entry) -> tuple[Right, ...]:
    """What the right answers lead to, turn by turn."""
    return _gold(entry.id)


@lru_cache(maxsize=KEPT_GOLD)
def _gold(entry_id: str) -> tuple[Right, ...]:
    entry = package.entry(entry_id)
    if entry is None:
        raise InvalidTaskError(f"BFCL has no multi-turn conversation {entry_id!r}.")
    world = start(entry)
    turns: list[Right] = []
    for calls in entry.gold:
        responses: list[str] = []
        for call in calls:
            answer = world.call(call.tool, call.arguments)
            responses.append(answer.text)
            world = answer.world
        turns.append(Right(world, tuple(responses), not calls))
    return tuple(turns)


def heard(said: Said, response: str, turns: Sequence[Right]) -> Said:
    """The checker's memory after a call that was carried out."""
    asked = max((turn.responses.count(response) for turn in turns), default=0)
    if said.responses.count(response) >= asked:
        return said._replace(acted=True)
    return Said(tuple(sorted((*said.responses, response))), acted=True)


def mistake(entry: Entry, turn: int, world: World, said: Said) -> str | None:
    """Why a turn that ends here was done wrong, or None."""
    right = gold(entry)[turn]
    if right.empty:
        return None
    if not said.acted:
        return "nothing was called, though there was something to do"
    check: Any = package.checker()
    try:
        state = check.state_checker(world.instances, right.world.instances)
    except RecursionError:
        return "the file system has a folder inside itself"
    if not state["valid"]:
        return f"the state is another than it should be: {state['error_message']}"
    found = check.response_checker(list(said.responses), list(right.responses), turn)
    if not found["valid"]:
        missing = sum((Counter(right.responses) - Counter(said.responses)).values())
        return f"{missing} of what should have been found out is missing"
    return None
