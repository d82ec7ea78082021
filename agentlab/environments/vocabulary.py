"""New values for tasks: names that are not there yet, drawn from what values of the kind are like.

A task that asks for something new has to name it. What the environment brings as examples of a
kind comes first; otherwise values are built to look like those that were seen: a word for a word,
`notes/birch.txt` for `notes/amber.txt`, a number for a number.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from agentlab.environments.shapes import Field, Scalar, is_scalar

WORDS = (
    "amber", "birch", "cedar", "delta", "ember", "flint", "grove", "heron", "iris", "juniper",
    "kelp", "larch", "maple", "nettle", "olive", "pebble", "quartz", "raven", "sorrel", "thistle",
    "umber", "violet", "willow", "yarrow", "zephyr", "basil", "clover", "dahlia", "fennel",
    "ginger", "hazel", "ivory", "jasper", "lotus", "meadow", "nimbus", "onyx", "poppy", "rowan",
)  # fmt: skip
NEW = 3
"""New values of each kind that a start state offers."""
LARGEST = 30
"""The largest whole number that is made up."""


def new_values(
    field: Field,
    known: Sequence[JsonValue],
    examples: Mapping[str, Sequence[JsonValue]],
    rng: random.Random,
) -> list[Scalar]:
    """Values of a field's kind that are not among the known ones, `NEW` at most.

    Args:
        field: whose values they are to be.
        known: the values there are.
        examples: by kind, what the environment itself suggests.
        rng: chooses.
    """
    offered = [v for v in examples.get(field.kind, ()) if v not in known and is_scalar(v)]
    scalars = [value for value in offered if isinstance(value, str | int | float)]
    if scalars:
        return rng.sample(scalars, min(NEW, len(scalars)))
    found: list[Scalar] = []
    for _ in range(4 * NEW):
        value = _number(known, rng) if field.numeric else _text(known, rng)
        if value not in known and value not in found:
            found.append(value)
        if len(found) == NEW:
            break
    return found


def _number(known: Sequence[JsonValue], rng: random.Random) -> int | float:
    numbers = [value for value in known if isinstance(value, int | float)]
    if any(isinstance(value, float) for value in numbers):
        return round(rng.uniform(1, LARGEST), 1)
    return rng.randint(1, LARGEST)


def _text(known: Sequence[JsonValue], rng: random.Random) -> str:
    texts = sorted(value for value in known if isinstance(value, str))
    word = rng.choice(WORDS)
    if not texts:
        return word
    like = rng.choice(texts)
    folder, slash, name = like.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    if slash or (stem and ending.isalnum() and len(ending) <= 5):
        return f"{folder}{slash}{word}{dot}{ending if dot else ''}"
    return f"{word} {rng.choice(WORDS)}" if " " in like else word
