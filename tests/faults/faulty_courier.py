"""Couriers, an evaluator and a proposer that fail in one way each, registered as a plugin."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from agentlab.envs.courier.environment import Courier, CourierSnapshot
from agentlab.proposers.grammar import GrammarProposer
from agentlab.protocols import EvaluationContext, ProposalContext
from agentlab.types import (
    CodeVerifier,
    Observation,
    Score,
    StepResult,
    Task,
    ToolCall,
)

PLUGINS = (
    "environment/raises-in-reset",
    "environment/raises-in-some-resets",
    "environment/raises-in-some-steps",
    "environment/raises-in-every-step",
    "environment/hangs-in-some-attempts",
    "environment/hangs-in-some-checks",
    "environment/kills-its-process",
    "evaluator/raises",
    "evaluator/hangs",
    "proposer/odd-verifiers",
)


def register(place: Path) -> None:
    """Write an installed distribution's entry points into a directory, to put on the path."""
    info = place / "faulty_courier-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-courier\nVersion: 1.0\n")
    lines = [f"{name} = {__name__}:{_class_name(name)}" for name in PLUGINS]
    (info / "entry_points.txt").write_text("\n".join(["[agentlab]", *lines, ""]))


def _class_name(plugin: str) -> str:
    kind, _, name = plugin.partition("/")
    words = "".join(part.capitalize() for part in name.split("-"))
    return words if kind == "environment" else kind.capitalize() + words


class RaisesInReset(Courier):
    """Never starts."""

    async def reset(self, task: Task, seed: int) -> Observation:
        raise OSError("the depot is\nclosed")


class RaisesInSomeResets(Courier):
    """Does not start where the seed is odd."""

    async def reset(self, task: Task, seed: int) -> Observation:
        if (task.seed // 10) % 2:
            raise OSError("the depot is closed")
        return await super().reset(task, seed)


class RaisesInSomeSteps(Courier):
    """Fails while it is carried out, where the seed is odd."""

    _odd = False

    async def reset(self, task: Task, seed: int) -> Observation:
        self._odd = (task.seed // 10) % 2 == 1
        return await super().reset(task, seed)

    async def step(self, call: ToolCall) -> StepResult:
        if self._odd and call.tool == "take":
            raise RuntimeError("the parcel is stuck")
        return await super().step(call)


class RaisesInEveryStep(Courier):
    """Can be looked at and no more."""

    async def step(self, call: ToolCall) -> StepResult:
        raise RuntimeError("the courier is ill")


class _Searched(Courier):
    """Knows whether a search is at work: that alone takes snapshots."""

    fatal = False
    _seed = 1

    async def reset(self, task: Task, seed: int) -> Observation:
        self.fatal = False
        self._seed = task.seed
        return await super().reset(task, seed)

    async def snapshot(self) -> CourierSnapshot:
        self.fatal = (self._seed // 10) % 3 == 0
        return await super().snapshot()


class HangsInSomeAttempts(_Searched):
    """Blocks for good in every third attempt."""

    async def step(self, call: ToolCall) -> StepResult:
        while self.fatal:
            time.sleep(1)  # noqa: ASYNC251 - foreign code that blocks is what this stands for
        return await super().step(call)


class KillsItsProcess(_Searched):
    """Takes its process along in every third attempt."""

    async def step(self, call: ToolCall) -> StepResult:
        if self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().step(call)


class HangsInSomeChecks(Courier):
    """Waits for good in the steps of every third seed: its tasks cannot be checked."""

    _seed = 0

    async def reset(self, task: Task, seed: int) -> Observation:
        self._seed = task.seed
        return await super().reset(task, seed)

    async def step(self, call: ToolCall) -> StepResult:
        if (self._seed // 10) % 3 == 0:
            await asyncio.Event().wait()
        return await super().step(call)


class EvaluatorRaises:
    """Has no opinion."""

    async def evaluate(self, context: EvaluationContext) -> Score:
        raise LookupError("no verdict")


class EvaluatorHangs:
    """Never makes up its mind."""

    async def evaluate(self, context: EvaluationContext) -> Score:
        await asyncio.Event().wait()
        return Score()


VERIFIERS = (
    "def verify(initial, final, answer):\n    while True:\n        pass\n",
    "def verify(initial, final, answer):\n    return 1 // 0\n",
    "def verify(initial, final, answer):\n    return final['delivered'] != initial['delivered']\n",
)


class ProposerOddVerifiers:
    """Gives tasks generated verifiers: one that never ends, one that raises, one that is right."""

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        tasks = await GrammarProposer(hindsight=0).propose(context)
        return [
            task.model_copy(
                update={
                    "verifier": CodeVerifier(
                        source=VERIFIERS[number % len(VERIFIERS)], origin="search"
                    )
                }
            )
            for number, task in enumerate(tasks)
        ]
