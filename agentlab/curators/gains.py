"""What the examples of a clause have brought about, as conditions over the state.

What every way of meeting a clause has in common is what a skill for it promises. Facts that hold
a parameter whole come first. Where there are none, the members that sets gained are laid over
each other: fields that follow a parameter, or a single fact of the state such as who is signed
in, become references to it, what never varied stays, and what varied is not promised, nor what the
same thing was before. What only shows, in facts within facts such as the page in view, is promised
where nothing else is.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.curators.examples import Example, facts
from agentlab.curators.expressions import python_literal
from agentlab.types import JsonObject, canonical_json

REGULAR = 0.9
"""Share of a clause's examples that must show an effect: one can be met in passing."""
SHORTEST = 3
"""Characters from which a single fact of the state is taken to be what a field repeats."""


def clause_effects(rows: Sequence[Example]) -> tuple[str, ...]:
    """Conditions on the final state that the examples of a clause have brought about.

    Taken over all ways of meeting the clause, so that what one way does besides (clearing
    the way, say) is not mistaken for the effect that is promised.
    """
    return _whole(rows) or _in_parts(rows, nested=False) or _in_parts(rows, nested=True)


# --- facts that hold a parameter whole ------------------------------------------------------


def _whole(rows: Sequence[Example]) -> tuple[str, ...]:
    counts: Counter[tuple[str, bool, bool, str]] = Counter()
    for example in rows:
        before, after = facts(example.before), facts(example.after)
        counts.update(
            {
                (name, member, gained, _abstract(json.loads(text), example.bound))
                for gained, changed in ((True, after - before), (False, before - after))
                for name, member, text in changed
                if gained or member
            }
        )
    common = [effect for effect, count in counts.items() if count >= REGULAR * len(rows)]
    conditions: list[str] = []
    for name, member, gained, pattern in sorted(common):
        if "\x01" not in pattern:
            continue
        place = f"final[{python_literal(name)}]"
        operator = ("in" if gained else "not in") if member else "=="
        value = re.sub("\x01([^\x01]*)\x01", r"\1", pattern)
        conditions.append(
            f"{value} in {place}"
            if operator == "in"
            else f"{value} not in {place}"
            if operator == "not in"
            else f"{place} == {value}"
        )
    return tuple(conditions)


def _abstract(value: JsonValue, references: Mapping[str, JsonValue]) -> str:
    """The value as Python source in which parameters stand for their references."""
    for name, reference in references.items():
        if value == reference:
            return f"\x01{name}\x01"
    if isinstance(value, list):
        return "[" + ", ".join(_abstract(item, references) for item in value) + "]"
    if isinstance(value, dict):
        inner = (
            f"{python_literal(k)}: {_abstract(v, references)}" for k, v in sorted(value.items())
        )
        return "{" + ", ".join(inner) + "}"
    return python_literal(value)


# --- members laid over each other -----------------------------------------------------------


class _Gain(NamedTuple):
    """Something that holds after and did not hold before."""

    place: tuple[str, ...]
    member: bool
    fields: dict[str, frozenset[str]]
    """Field to the ways of saying its value; the field of a plain value is empty."""
    full: bool
    """Whether nothing of the member was left out."""


def _in_parts(rows: Sequence[Example], *, nested: bool) -> tuple[str, ...]:
    found = [list(_gains(example, nested=nested)) for example in rows]
    places = sorted({(gain.place, gain.member) for gains in found for gain in gains})
    conditions: list[str] = []
    for place, member in places:
        there = [[g for g in gains if (g.place, g.member) == (place, member)] for gains in found]
        there = [gains for gains in there if gains]
        if len(there) < REGULAR * len(rows):
            continue
        shared = [common for gain in there[0] if (common := _laid_over(gain, there[1:]))]
        best = max(shared, key=lambda gain: len(gain.fields), default=None)
        if best is not None:
            conditions.append(_condition(best))
    return tuple(conditions)


def _gains(example: Example, *, nested: bool) -> Iterator[_Gain]:
    """What an example gained that says something of its parameters."""
    before = set(_facts(example.before, nested=nested))
    after = set(_facts(example.after, nested=nested))
    for place, member, text in sorted(after - before):
        value: JsonValue = json.loads(text)
        if not isinstance(value, dict) or not member:
            fields = {"": _ways(value, example)}
            if _marks(fields):
                yield _Gain(place, member, fields, full=True)
            continue
        fields = {key: _ways(part, example) for key, part in value.items()}
        if not _marks(fields):
            continue
        gone: list[JsonValue] = [
            json.loads(told) for at, of, told in before - after if of and at == place
        ]
        which = {key for key, ways in fields.items() if _says_which(ways)}
        stayed = _stayed(value, [each for each in gone if isinstance(each, dict)], which)
        kept = {key: ways for key, ways in fields.items() if key in which or key not in stayed}
        yield _Gain(place, member, kept, full=len(kept) == len(fields))


def _marks(fields: Mapping[str, frozenset[str]]) -> bool:
    """Whether any field speaks of a parameter."""
    return any(way.startswith("\x01") for ways in fields.values() for way in ways)


def _says_which(ways: frozenset[str]) -> bool:
    """Whether a field follows a parameter or a fact, and so tells whose or which thing it is."""
    return any(way.startswith(("\x01", "final[")) for way in ways)


def _stayed(value: JsonObject, gone: Sequence[JsonObject], which: set[str]) -> set[str]:
    """Fields that a member had before too, which is the one most like it that is gone.

    It has the same fields, and something of what tells which thing it is.
    """
    alike = {
        canonical_json(each): {key for key in value if each[key] == value[key]}
        for each in gone
        if set(each) == set(value)
    }
    fitting = [same for same in alike.values() if same & which]
    most = max(map(len, fitting), default=0)
    nearest = [same for same in fitting if len(same) == most]
    return set[str]().union(*nearest[:1]).intersection(*nearest)


def _facts(state: JsonObject, *, nested: bool) -> Iterator[tuple[tuple[str, ...], bool, str]]:
    for name, value in state.items():
        if isinstance(value, dict):
            inner = value.items() if nested else ()
            for key, part in inner:
                yield from _facts_at((name, key), part)
        elif not nested:
            yield from _facts_at((name,), value)


def _facts_at(
    place: tuple[str, ...], value: JsonValue
) -> Iterator[tuple[tuple[str, ...], bool, str]]:
    if isinstance(value, list):
        for item in value:
            yield (place, True, canonical_json(item))
    else:
        yield (place, False, canonical_json(value))


def _ways(value: JsonValue, example: Example) -> frozenset[str]:
    """All that a value can be called; what speaks of a parameter is marked in front."""
    found = {python_literal(value)}
    if isinstance(value, bool) or value is None or isinstance(value, dict | list):
        return frozenset(found)
    for name, reference in example.bound.items():
        if value == reference:
            found.add(f"\x01{name}")
        elif isinstance(reference, dict):
            found.update(
                f"\x01{name}[{python_literal(key)}]"
                for key, part in reference.items()
                if part == value and not isinstance(part, bool)
            )
    if isinstance(value, str) and len(value) >= SHORTEST:
        found.update(
            f"final[{python_literal(name)}]"
            for name, fact in example.after.items()
            if fact == value
        )
    return frozenset(found)


def _laid_over(gain: _Gain, others: Sequence[Sequence[_Gain]]) -> _Gain | None:
    """What a gain shares with one gain of each other example; None where nothing of parameters."""
    common = gain
    for gains in others:
        merged = [_shared(common, other) for other in gains]
        common = max(merged, key=lambda each: (_marked(each), len(each.fields)))
        if not _marked(common):
            return None
    return common if _marked(common) else None


def _shared(one: _Gain, other: _Gain) -> _Gain:
    fields = {
        key: ways & other.fields[key]
        for key, ways in one.fields.items()
        if key in other.fields and ways & other.fields[key]
    }
    full = one.full and other.full and len(fields) == len(one.fields) == len(other.fields)
    return _Gain(one.place, one.member, fields, full)


def _marked(gain: _Gain) -> int:
    """How many fields speak of parameters."""
    return sum(any(way.startswith("\x01") for way in ways) for ways in gain.fields.values())


def _condition(gain: _Gain) -> str:
    place = "final" + "".join(f"[{python_literal(part)}]" for part in gain.place)
    said = {key: _chosen(key, ways) for key, ways in sorted(gain.fields.items())}
    if "" in said:
        return f"{said['']} in {place}" if gain.member else f"{place} == {said['']}"
    if gain.full:
        inner = ", ".join(f"{python_literal(key)}: {way}" for key, way in said.items())
        return f"{{{inner}}} in {place}"
    tests = " and ".join(f"row.get({python_literal(key)}) == {way}" for key, way in said.items())
    return f"any({tests} for row in {place})"


def _chosen(key: str, ways: frozenset[str]) -> str:
    """A parameter before a fact, a fact before a constant; of fields the one called alike."""
    marked = [way[1:] for way in ways if way.startswith("\x01")]
    if marked:
        return min(marked, key=lambda way: (not way.endswith(f"[{python_literal(key)}]"), way))
    return min(ways, key=lambda way: (not way.startswith("final["), way))
