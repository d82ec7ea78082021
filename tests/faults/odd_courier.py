"""Couriers that break their contract, each in one way of its own, registered as a plugin."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from agentlab.envs.courier.environment import Courier, CourierSnapshot
from agentlab.types import Observation, StepResult, Task, ToolCall, ToolSpec


def register(place: Path) -> None:
    """Write an installed distribution's entry points into a directory, to put on the path."""
    info = place / "odd_courier-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-courier\nVersion: 1.0\n")
    lines = [f"environment/{kind.__name__} = {__name__}:{kind.__name__}" for kind in ODD]
    (info / "entry_points.txt").write_text("\n".join(["[agentlab]", *lines, ""]))


class _Searched(Courier):
    """Is odd in every third attempt, once a search is at work: that alone takes snapshots."""

    odd = False
    _seed = 1

    async def reset(self, task: Task, seed: int) -> Observation:
        self.odd = False
        self._seed = task.seed
        return await super().reset(task, seed)

    async def snapshot(self) -> CourierSnapshot:
        self.odd = (self._seed // 10) % 3 == 0
        return await super().snapshot()

    async def step(self, call: ToolCall) -> StepResult:
        result = await super().step(call)
        return self.oddly(result) if self.odd else result

    def oddly(self, result: StepResult) -> StepResult:
        """What it gives when it is odd."""
        raise NotImplementedError


class _Shown(_Searched):
    """Is odd in every third task, whoever looks."""

    async def reset(self, task: Task, seed: int) -> Observation:
        seen = await super().reset(task, seed)
        self.odd = (self._seed // 10) % 3 == 0
        return seen


class StepGivesNone(_Searched):
    def oddly(self, result: StepResult) -> StepResult:
        return cast("StepResult", None)


class StepTakesBack(_Searched):
    """Claims to have taken fewer than no steps."""

    def oddly(self, result: StepResult) -> StepResult:
        return result.model_copy(update={"steps": -3})


class StepExits(_Searched):
    def oddly(self, result: StepResult) -> StepResult:
        sys.exit(0)


class StepEndsItsProcess(_Searched):
    def oddly(self, result: StepResult) -> StepResult:
        os._exit(0)


class ShowsHalfACharacter(_Shown):
    """Gives text that no file can hold."""

    def oddly(self, result: StepResult) -> StepResult:
        seen = result.observation.model_copy(update={"text": "\ud800"})
        return result.model_copy(update={"observation": seen})


class _Local:
    def __reduce__(self) -> str:
        raise TypeError("it stays here")


class ShowsWhatCannotBeSent(_Shown):
    def oddly(self, result: StepResult) -> StepResult:
        seen = result.observation.model_copy(update={"data": {"local": _Local()}})
        return result.model_copy(update={"observation": seen})


class ResetGivesText(Courier):
    async def reset(self, task: Task, seed: int) -> Observation:
        return cast("Observation", "a street")


class ResetExits(Courier):
    async def reset(self, task: Task, seed: int) -> Observation:
        sys.exit(0)


class ResetNeverReturns(Courier):
    async def reset(self, task: Task, seed: int) -> Observation:
        while True:
            time.sleep(1)  # noqa: ASYNC251 - foreign code that blocks is what this stands for


class InitRaises(Courier):
    def __init__(self) -> None:
        super().__init__()
        raise OSError("no map\nof the town")


class InitExits(Courier):
    def __init__(self) -> None:
        super().__init__()
        sys.exit(0)


class InitRaisesInWorkers(Courier):
    """Can be made by the process that starts a run, and by no other."""

    def __init__(self) -> None:
        super().__init__()
        if os.environ.get("ODD_COURIER_AT_HOME") != str(os.getpid()):
            if "ODD_COURIER_AT_HOME" in os.environ:
                raise OSError("only one courier at a time")
            os.environ["ODD_COURIER_AT_HOME"] = str(os.getpid())


class ToolsAreAGenerator(Courier):
    @property
    def tools(self) -> Any:
        def give() -> Iterator[ToolSpec]:
            yield from Courier().tools

        return give()


class PropertiesAreAList(Courier):
    @property
    def tools(self) -> Any:
        first, *rest = Courier().tools
        return (first.model_copy(update={"parameters": {"properties": ["place"]}}), *rest)


class Prints(Courier):
    """Says all that it does, in every way there is."""

    def __init__(self) -> None:
        super().__init__()
        print("I am a courier", flush=True)

    async def reset(self, task: Task, seed: int) -> Observation:
        os.write(1, b"a new day\n")
        return await super().reset(task, seed)

    async def step(self, call: ToolCall) -> StepResult:
        print(call.tool, flush=True)
        return await super().step(call)


ODD: tuple[type[Courier], ...] = (
    StepGivesNone,
    StepTakesBack,
    StepExits,
    StepEndsItsProcess,
    ShowsHalfACharacter,
    ShowsWhatCannotBeSent,
    ResetGivesText,
    ResetExits,
    ResetNeverReturns,
    InitRaises,
    InitExits,
    InitRaisesInWorkers,
    ToolsAreAGenerator,
    PropertiesAreAList,
    Prints,
)
