"""Skills: Python functions over an environment's tools, with what vouches for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, JsonValue

from agentlab.types.base import Frozen, JsonObject, derive_id
from agentlab.types.task import Clause
from agentlab.types.tool import Entity, satisfies

Status = Literal["candidate", "quarantined", "verified", "active", "retired"]
Origin = Literal["search", "model", "import", "human"]


class Parameter(Frozen):
    """One keyword-only parameter of a skill."""

    name: str
    type: str
    """The entity type it takes, or a JSON schema type for plain values."""
    requires: JsonObject = Field(default_factory=dict)
    """Properties that the entity must have for the skill to apply: its precondition.

    `{"same": NAME}` in place of a value asks for that of another parameter: of two bins, say, the
    one beside the name that is asked for.
    """
    accepts: tuple[JsonObject, ...] = ()
    """Schemas of the tool parameters that it is passed to, as far as they narrow choices."""
    from_clause: bool = True
    """Whether the clause names it; otherwise the caller finds it by `requires`."""


def same_as(wanted: JsonValue) -> str | None:
    """The parameter whose value a requirement asks for; None where it asks for a value."""
    if isinstance(wanted, dict) and wanted.keys() == {"same"} and isinstance(wanted["same"], str):
        return wanted["same"]
    return None


def fits(parameter: Parameter, entity: Entity, arguments: Mapping[str, JsonValue]) -> bool:
    """Whether an entity has what a parameter requires, beside these arguments.

    What it must have in common with an argument that is not among them is only asked to be there.
    """
    for name, wanted in parameter.requires.items():
        other = same_as(wanted)
        if other is None:
            if not satisfies(entity, {name: wanted}):
                return False
        elif name not in entity.properties:
            return False
        elif other in arguments and not satisfies(entity, {name: arguments[other]}):
            return False
    return True


class Skill(Frozen):
    """One version of a skill.

    Example:
        >>> with agentlab.Library("courier") as library:
        ...     print(library.skills[0].signature)
        at(place: place)

    `source` defines `def <name>(env, *, <parameters>)` with a docstring, and runs only in a
    `SkillRuntime`. `effect_source` defines `def check(initial, final, *, <parameters>) -> bool`
    over JSON state and runs there too.
    """

    id: str
    name: str
    version: int = 1
    environment: str
    toolset: str = "default"
    source: str
    parameters: tuple[Parameter, ...]
    achieves: Clause | None = None
    """The clause it brings about; each argument is the name of one of its parameters."""
    summary: str
    precondition: JsonObject = Field(default_factory=dict)
    """State paths and the values they must have, e.g. `{"carrying": null}`, over what the
    parameters require already."""
    effect_source: str
    effect: tuple[str, ...] = ()
    """The same in words, one line each, for people and for documents that are searched."""
    tools: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    """Names of the skills that it calls."""
    tests: tuple[JsonObject, ...] = ()
    """Start states and arguments on which it passed: `{"task": id, "arguments": {…}}`."""
    origin: Origin = "search"
    source_tasks: tuple[str, ...] = ()
    """Tasks it was derived from; it is never offered to an attempt at one of them."""
    source_attempts: tuple[str, ...] = ()
    parent: str | None = None
    """Id of the version that it replaces."""

    @property
    def signature(self) -> str:
        """`name(*, x: object, y: object)` for people."""
        inner = ", ".join(f"{p.name}: {p.type}" for p in self.parameters)
        return f"{self.name}({inner})"

    @property
    def document(self) -> str:
        """What retrieval searches: name, summary, what it achieves, effects."""
        achieves = self.achieves.predicate if self.achieves else ""
        return " \n".join((self.name.replace("_", " "), self.summary, achieves, *self.effect))


def skill_id(environment: str, name: str, version: int, source: str) -> str:
    """The id of one version of a skill, from what it is."""
    return derive_id("skill", environment, name, version, source)


class Invocation(Frozen):
    """A skill call inside a trajectory: which, with what, and the steps it covers."""

    skill: str
    """Name of the skill."""
    skill_id: str
    arguments: JsonObject
    first_step: int
    """Index of its first step (0-based)."""
    end_step: int
    """Index after its last step."""


class Control(Frozen):
    """One negative control of an effect check: what was wrong, and whether it passed anyway."""

    wrong: str
    """The parameter that was given another value; `*` for all of them at once or in another
    order; `()` where another call was made instead; empty where nothing had been done yet."""
    passed: bool


class Replay(Frozen):
    """One admission replay: where, with what, and what came of it."""

    task_id: str
    arguments: JsonObject
    completed: bool
    used: bool
    """It made at least one tool call that was not refused."""
    effect: bool
    success: bool | None = None
    """Whether the task's own verifier was satisfied, where the task states the clause."""
    tool_calls: int = 0
    steps: int = 0
    changes: int = 0
    """How many facts of the state differ afterwards: the least-effect order."""
    error: str | None = None
    unseen: bool = True
    """Whether no attempt that it was derived from had these arguments; otherwise only the start
    state is new, which has to do where there are no others."""
    shape: tuple[str, ...] = ()
    """The type of the entity that each parameter was given."""
    controls: tuple[Control, ...] = ()
    present: dict[str, bool] = Field(default_factory=dict)
    """Which facts of the state had a value before it ran; sets are left out."""
    bound: JsonObject = Field(default_factory=dict)
    """Parameter name to the properties of the entity that it was given."""
    refused: int | None = None
    """Index of the first tool call that was refused."""
    shown: str = ""
    """What was shown last, where it did not work; for whoever mends it, and not kept on record."""
