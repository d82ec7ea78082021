"""Names that every start shows are the environment's; names that come and go are a task's."""

from __future__ import annotations

from agentlab.library.constants import particulars
from agentlab.types import Entity, canonical_json


def start(*names: str) -> list[Entity]:
    return [Entity(type="control", reference=name, properties={}) for name in names]


def values(*starts: list[Entity]) -> frozenset[str]:
    return particulars([], starts, [], tools=[]).values


def test_what_stays_while_the_rest_changes_is_vocabulary() -> None:
    found = values(start("Search", "Red Lamp"), start("Search", "Mug"))
    assert found == {canonical_json("Red Lamp"), canonical_json("Mug")}


def test_one_start_or_the_same_twice_tells_nothing() -> None:
    for starts in ([start("Search", "Lamp")], [start("Search", "Lamp")] * 2):
        assert values(*starts) == {canonical_json("Search"), canonical_json("Lamp")}
