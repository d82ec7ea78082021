"""What tasks over facts ask for, as rules read it: "Bring it about that …", and the facts shown.

The words are those of `environments.effects`, read here from the text alone, as a model would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.types import JsonObject

OPENING = "Bring it about that "
JOINT = ", and that "
VALUE = r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?'
ENTRY = re.compile(r"there is (?P<there>an|no) entry in (?P<name>\w+) (?:with|that is) ")
FIELD = re.compile(rf"(?:(?P<field>\w+) )?(?P<value>{VALUE})")
FLAG = re.compile(r", for which (?P<flag>\w+) is (?P<wanted>true|false)")
FACTS = "The facts now:\n"


class Clause(NamedTuple):
    """One thing that is to be so."""

    there: bool
    name: str
    """Of the set of facts."""
    fields: dict[str, JsonValue]
    flag: str = ""
    wanted: bool = True

    @property
    def words(self) -> str:
        """As a task says it."""
        said = " and ".join(
            f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in self.fields.items()
        )
        text = f"there is {'an' if self.there else 'no'} entry in {self.name} with {said}"
        return text + (
            f", for which {self.flag} is {str(self.wanted).lower()}" if self.flag else ""
        )


Facts = Mapping[str, Sequence[JsonObject]]
"""Sets of facts by name."""


def parse(text: str) -> tuple[Clause, ...]:
    """What an instruction asks for; empty if it is none."""
    said = text.strip()
    if not said.startswith(OPENING):
        return ()
    place, found = len(OPENING), list[Clause]()
    while True:
        entry = ENTRY.match(said, place)
        if entry is None:
            return ()
        place, fields = entry.end(), dict[str, JsonValue]()
        while (field := FIELD.match(said, place)) is not None:
            fields[field["field"] or ""] = json.loads(field["value"])
            place = field.end()
            if not said.startswith(" and ", place):
                break
            place += len(" and ")
        flag = FLAG.match(said, place)
        place = flag.end() if flag else place
        name, wanted = (flag["flag"], flag["wanted"] == "true") if flag else ("", True)
        found.append(Clause(entry["there"] == "an", entry["name"], fields, name, wanted))
        if not said.startswith(JOINT, place):
            return tuple(found) if said[place:] == "." else ()
        place += len(JOINT)


def facts(text: str) -> Facts | None:
    """The last facts that a text shows, sets of records alone."""
    begin = text.rfind(FACTS)
    if begin < 0:
        return None
    found: dict[str, list[JsonObject]] = {}
    now: list[JsonObject] = []
    for line in text[begin + len(FACTS) :].split("\n"):
        named = re.match(r"(\w+): \d+\s*⟧?$", line)
        if named is not None:
            now = found.setdefault(named[1], [])
        elif line.startswith("- "):
            try:
                value: object = json.loads(line[2:].rstrip("⟧"))
            except ValueError:
                continue
            if isinstance(value, dict):
                now.append(cast("JsonObject", value))
        else:
            break
    return found


def holds(clause: Clause, now: Facts) -> bool:
    """Whether it is so."""
    wanted = {**clause.fields, **({clause.flag: clause.wanted} if clause.flag else {})}
    there = any(wanted.items() <= record.items() for record in _hashable(now, clause.name))
    return there is clause.there


def _hashable(now: Facts, name: str) -> list[JsonObject]:
    return [
        {key: v for key, v in record.items() if not isinstance(v, dict | list)}
        for record in now.get(name, ())
    ]
