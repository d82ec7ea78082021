"""The environment: what agentlab calls. Everything beyond `Environment` is optional."""

from __future__ import annotations

import random
from collections.abc import Sequence

from agentlab.errors import InvalidTaskError, UsageError
from agentlab.types import (
    Entity,
    JsonObject,
    Mission,
    Observation,
    Split,
    SplitRule,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    derive_seed,
)
from agentlab_lamps.grammar import SPLIT_RULE, LampGrammar, colours, facts, lamp, lit
from agentlab_lamps.house import SIZES, House, Now, act, build


def _tool(name: str, description: str, parameter: str, entity: str) -> ToolSpec:
    pointing: JsonObject = {"type": "object", "x-entity": entity}
    return ToolSpec(
        name=name,
        description=description,
        parameters={
            "type": "object",
            "properties": {parameter: pointing},
            "required": [parameter],
            "additionalProperties": False,
        },
    )


TOOLS = (
    _tool("go", "Go to a room, or to the room of a lamp.", "to", "*"),
    _tool("uncover", "Take the cover off a lamp in this room.", "lamp", "lamp"),
    _tool("switch", "Switch an uncovered lamp in this room on or off.", "lamp", "lamp"),
)

LAMP_TOOLS = ("uncover", "switch")


class Lamps:
    """A house with covered lamps in several rooms. Fully seen, deterministic, quick."""

    def __init__(self) -> None:
        self._house: House | None = None
        self._now = Now("")
        self._mission: Mission | None = None

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """The three tools."""
        return TOOLS

    async def reset(self, task: Task, seed: int) -> Observation:
        """Start the task; the house comes from the task's own seed."""
        setup = task.setup.get("setup")
        if not isinstance(setup, str) or setup not in SIZES:
            raise InvalidTaskError(f"A house's setup is one of {[*SIZES]}, not {setup!r}.")
        self._house, self._mission = build(setup, task.seed), task.mission
        self._now = Now(self._house.rooms[0])
        return self._view()

    async def step(self, call: ToolCall) -> StepResult:
        """Carry out one call; what cannot be done is refused with a sentence."""
        match call.arguments:
            case {"to": {"name": str(name)}, **more} if call.tool == "go" and not more:
                after = act(self._there(), self._now, "go", name)
            case {"to": {"colour": str(colour)}, **more} if call.tool == "go" and not more:
                after = act(self._there(), self._now, "go", colour)
            case {"lamp": {"colour": str(colour)}, **more} if call.tool in LAMP_TOOLS and not more:
                after = act(self._there(), self._now, call.tool, colour)
            case _:
                after = f"The tool {call.tool[:80]!r} is not called like that."
        if self._now.over:
            after = "The episode is over."
        if isinstance(after, str):
            return StepResult(observation=self._view(), error=after, steps=0)
        done = self._mission is not None and set(colours(self._mission)) <= after.lit
        self._now = after._replace(over=done)
        return StepResult(observation=self._view(), reward=float(done), terminated=done)

    async def close(self) -> None:
        """Nothing is held but memory."""

    async def snapshot(self) -> Now:
        """The state, which is a value."""
        return self._now

    async def restore(self, snapshot: object) -> Observation:
        """Return to a state of this episode."""
        if not isinstance(snapshot, Now):
            raise UsageError("A house restores only what it saved.")
        self._now = snapshot
        return self._view()

    async def state(self) -> JsonObject:
        """The facts; see `grammar.facts`."""
        return facts(self._there(), self._now)

    def describe(self) -> str:
        """For proposers that ask a model."""
        return "A house with covered lamps in several rooms. A task: 'Light the red lamp.'"

    def grammar(self) -> LampGrammar:
        """What can be asked for."""
        return LampGrammar()

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        """Three calls for each lamp."""
        if task.mission is None:
            return None
        calls: list[ToolCall] = []
        for colour in colours(task.mission):
            calls.append(ToolCall(tool="go", arguments={"to": lamp(colour)}))
            calls.append(ToolCall(tool="uncover", arguments={"lamp": lamp(colour)}))
            calls.append(ToolCall(tool="switch", arguments={"lamp": lamp(colour)}))
        return calls

    @property
    def split_rule(self) -> SplitRule:
        """Which seeds and templates are kept for evaluation."""
        return SPLIT_RULE

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        """Distinct tasks of a split: two lamps for `heldout`, one for the others."""
        rng = random.Random(derive_seed("lamps", split, seed))
        found: dict[str, Task] = {}
        while len(found) < count:
            setup, place = rng.choice([*SIZES]), rng.randrange(10**9)
            if SPLIT_RULE.split_of_seed(place) != split:
                continue
            lamps = [colour for colour, _ in build(setup, place).lamps]
            chosen = rng.sample(lamps, 2 if split == "heldout" else 1)
            mission = Mission(groups=(tuple(lit(colour) for colour in chosen),))
            task = self.grammar().compose(mission, setup, place)
            if task.split == split:
                found[task.id] = task
        return list(found.values())

    def _there(self) -> House:
        if self._house is None:
            raise UsageError("lamps: call reset() before anything else.")
        return self._house

    def _view(self) -> Observation:
        house, now = self._there(), self._now
        lines = [f"You are in the {now.room}."]
        entities = [
            Entity(type="room", reference={"name": r}, properties={"name": r}) for r in house.rooms
        ]
        for colour, room in house.lamps:
            cover = "uncovered" if colour in now.uncovered else "covered"
            light = "lit" if colour in now.lit else "dark"
            lines.append(f"In the {room}: the {colour} lamp, {cover} and {light}.")
            told: JsonObject = {**lamp(colour), "room": room, "state": light}
            entities.append(Entity(type="lamp", reference=lamp(colour), properties=told))
        return Observation(text="\n".join(lines), entities=tuple(entities))
