"""Where composed tasks begin: the package's own scenarios, and notes with values to use.

Practice, dev and held-out seeds begin in different scenarios of the package, and where a note
draws on many values, each of them belongs to one split alone. So a constant that slipped into a
skill cannot help on a held-out task.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.environments.bfcl import package
from agentlab.environments.bfcl.offices import MESSAGES, POSTS, TICKETS, TRADES
from agentlab.environments.bfcl.things import FILES, VEHICLE
from agentlab.environments.bfcl.vocabulary import Note, Seen, Subject
from agentlab.environments.bfcl.world import World, load
from agentlab.types import Split, SplitRule, derive_seed

SUBJECTS: Mapping[str, Subject] = {
    subject.api: subject for subject in (FILES, MESSAGES, TICKETS, TRADES, POSTS, VEHICLE)
}
"""By class name. Two are left out: the maths API keeps no state, so that nothing can be asked of
it, and in the travel API nearly every call draws a number on which later calls depend, so that
what was learnt in one place says little of another. Both are in the benchmark's own tasks."""
SPLIT_RULE = SplitRule()
"""Seeds by residue, the package's scenarios by that of their number."""
DIVIDED = 20
"""Values from which on a pool is divided among the splits."""
LONGEST = 60
"""Characters of a text in a note."""
KEPT_STARTS = 256
"""Start states kept; search and checks come back to the same ones."""


class Start(NamedTuple):
    """Where an episode begins."""

    world: World
    notes: tuple[Seen, ...]


@lru_cache(maxsize=KEPT_STARTS)
def start(api: str, seed: int) -> Start:
    """The start state of a family, which is an API's name, and a seed."""
    split = SPLIT_RULE.split_of_seed(seed)
    rng = random.Random(derive_seed("bfcl start", api, seed))
    scenarios = [
        entry.scenarios
        for entry in package.entries("base")
        if api in entry.apis and SPLIT_RULE.split_of_seed(entry.number) == split
    ]
    world = load((api,), rng.choice(scenarios), long=False)
    notes = [seen for note in SUBJECTS[api].notes for seen in _drawn(note, split, rng)]
    return Start(world, tuple(notes))


def _drawn(note: Note, split: Split, rng: random.Random) -> Iterator[Seen]:
    pool = _pool(note)
    if len(pool) >= DIVIDED:
        pool = [v for v in pool if SPLIT_RULE.split_of_seed(derive_seed(note.type, v)) == split]
    for value in rng.sample(pool, min(note.number, len(pool))):
        yield Seen(note.type, value, note.kinds(value))


def _pool(note: Note) -> list[JsonValue]:
    pool: list[JsonValue] = list(note.values)
    for tool, parameter in note.sources:
        for value in package.said_values(tool, parameter):
            short = not isinstance(value, str) or 0 < len(value) <= LONGEST
            if short and value not in pool:
                pool.append(value)
    return pool
