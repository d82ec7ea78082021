"""Calls that only read, and how their answers become facts.

A server's state is often told by tools that need arguments (which repository, which query) or that
answer in prose. A reading names the call and, where the answer is no data, a pattern for what is
one fact in it. The patterns are the user's own; a server's text decides nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import Field, JsonValue, model_validator

from agentlab.environments.effect_world import Done
from agentlab.environments.mcp.answers import fact
from agentlab.types import Frozen, JsonObject, canonical_json

PLACE = "{folder}"
"""Stands for the working folder in commands and arguments."""


class Reading(Frozen):
    """A call that only reads, whose answer is a fact of the state."""

    tool: str
    """By its name here."""
    name: str = ""
    """What the fact is called; the tool's name where it has none."""
    arguments: JsonObject = Field(default_factory=dict)
    """`{folder}` in their texts stands for the working folder."""
    pattern: str = ""
    """A regular expression, `^` and `$` at each line, for each member of the set that the answer
    tells: its named groups are a record's fields, else its one group, or all of it, is a value."""

    @model_validator(mode="after")
    def _compiled(self) -> Reading:
        try:
            found = re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"the pattern {self.pattern!r} cannot be read: {error}") from error
        if found.groups > (len(found.groupindex) or 1):
            raise ValueError(f"the pattern {self.pattern!r} has groups without a (?P<name>…)")
        return self

    @property
    def called(self) -> str:
        """What the fact is called."""
        return self.name or self.tool

    @property
    def asked(self) -> str:
        """The call as text: readings with the same one share an answer."""
        return canonical_json([self.tool, self.arguments])

    def read(self, answer: Done) -> JsonValue:
        """The fact that an answer tells; None where the server refused."""
        if answer.error is not None:
            return None
        if not self.pattern:
            return fact(answer)
        members: dict[str, JsonValue] = {}
        for found in re.finditer(self.pattern, answer.text, re.MULTILINE):
            member: JsonValue = {**found.groupdict()} or found[found.re.groups]
            members.setdefault(canonical_json(member), member)
        return list(members.values())


def readings_of(given: str | JsonObject | Sequence[str | JsonObject]) -> tuple[Reading, ...]:
    """Readings from names of tools, with commas between them, or from tables.

    Raises:
        ValueError: one is neither, or two have one name.
    """
    if isinstance(given, str):
        given = given.split(",")
    found: list[Reading] = []
    for part in [given] if isinstance(given, Mapping) else given:
        if not isinstance(part, str):
            found.append(Reading.model_validate(part))
        elif part.strip():
            found.append(Reading(tool=part.strip()))
    names = [reading.called for reading in found]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise ValueError(f"two readings are called {twice!r}; give each a 'name'")
    return tuple(found)


def placed(value: JsonValue, folder: str) -> JsonValue:
    """A value in whose texts `{folder}` has become the working folder."""
    if isinstance(value, str):
        return value.replace(PLACE, folder)
    if isinstance(value, list):
        return [placed(part, folder) for part in value]
    if isinstance(value, Mapping):
        return {name: placed(part, folder) for name, part in value.items()}
    return value
