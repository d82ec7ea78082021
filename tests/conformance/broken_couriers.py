"""Couriers that each break one promise, to show that the check suite notices."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from agentlab.envs.courier.environment import Courier, CourierSnapshot
from agentlab.envs.courier.grammar import CourierGrammar, Progress
from agentlab.envs.courier.world import Position
from agentlab.types import (
    Clause,
    JsonObject,
    Mission,
    Observation,
    Split,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
)


class Moody(Courier):
    """Is not deterministic."""

    async def step(self, call: ToolCall) -> StepResult:
        result = await super().step(call)
        mood = random.SystemRandom().choice(("sunny", "rainy"))
        shown = result.observation.model_copy(update={"data": {"weather": mood}})
        return result.model_copy(update={"observation": shown})


class Counting(Courier):
    """Leaks the number of calls from one episode into the next."""

    calls = 0

    async def step(self, call: ToolCall) -> StepResult:
        result = await super().step(call)
        if result.error:
            return result
        self.calls += 1
        shown = result.observation.model_copy(update={"data": {"calls": self.calls}})
        return result.model_copy(update={"observation": shown})


class KeepsProgress(Courier):
    """Leaks what the verifier had seen when the same task was left unfinished."""

    last: tuple[Task, Progress] | None = None

    async def reset(self, task: Task, seed: int) -> Observation:
        if self.last is not None:
            self.last = (self.last[0], self._now.progress)
        observation = await super().reset(task, seed)
        if self.last is not None and self.last[0] == task and task.mission is not None:
            progress = self.last[1]
            if progress.group < len(task.mission.groups):
                self._now = self._now._replace(progress=progress)
        self.last = (task, self._now.progress)
        return observation


class ForgetfulSnapshot(Courier):
    """Goes back to the position and leaves the verifier where it is."""

    async def restore(self, snapshot: object) -> Observation:
        progress = self._now.progress
        observation = await super().restore(snapshot)
        self._now = self._now._replace(progress=progress)
        return observation


class PositionOnly:
    """A snapshot whose key leaves the verifier's state out."""

    def __init__(self, whole: CourierSnapshot) -> None:
        self.whole = whole

    @property
    def key(self) -> tuple[Position, bool]:
        return (self.whole.position, self.whole.over)


class NewKey:
    """A snapshot whose key is never equal to another."""

    def __init__(self, whole: CourierSnapshot) -> None:
        self.whole = whole
        self.key = object()


class LyingSchema(Courier):
    """Declares the argument of `walk` under a name that it does not take."""

    @property
    def tools(self) -> Sequence[ToolSpec]:
        def renamed(tool: ToolSpec) -> ToolSpec:
            text = tool.model_dump_json().replace('"to"', '"place"')
            return ToolSpec.model_validate_json(text) if tool.name == "walk" else tool

        return [renamed(tool) for tool in super().tools]


class Bare:
    """A courier with nothing beside `Environment`; it breaks no promise that it makes."""

    def __init__(self) -> None:
        self._inner = Courier()

    @property
    def tools(self) -> Sequence[ToolSpec]:
        return self._inner.tools

    async def reset(self, task: Task, seed: int) -> Observation:
        return await self._inner.reset(task, seed)

    async def step(self, call: ToolCall) -> StepResult:
        return await self._inner.step(call)

    async def close(self) -> None:
        await self._inner.close()


class Refusing(Bare):
    """Does nothing that is asked of it."""

    async def step(self, call: ToolCall) -> StepResult:
        return await super().step(ToolCall(tool="nothing"))


class OddSchema(Courier):
    """Uses a keyword outside the subset."""

    @property
    def tools(self) -> Sequence[ToolSpec]:
        odd: JsonObject = {"type": "object", "properties": {"x": {"oneOf": []}}}
        return [*super().tools, ToolSpec(name="odd", description="", parameters=odd)]


class RaisesOnNonsense(Courier):
    """Raises where it should refuse."""

    async def step(self, call: ToolCall) -> StepResult:
        if call.tool not in {tool.name for tool in self.tools}:
            raise KeyError(call.tool)
        return await super().step(call)


class MovesWhenRefusing(Courier):
    """Refuses a call and puts down what is held, or walks off."""

    async def step(self, call: ToolCall) -> StepResult:
        result = await super().step(call)
        if result.error is not None and not self._now.over:
            position = self._now.position
            elsewhere = position._replace(at=(position.at + 1) % 4)
            self._now = self._now._replace(position=elsewhere)
        return result


class AcceptsAnything(Courier):
    """Takes arguments that it does not declare."""

    async def step(self, call: ToolCall) -> StepResult:
        known = {"to", "item", "container"}
        kept = {name: value for name, value in call.arguments.items() if name in known}
        return await super().step(ToolCall(tool=call.tool, arguments=kept))


class BadOracle(Courier):
    """Its oracle stops before the end."""

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        solution = await super().oracle(task)
        return solution[:-1] if solution else solution


class LongOracle(Courier):
    """Its oracle goes on after the end."""

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        solution = await super().oracle(task)
        return [*solution, ToolCall(tool="leave")] if solution else solution


class SilentOracle(Courier):
    """Its oracle knows nothing."""

    async def oracle(self, task: Task) -> Sequence[ToolCall] | None:
        return None


class Generous(Courier):
    """Counts looking as success."""

    async def step(self, call: ToolCall) -> StepResult:
        result = await super().step(call)
        if call.tool == "read_sign" and result.error is None:
            return result.model_copy(update={"reward": 1.0, "terminated": True})
        return result


class _Stutters(CourierGrammar):
    def parse(self, instruction: str) -> Mission:
        mission = super().parse(instruction)
        return Mission(groups=mission.groups[::-1])


class BadGrammar(Courier):
    """Parses the groups in the wrong order."""

    def grammar(self) -> CourierGrammar:
        return _Stutters(self._size)


class _Blind(CourierGrammar):
    def achieved(self, before: JsonObject, after: JsonObject) -> Sequence[Clause]:
        return []


class BlindGrammar(Courier):
    """Never names what was achieved."""

    def grammar(self) -> CourierGrammar:
        return _Blind(self._size)


class MixedSplits(Courier):
    """Gives practice tasks for dev."""

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        return super().tasks("practice" if split == "dev" else split, count, seed)


class ClosesOnce(Courier):
    """Cannot be closed twice."""

    closed = False

    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
        await super().close()


class RaisesInReset(Courier):
    """Does not start."""

    async def reset(self, task: Task, seed: int) -> Observation:
        raise OSError("no courier today")


class KeyWithoutProgress(Courier):
    """Gives snapshots with short keys."""

    async def snapshot(self) -> CourierSnapshot:
        return PositionOnly(await super().snapshot())  # type: ignore[return-value]

    async def restore(self, snapshot: object) -> Observation:
        assert isinstance(snapshot, PositionOnly)
        return await super().restore(snapshot.whole)


class KeyOfItsOwn(Courier):
    """Gives snapshots whose keys change."""

    async def snapshot(self) -> CourierSnapshot:
        return NewKey(await super().snapshot())  # type: ignore[return-value]

    async def restore(self, snapshot: object) -> Observation:
        assert isinstance(snapshot, NewKey)
        return await super().restore(snapshot.whole)


BROKEN: Mapping[str, tuple[type[Courier] | type[Bare], str]] = {
    "not deterministic": (Moody, "determinism"),
    "leaks a counter": (Counting, "reset_cleanliness"),
    "leaks the verifier": (KeepsProgress, "reset_cleanliness"),
    "snapshot forgets the verifier": (ForgetfulSnapshot, "snapshots"),
    "key forgets the verifier": (KeyWithoutProgress, "snapshot_keys"),
    "key is never equal": (KeyOfItsOwn, "snapshots"),
    "schema lies": (LyingSchema, "tool_schemas"),
    "never does anything": (Refusing, "tool_schemas"),
    "schema is odd": (OddSchema, "tool_schemas"),
    "raises on an unknown tool": (RaisesOnNonsense, "refusals"),
    "refusing changes something": (MovesWhenRefusing, "refusals"),
    "accepts undeclared arguments": (AcceptsAnything, "refusals"),
    "oracle stops early": (BadOracle, "oracle_solves"),
    "oracle goes on": (LongOracle, "oracle_solves"),
    "oracle knows nothing": (SilentOracle, "oracle_solves"),
    "looking is success": (Generous, "empty_fails"),
    "parses wrongly": (BadGrammar, "grammar_round_trip"),
    "names nothing achieved": (BlindGrammar, "grammar_round_trip"),
    "splits overlap": (MixedSplits, "splits_disjoint"),
    "closes once": (ClosesOnce, "contract"),
    "raises in reset": (RaisesInReset, "contract"),
}
"""What is wrong, the class, and the check that must fail."""
