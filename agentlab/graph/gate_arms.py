"""The arms of a gate at work: the same tasks and seeds, asked of different weights.

Only the weights and the temperature differ between arms; executor, library, evaluator, limits and
seeds are one and the same, as in `evaluation`. An attempt that failed for reasons of
infrastructure is made once more. Where the server itself is away it is waited for, and then the
gate stops, to go on later: what was acknowledged stays, and what failed meanwhile is made again.

Where tokens are limited, so many pairs are attempted together as fit, and each of their attempts
has the same part (`gate_tokens`). What its part cuts off is no result and not put on record.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from agentlab.config import PracticeConfig
from agentlab.errors import GateInterruptedError
from agentlab.events import Progress
from agentlab.graph.attempts import run_attempt
from agentlab.graph.evaluation import ARM_SLOTS, Arm, Bench, evaluation_spec
from agentlab.graph.gate_tokens import GateTokens
from agentlab.graph.seats import Seats
from agentlab.training.promotion.verdict import Pair
from agentlab.training.serving.client import ModelServerClient, ServerFaultError
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
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


class Arms:
    """The arms of one gate. Made by `gate_bench.at_work`."""

    def __init__(
        self,
        bench: Bench,
        config: PracticeConfig,
        seats: Mapping[str, Seats],
        arms: Mapping[str, Arm],
        server: ModelServerClient,
        needed: Sequence[str],
        tokens: GateTokens,
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
        self.tokens = tokens
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

        Returns:
            All pairs, or those before the first for which the gate's tokens do not suffice.

        Raises:
            GateInterruptedError: the server went away.
        """
        made: list[Pair] = []
        while len(made) < len(tasks):
            rest = tasks[len(made) :]
            more = await self.some(
                control, candidate, rest, first=first + len(made), phase=phase, most=len(rest)
            )
            if not more:
                break
            made += more
        return made

    async def some(
        self,
        control: str,
        candidate: str,
        tasks: Sequence[Task],
        *,
        first: int = 0,
        phase: str = "",
        most: int,
    ) -> list[Pair]:
        """As `pairs`, of the first tasks as many as are attempted together, at most `most`.

        None of them means that the gate's tokens do not suffice for the first.
        """
        wanted = min(most, len(tasks))

        async def together(count: int) -> list[Pair]:
            if not count:
                return []
            found = await self._attempt((control, candidate), tasks[:count], first, phase)
            sides = zip(tasks, found[control], found[candidate], strict=False)
            made: list[Pair] = []
            for task, theirs, mine in sides:
                if theirs is None or mine is None:
                    break  # for want of tokens: what comes after it is not read before it
                verdicts = self._verdict(theirs), self._verdict(mine)
                made.append(Pair(task.id, *verdicts, theirs.usage.tokens, mine.usage.tokens))
            if len(made) == count:
                self.tokens.read()
            return made

        # What is on record costs nothing, whatever is left.
        if made := await together(self._on_record((control, candidate), wanted, first)):
            return made
        cut = -1
        while self.tokens.cut > cut and (count := self.tokens.pairs(wanted)):
            cut = self.tokens.cut
            if made := await together(count):
                return made
        return []

    def _on_record(self, arms: Sequence[str], wanted: int, first: int) -> int:
        """How many of the first pairs were attempted before; 0 where nothing limits them."""
        if self.tokens.limit is None:
            return 0
        run_id = self._bench.run_id
        recorded = set(self._bench.records.attempts.recorded_ids(run_id, 0))
        for place in range(wanted):
            slots = [self._numbers[name] * ARM_SLOTS + first + place for name in arms]
            if any(attempt_id(run_id, 0, slot, "evaluation") not in recorded for slot in slots):
                return place
        return wanted

    async def _attempt(
        self, arms: Sequence[str], tasks: Sequence[Task], first: int, phase: str
    ) -> dict[str, list[AttemptOutcome | None]]:
        """Outcomes by arm, in task order; None where its part of the tokens cut one off."""
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
        settled: dict[int, AttemptOutcome | None] = {}
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
    ) -> dict[int, AttemptOutcome | None]:
        """Make attempts; those that failed are recorded, and settled only by the last try.

        What its part of the tokens cut off is settled as None, and not recorded.
        """
        records, pool = self._bench.records, self._bench.pool
        width = max(pool.size, *(seats.concurrency for seats in self._seats.values()))
        gate = asyncio.Semaphore(width)
        made: dict[int, AttemptOutcome | None] = {}
        failed: dict[int, AttemptOutcome] = {}
        recorded = set(records.attempts.recorded_ids(self._bench.run_id, 0))
        todo = {slot: each for slot, each in todo.items() if each[1].id not in recorded}
        parts = self.tokens.parts(len(todo)) if todo else ()
        part = sum(each.tokens or 0 for each in parts)
        if parts and part <= self.tokens.cut:
            return dict.fromkeys(todo)  # it was cut off with as much

        async def one(slot: int, name: str, planned: AttemptSpec) -> None:
            nonlocal done
            spec = planned.model_copy(update={"allotted": parts})
            async with gate:
                while True:
                    outcome = await run_attempt(
                        spec, evaluator=self._evaluator, pool=pool, seats=self._seats[name]
                    )
                    cut = self._seats[name].was_cut(spec.id)
                    # What failed while the server was away is as if it had not been tried, though
                    # it was paid for.
                    if cut or not _failed(outcome) or not await self._was_away():
                        break
                    spec = _less(spec, outcome.usage.tokens)
            if cut:
                self.tokens.cut_off(part)
                made[slot] = None
                return
            self.tokens.took(outcome.usage.tokens)
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


def _again(spec: AttemptSpec, round_: int) -> AttemptSpec:
    """The same attempt as another try: its seed is the task's, so its draws are the same."""
    if round_ == spec.round:
        return spec
    id_ = attempt_id(spec.run_id, round_, spec.slot, spec.kind)
    return spec.model_copy(update={"id": id_, "round": round_})


def _failed(outcome: AttemptOutcome) -> bool:
    return outcome.status == "infrastructure_failure"


def _less(spec: AttemptSpec, tokens: int) -> AttemptSpec:
    """The same attempt, when so much of its part is gone."""
    left = tuple(
        each.model_copy(update={"tokens": max(0, (each.tokens or 0) - tokens)})
        for each in spec.allotted
    )
    return spec.model_copy(update={"allotted": left})
