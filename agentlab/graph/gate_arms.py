"""The arms of a gate at work: the same tasks and seeds, asked of different weights.

Only the weights and the temperature differ between arms; executor, library, evaluator, limits and
seeds are one and the same, as in `evaluation`. An attempt that failed for reasons of
infrastructure is made once more. Where the server itself is away it is waited for, and then the
gate stops, to go on later: what was acknowledged stays, and what failed meanwhile is made again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from agentlab.config import BudgetConfig, PracticeConfig
from agentlab.environments.registration import base_name, make_environment
from agentlab.errors import GateInterruptedError
from agentlab.events import Progress
from agentlab.graph.attempts import run_attempt
from agentlab.graph.evaluation import ARM_SLOTS, Arm, Bench, evaluation_spec
from agentlab.graph.opening import cores
from agentlab.graph.policies import route_of
from agentlab.graph.practice import toolset_name
from agentlab.graph.seats import Seats
from agentlab.graph.watching import Watchers
from agentlab.graph.workers import WorkerPool
from agentlab.library.insights import InsightLibrary
from agentlab.library.skills import SkillLibrary
from agentlab.models.routes import POLICY
from agentlab.protocols import Observer
from agentlab.records import Records
from agentlab.records.leases import held
from agentlab.sandbox import settle_box
from agentlab.training.promotion.verdict import Pair
from agentlab.training.serving.client import ModelServerClient, ServerFaultError
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    EnvironmentRef,
    Limits,
    Task,
    attempt_id,
)

TRIES = 2
"""Of an attempt that fails for reasons of infrastructure while the server is there."""
FAMILIES, HELDOUT = 60_000, 80_000
"""Where in an arm's slots the tasks of protected templates and held-out ones begin."""
TICK = 0.5
"""Seconds between two looks whether the server is back."""
EACH = 1_000
"""Slots of one protected template."""
_OTHERS = ("proposer", "evaluator", "stronger", "curator")


class Weights(NamedTuple):
    """Who is asked in an arm, and how replies are drawn."""

    name: str
    version: str
    """As a policy is pinned to it: an adapter, or `base`."""
    temperature: float


class Arms:
    """The arms of one gate. Made by `at_work`."""

    def __init__(
        self,
        bench: Bench,
        config: PracticeConfig,
        seats: Mapping[str, Seats],
        arms: Mapping[str, Arm],
        server: ModelServerClient,
        needed: Sequence[str],
        *,
        judged: bool,
        patience: float,
    ) -> None:
        self._bench = bench
        self._limits = Limits(tool_calls=config.heldout_tool_calls, seconds=config.attempt_seconds)
        self._evaluator = config.evaluator
        self._seats = seats
        self._arms = arms
        self._numbers = {name: number for number, name in enumerate(arms)}
        self._server = server
        self._needed = frozenset(needed)
        self._judged = judged
        self._patience = patience

    async def pairs(
        self,
        control: str,
        candidate: str,
        tasks: Sequence[Task],
        *,
        first: int = 0,
        phase: str = "",
    ) -> list[Pair]:
        """Attempt tasks in two arms; what is on record already is not attempted again.

        Args:
            control: name of an arm.
            candidate: name of an arm.
            tasks: in order.
            first: slot of the first of them.
            phase: shown to observers.

        Raises:
            GateInterruptedError: the server went away.
        """
        found = await self._attempt((control, candidate), tasks, first, phase)
        return [
            Pair(
                task.id,
                self._verdict(theirs),
                self._verdict(mine),
                theirs.usage.tokens,
                mine.usage.tokens,
            )
            for task, theirs, mine in zip(tasks, found[control], found[candidate], strict=True)
        ]

    async def _attempt(
        self, arms: Sequence[str], tasks: Sequence[Task], first: int, phase: str
    ) -> dict[str, list[AttemptOutcome]]:
        specs = {
            name: [
                evaluation_spec(
                    self._bench,
                    self._arms[name],
                    self._numbers[name] * ARM_SLOTS + first + place,
                    task,
                    self._limits,
                )
                for place, task in enumerate(tasks)
            ]
            for name in arms
        }
        settled: dict[int, AttemptOutcome] = {}
        for round_ in range(TRIES):
            todo = {
                spec.slot: (name, _again(spec, round_))
                for column in zip(*specs.values(), strict=True)
                for name, spec in zip(specs, column, strict=True)
                if spec.slot not in settled
            }
            settled |= self._known(todo, last=round_ == TRIES - 1)
            rest = {slot: each for slot, each in todo.items() if slot not in settled}
            settled |= await self._make(rest, phase, len(settled), sum(map(len, specs.values())))
        return {name: [settled[spec.slot] for spec in own] for name, own in specs.items()}

    def _known(
        self, todo: Mapping[int, tuple[str, AttemptSpec]], *, last: bool
    ) -> dict[int, AttemptOutcome]:
        records, run_id = self._bench.records, self._bench.run_id
        recorded: set[str] = set()
        for round_ in range(TRIES):
            recorded.update(records.attempts.recorded_ids(run_id, round_))
        known = {slot: spec.id for slot, (_, spec) in todo.items() if spec.id in recorded}
        found = zip(known, records.trajectories.outcomes(list(known.values())), strict=True)
        return {slot: outcome for slot, outcome in found if last or not _failed(outcome)}

    async def _make(
        self, todo: Mapping[int, tuple[str, AttemptSpec]], phase: str, done: int, total: int
    ) -> dict[int, AttemptOutcome]:
        """Make attempts; those that failed are recorded, and settled only by the last try."""
        records, pool = self._bench.records, self._bench.pool
        width = max(pool.size, *(seats.concurrency for seats in self._seats.values()))
        gate = asyncio.Semaphore(width)
        made: dict[int, AttemptOutcome] = {}
        failed: dict[int, AttemptOutcome] = {}
        recorded = set(records.attempts.recorded_ids(self._bench.run_id, 0))

        async def one(slot: int, name: str, spec: AttemptSpec) -> None:
            nonlocal done
            async with gate:
                while True:
                    outcome = await run_attempt(
                        spec, evaluator=self._evaluator, pool=pool, seats=self._seats[name]
                    )
                    # What failed while the server was away is as if it had not been tried.
                    if not _failed(outcome) or not await self._was_away():
                        break
            if _failed(outcome):
                failed[slot] = outcome
                return
            records.attempts.record(spec, outcome)
            made[slot] = outcome
            done += 1
            self._tell(phase, done, total)

        try:
            async with asyncio.TaskGroup() as group:
                for slot, (name, spec) in todo.items():
                    if spec.id not in recorded:
                        group.create_task(one(slot, name, spec))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        for slot, outcome in failed.items():
            spec = todo[slot][1]
            records.attempts.record(spec, outcome)
            if spec.round == TRIES - 1:
                made[slot] = outcome
        return made

    async def _was_away(self) -> bool:
        """Whether the server was away and is back; False where it is there all the time.

        Raises:
            GateInterruptedError: it stays away, or came back without what is compared.
        """
        until = time.monotonic() + self._patience
        away = False
        while True:
            try:
                served = await asyncio.to_thread(self._server.models)
                break
            except ServerFaultError as error:
                away = True
                if time.monotonic() >= until:
                    raise GateInterruptedError(
                        "The gate stopped and decided nothing, since its server went away: "
                        f"{error} The same command goes on where it was."
                    ) from None
            await asyncio.sleep(TICK)
        missing = sorted(self._needed - {each.name for each in served})
        if missing:
            raise GateInterruptedError(
                f"The gate stopped and decided nothing, since its server lost {missing[0]!r} "
                "meanwhile; the same command loads it again and goes on where it was."
            )
        return away

    def _verdict(self, outcome: AttemptOutcome) -> bool | None:
        if outcome.score.source == "judge" and not self._judged:
            return None
        return outcome.success

    def _tell(self, phase: str, done: int, total: int) -> None:
        event = Progress(run_id=self._bench.run_id, phase=f"gate: {phase}", done=done, total=total)
        for observer in self._bench.observers:
            observer.notify(event)


@asynccontextmanager
async def at_work(
    records: Records,
    run_id: str,
    config: PracticeConfig,
    policy: str,
    weights: Sequence[Weights],
    server: ModelServerClient,
    observers: Sequence[Observer],
    *,
    library: bool,
    judged: bool,
    patience: float,
) -> AsyncGenerator[Arms]:
    """The arms of a gate, with workers, library and models; closed at the end.

    Args:
        records: of the workspace.
        run_id: under which attempts are recorded.
        config: how attempts are made; pinned, so that no other role's model changes meanwhile.
        policy: whose versions are compared.
        weights: the arms.
        server: where they are served.
        observers: are told how far it is.
        library: whether arms are offered the library.
        judged: whether a judge's verdicts count.
        patience: seconds that a server which is away is waited for.
    """
    ref = EnvironmentRef(name=config.environment, options=config.environment_options)
    world = make_environment(ref)
    home = base_name(config.environment)
    box = settle_box(config.box)
    routes = {
        f"{policy}@{each.version}": route_of(records, f"{policy}@{each.version}")
        for each in weights
    }
    others = [getattr(config.roles, role).model for role in _OTHERS]
    for name in [config.model, *others]:
        if name.startswith(f"{POLICY}:"):
            spec = name.partition(":")[2]
            routes.setdefault(spec, route_of(records, spec))
    async with AsyncExitStack() as closing:
        claims = (route.adapter or "" for route in routes.values())
        closing.enter_context(held(records.workspace, claims))
        pool = WorkerPool(cores(config.concurrency), box=box.name, blobs=records.workspace.blobs)
        closing.callback(pool.close)
        skills: SkillLibrary | None = None
        told: InsightLibrary | None = None
        if library:
            skills = SkillLibrary(
                records,
                home,
                toolset=toolset_name(world.tools),
                embedder=config.embedder,
                backend=config.index,
                foreign=box.takes_foreign_code,
            )
            closing.callback(skills.close)
            told = InsightLibrary(records, home, embedder=config.embedder, backend=config.index)
            closing.callback(told.close)
        seats: dict[str, Seats] = {}
        arms: dict[str, Arm] = {}
        for each in weights:
            own = Seats(
                _asking(config, f"{POLICY}:{policy}@{each.version}", each.temperature),
                routes=routes,
                patience=0.0,  # the gate itself waits for a server that is away
            )
            closing.push_async_callback(own.close)
            seats[each.name] = own
            arms[each.name] = Arm(each.name, config.acting, skills, told, config.executor_options)
        bench = Bench(
            run_id,
            0,
            records,
            pool,
            ref,
            config.evaluator,
            config.retrieval,
            (Watchers(observers),),
            None,
            config.advice,
        )
        needed = [route.model for route in routes.values()]
        yield Arms(bench, config, seats, arms, server, needed, judged=judged, patience=patience)


def _asking(config: PracticeConfig, model: str, temperature: float) -> PracticeConfig:
    """The config, with an executor that asks these weights."""
    own = config.roles.executor.model_copy(update={"model": model, "temperature": temperature})
    roles = config.roles.model_copy(update={"executor": own})
    return config.model_copy(update={"roles": roles, "budget": BudgetConfig()})


def _again(spec: AttemptSpec, round_: int) -> AttemptSpec:
    """The same attempt as another try: its seed is the task's, so its draws are the same."""
    if round_ == spec.round:
        return spec
    id_ = attempt_id(spec.run_id, round_, spec.slot, spec.kind)
    return spec.model_copy(update={"id": id_, "round": round_})


def _failed(outcome: AttemptOutcome) -> bool:
    return outcome.status == "infrastructure_failure"
