"""What an agent can do and what comes back: tools, calls, observations, entities.

Every action in every environment is a tool call with a JSON schema. An observation is text
for a model, and beside it the `entities` it shows: values that tools take as arguments, with
the properties by which a person would describe them. Search, skills and missions meet in
these two notions and in nothing else of an environment.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from agentlab.types.base import Frozen, JsonObject

SideEffect = Literal["none", "explores", "changes"]


class ToolSpec(Frozen):
    """One tool: its name, what it does, and the JSON schema of its arguments.

    Example:
        >>> ToolSpec(name="look", description="Look.", parameters={}, effect="none").effect
        'none'

    A parameter whose schema carries `"x-entity": "<type>"` takes the `reference` of an entity
    of that type; `"x-entity": "*"` takes any. One with `"x-property-of": "<parameter>"` takes the
    property of its own name of the entity that is given to that parameter, and one with
    `"x-volatile": true` what holds for one observation alone, so no skill may pass it. Other
    parameters are described by plain JSON schema; search uses only those with an `enum` or a
    `boolean` type.
    """

    name: str
    description: str
    parameters: JsonObject
    effect: SideEffect = "changes"
    """`none`: reads only. `explores`: may reveal more of the world and changes nothing else
    that matters. `changes`: an ordinary action."""


class ToolCall(Frozen):
    """One call: the tool's name and its arguments, as JSON.

    Example:
        >>> ToolCall(tool="walk", arguments={"to": {"kind": "place", "name": "mill"}}).tool
        'walk'
    """

    tool: str
    arguments: JsonObject = Field(default_factory=dict)


class Entity(Frozen):
    """Something an observation shows that a tool can be pointed at."""

    type: str
    reference: JsonValue
    """What to pass as an argument; unique among the entities of one observation."""
    properties: JsonObject
    """What may be said of it; a list value means that each of its elements may be said."""


class Observation(Frozen):
    """What the agent is shown: text, and the same as data where the environment has it."""

    text: str
    entities: tuple[Entity, ...] = ()
    data: JsonObject = Field(default_factory=dict)
    images: tuple[str, ...] = ()
    """Digests of blobs (PNG)."""


class StepResult(Frozen):
    """What one tool call did.

    `reward`, `terminated` and `truncated` mean what they mean in Gymnasium. `error` is a
    sentence for the agent when the call did nothing because it could not be carried out: a
    refused call is an ordinary result and no exception.
    """

    observation: Observation
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    error: str | None = None
    steps: int = Field(default=1, ge=0)
    """Primitive environment steps that the call took; 0 when it was refused."""

    @property
    def succeeded(self) -> bool:
        """True when the environment's own verifier ended the episode as a success."""
        return self.terminated and self.reward > 0


def satisfies(entity: Entity, description: JsonValue) -> bool:
    """Whether an entity fits a description: `{"kind": "ball", "location": "left"}`.

    A description that is an object names properties, all of which must hold (a list-valued
    property holds if it contains the value); any other description must equal the reference.
    """
    if not isinstance(description, dict):
        return entity.reference == description
    for name, wanted in description.items():
        if name not in entity.properties:
            return False
        actual = entity.properties[name]
        if actual != wanted and not (isinstance(actual, list) and wanted in actual):
            return False
    return True


def allows(schema: JsonValue, value: JsonValue) -> bool:
    """Whether a value fits the part of a JSON schema that narrows choices.

    That is `enum` and `const`, and for an object the same on each of its properties.
    """
    if not isinstance(schema, dict):
        return True
    enum = schema.get("enum")
    if isinstance(enum, list) and value not in enum:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    properties = schema.get("properties")
    if isinstance(properties, dict) and isinstance(value, dict):
        return all(
            allows(inner, value[name]) for name, inner in properties.items() if name in value
        )
    return True


def narrowing(schema: JsonObject) -> JsonObject:
    """The part of a JSON schema that `allows` reads; empty when nothing is narrowed."""
    kept: JsonObject = {key: schema[key] for key in ("enum", "const") if key in schema}
    properties = schema.get("properties")
    if isinstance(properties, dict):
        inner = {
            name: narrowing(part) for name, part in properties.items() if isinstance(part, dict)
        }
        if any(inner.values()):
            kept["properties"] = {name: part for name, part in inner.items() if part}
    return kept
