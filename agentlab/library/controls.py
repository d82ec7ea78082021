"""Negative controls: an effect check must not pass for wrong arguments, nor before anything ran.

Where no task states what the skill does, the check is all there is, and it must not pass after
another call either.

A check that always says yes makes every replay a success, and no number of replays shows it. So
each replay is followed by the same question about other things, which the skill did not handle.
Which wrong arguments to try and what their answers mean is decided here; asking is the graph's
business.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.types import Entity, JsonObject, Replay, Skill, canonical_json

EACH = 2
"""Other things that each parameter is given."""
ALL = "*"
UNTOUCHED = ""
INSTEAD = "()"
"""Another call was made in the skill's place."""
BELIEVED = 0.5
"""Share of the controls of one kind that may pass. Other things may have the effect too, for a
relation holds both ways and a path opens doors; but not most of them most of the time."""


class Wrong(NamedTuple):
    """Arguments for which the check must not pass."""

    wrong: str
    """See `types.Control`."""
    arguments: JsonObject


def judged(skill: Skill) -> tuple[str, ...]:
    """The parameters on which the effect must depend: those of the clause, or else all."""
    named = tuple(p.name for p in skill.parameters if p.from_clause)
    return named or tuple(p.name for p in skill.parameters)


def wrong_arguments(
    skill: Skill,
    arguments: JsonObject,
    entities: Sequence[Entity],
    elsewhere: Mapping[str, Sequence[JsonValue]],
    rng: random.Random,
) -> list[Wrong]:
    """Arguments that differ in one parameter, and in all.

    Args:
        skill: whose effect check is asked.
        arguments: those that it was called with.
        entities: what there is; whether it fits the parameters' requirements does not matter.
        elsewhere: by type, references seen in other start states, for where nothing else is here.
        rng: chooses among many.
    """
    names = judged(skill)
    used = {canonical_json(value) for value in arguments.values()}
    found: list[Wrong] = []
    others: dict[str, list[JsonValue]] = {}
    for parameter in skill.parameters:
        if parameter.name not in names:
            continue
        here = [
            e.reference
            for e in entities
            if parameter.type in ("*", e.type) and canonical_json(e.reference) not in used
        ]
        there = [
            value
            for kind in sorted(elsewhere)
            if parameter.type in ("*", kind)
            for value in elsewhere[kind]
            if canonical_json(value) not in used
        ]
        pool = here or there
        others[parameter.name] = rng.sample(pool, min(EACH, len(pool)))
        found.extend(
            Wrong(parameter.name, {**arguments, parameter.name: value})
            for value in others[parameter.name]
        )
    if len(names) > 1:
        if all(others[name] for name in names):
            found.append(Wrong(ALL, {**arguments, **{n: others[n][0] for n in names}}))
        turned = [arguments[name] for name in (*names[1:], names[0])]
        found.append(Wrong(ALL, {**arguments, **dict(zip(names, turned, strict=True))}))
    return found


def untouched(replay: Replay) -> bool:
    """Whether the effect held before anything was done, so that the start says nothing."""
    return any(control.wrong == UNTOUCHED and control.passed for control in replay.controls)


def judge_controls(skill: Skill, replays: Sequence[Replay]) -> str | None:
    """Why the effect check proves nothing, or None.

    For each parameter that the clause names, for all of them together, and after another call
    where that was tried, the check may pass for at most half of what was tried. It must have said
    no to something where a parameter is judged at all, and to another call where no clause names
    what it does: a check that was never contradicted is not believed.
    """
    ran = [replay for replay in replays if not untouched(replay)]
    if not ran:
        return (
            f"effect: it passes before anything was done, in {len(replays)} start states"
            if replays
            else "effect: no negative control could be made"
        )
    tried: Counter[str] = Counter()
    fooled: Counter[str] = Counter()
    for replay in ran:
        for control in replay.controls:
            if control.wrong != UNTOUCHED:
                tried[control.wrong] += 1
                fooled[control.wrong] += control.passed
    for name in sorted(tried):
        if name == INSTEAD and fooled[name] > BELIEVED * tried[name]:
            return (
                f"effect: it passes when something else was called "
                f"({fooled[name]} of {tried[name]})"
            )
        if fooled[name] > BELIEVED * tried[name]:
            what = "all parameters" if name == ALL else repr(name)
            return (
                f"effect: it passes for wrong arguments ({fooled[name]} of {tried[name]} "
                f"with another {what})"
            )
    missing = [name for name in judged(skill) if not tried[name]]
    if missing:
        return f"effect: no negative control could be made for {missing[0]!r}"
    if skill.achieves is None and not tried[INSTEAD]:
        return "effect: no negative control could be made, for nothing else changes anything here"
    return None
