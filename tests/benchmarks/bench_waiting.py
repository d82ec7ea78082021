"""What the benchmarks of attempts share: an executor that only waits, a library to retrieve
from, and the times at which a run passes from phase to phase."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, cast

import pytest

import agentlab
from agentlab import registry
from agentlab.envs.courier.environment import Courier
from agentlab.events import AttemptFinished, AttemptsPlanned, Event, TaskAdmitted, TaskRejected
from agentlab.graph.practice import toolset_name
from agentlab.protocols import CurationContext, Execution, ExecutionContext
from agentlab.records import Records, Workspace
from agentlab.types import (
    Clause,
    Observation,
    Parameter,
    Skill,
    Step,
    StepResult,
    ToolCall,
    Trajectory,
    Usage,
    skill_id,
)

STEPS = 10
"""Steps of the trajectory that each attempt has to record."""


class Waiting:
    """An executor that waits for `seconds` and gives a trajectory that solves nothing.

    It runs in the event loop, as an executor that waits for a model does.
    """

    seconds: ClassVar[float] = 0.0
    begun: ClassVar[list[float]] = []
    """When each attempt began."""

    async def execute(self, context: ExecutionContext) -> Execution:
        """Wait."""
        self.begun.append(perf_counter())
        if self.seconds:
            await asyncio.sleep(self.seconds)
        return Execution(_TRAJECTORY, Usage(attempts=1, tool_calls=STEPS, steps=STEPS))


class Idle:
    """A curator that finds nothing, and notes when it was asked: all attempts are done then."""

    asked: ClassVar[float] = 0.0

    async def curate(self, context: CurationContext) -> Sequence[Skill]:
        """Nothing."""
        del context
        type(self).asked = perf_counter()
        return []


_SEEN = Observation(text="You are in the yard. A lantern hangs here. The gate is open. " * 3)
_TRAJECTORY = Trajectory(
    initial=_SEEN,
    steps=tuple(
        Step(
            call=ToolCall(tool="walk", arguments={"to": f"place {number}"}),
            result=StepResult(observation=_SEEN),
            state={"at": f"place {number}", "holding": None},
        )
        for number in range(STEPS)
    ),
)


@contextmanager
def waiting(seconds: float) -> Generator[str]:
    """Register executor and curator for the block; the executor's name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Waiting, "seconds", seconds)
        patch.setattr(Waiting, "begun", [])
        patch.setitem(registry.BUILT_IN, "executor/waiting", f"{Waiting.__module__}:Waiting")
        patch.setitem(registry.BUILT_IN, "curator/idle", f"{Idle.__module__}:Idle")
        yield "waiting"


@dataclass
class Phases:
    """An observer that notes when the phases of a run's first round ended."""

    proposed: float = 0.0
    planned: float = 0.0
    attempts: int = 0
    finished: int = 0
    curating: float = 0.0

    def notify(self, event: Event) -> None:
        """Take the time."""
        if isinstance(event, TaskAdmitted | TaskRejected):
            self.proposed = perf_counter()
        elif isinstance(event, AttemptsPlanned):
            self.planned, self.attempts = perf_counter(), event.attempts
        elif isinstance(event, AttemptFinished) and event.attempt_kind == "practice":
            self.finished += 1

    @property
    def selecting(self) -> float:
        """Seconds to choose the attempts and what each is offered, and to commit it."""
        return self.planned - self.proposed

    @property
    def attempting(self) -> float:
        """Seconds from the plan to the next node: every attempt recorded and checkpointed."""
        return self.curating - self.planned


def practise(workspace: Path, attempts: int, *, concurrency: int, model: str) -> Phases:
    """One round of as many attempts, after which nothing is compared."""
    phases = Phases()
    agentlab.practice(
        "courier",
        workspace=workspace,
        observers=(phases,),
        model=model,
        curator="idle",
        rounds=1,
        proposals=attempts + attempts // 8,  # some are refused
        attempts=attempts,
        concurrency=concurrency,
        heldout=0,
    )
    assert phases.finished == phases.attempts == attempts
    phases.curating = Idle.asked
    return phases


def stock(workspace: Path, skills: int) -> None:
    """Give the workspace a library of so many active skills."""
    toolset = toolset_name(Courier().tools)
    with Records.open(Workspace.open(workspace)) as records:
        for skill in make_skills(skills, toolset):
            records.items.save_skill(skill, status="active")


def make_skills(count: int, toolset: str) -> Sequence[Skill]:
    """Skills that look like learnt ones."""
    things = ("parcel", "lantern", "basket", "crate", "cabinet", "token", "sign", "gate")
    verbs = ("deliver", "unlock", "take", "leave", "walk", "put", "read")
    made: list[Skill] = []
    for number in range(count):
        verb, thing = verbs[number % len(verbs)], things[number % len(things)]
        name = f"{verb}_{thing}_{number}"
        lines = [f"def {name}(env, *, item):", f'    """{verb.title()} the {thing}."""']
        lines += [f"    env.walk(to=item)  # leg {leg}" for leg in range(6)]
        source = "\n".join(lines)
        made.append(
            Skill(
                id=skill_id("courier", name, 1, source),
                name=name,
                environment="courier",
                toolset=toolset,
                source=source,
                parameters=(Parameter(name="item", type="item"),),
                achieves=Clause(predicate="holding", arguments={"item": "item"}),
                summary=f"{verb.title()} the {thing}, as {number} others do.",
                effect_source="def check(initial, final, *, item):\n    return True",
                effect=(f"the {thing} is where it belongs",),
            )
        )
    return made


def machine() -> str:
    """How busy the machine is, for the head of a table."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} cores, load {load}"


@contextmanager
def uncaptured(request: pytest.FixtureRequest) -> Generator[None]:
    """Print past pytest's capture."""
    capture = cast("Any", request.config.pluginmanager.getplugin("capturemanager"))
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        yield
