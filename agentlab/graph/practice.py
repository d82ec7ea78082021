"""What the nodes of a practice run work with, and what a run is as data for the graph.

The graph's state holds ids and counts only. Everything a node makes is written to the records
in one transaction under the node's name, so that a node which runs twice has one effect.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, cast

from agentlab.config import PracticeConfig
from agentlab.embeddings import uses_model
from agentlab.environments.registration import base_name, make_environment
from agentlab.errors import UsageError
from agentlab.events import Event
from agentlab.graph.due import check_export
from agentlab.graph.judges import judge_refusal
from agentlab.graph.recording import AttemptWriter
from agentlab.graph.seats import Seats, total
from agentlab.graph.workers import WorkerPool
from agentlab.library.insights import InsightLibrary
from agentlab.library.skills import SkillLibrary
from agentlab.proposers.making import make_proposer
from agentlab.protocols import (
    ChatModel,
    Curator,
    Curriculum,
    Environment,
    Grammar,
    HasGrammar,
    HasTasks,
    InsightCurator,
    Observer,
)
from agentlab.records import Records, Transaction
from agentlab.registry import resolve
from agentlab.types import (
    SHARED,
    Allotment,
    AttemptSpec,
    EnvironmentRef,
    Frozen,
    Role,
    Scope,
    Skill,
    SplitRule,
    ToolSpec,
    Usage,
)

LEAST_TOKENS = 4096
"""Tokens without which an attempt is not begun, as long as none has shown what it takes."""
LEAST_STEPS = 200
"""Primitive steps without which an attempt is not begun."""


class RunStopped(Exception):
    """Raised by a node when the run was asked to stop."""


class RunWaits(Exception):
    """Raised when a run paused at the human gate; `resume` goes on once all is decided."""


class RunState(TypedDict):
    """The graph's state."""

    run_id: str
    round: int
    planned: int
    """Attempts of this round."""
    finished: bool
    """Set by the last node; `next == ()` alone does not mean that a run is complete."""


class RunUpdate(TypedDict, total=False):
    """What a node changes of it."""

    round: int
    planned: int
    finished: bool


class LaneState(TypedDict):
    """What `Send` hands to one lane: attempts of a round, one after another."""

    round: int
    lane: int


class Left(Frozen):
    """What a budget has left; None means unlimited."""

    attempts: int | None = None
    steps: int | None = None
    seconds: float | None = None
    tokens: int | None = None
    usd: float | None = None


def toolset_name(tools: Sequence[ToolSpec]) -> str:
    """A name for a set of tools; skills are offered only where it is the same."""
    return "+".join(sorted(tool.name for tool in tools if tool.effect == "changes"))


@dataclass
class Practice:
    """One run at work in this process: its records, workers and roles."""

    run_id: str
    config: PracticeConfig
    records: Records
    pool: WorkerPool
    library: SkillLibrary
    observers: Sequence[Observer] = ()
    spent_before: float = 0.0
    """Wall-clock seconds of earlier processes on this run."""
    started: float = field(default_factory=time.monotonic)
    stop: Callable[[], bool] = lambda: False
    insights: InsightLibrary | None = None
    """None where nobody in this run reads advice."""
    seats: Seats | None = None
    """The chat models of the roles; None where the run uses none."""
    scope: Scope = SHARED
    """Whose attempts it learns from, and whose what it learns is."""

    _round: int = -1
    _planned: dict[str, AttemptSpec] = field(default_factory=lambda: {})
    _recorded: frozenset[str] = frozenset()
    _waiting: deque[AttemptSpec] = field(default_factory=lambda: deque())

    def __post_init__(self) -> None:
        """Make the roles and one environment to ask about tools, grammar and splits."""
        config = self.config
        self.environment_ref = EnvironmentRef(
            name=config.environment, options=config.environment_options
        )
        self.environment = self.make_environment()
        check_export(config)
        self.writer = AttemptWriter(self.records)
        self.proposer = make_proposer(config.proposer, box=config.box)
        self.curriculum = cast("type[Curriculum]", resolve("curriculum", config.curriculum))()
        self.curator = cast("type[Curator]", resolve("curator", config.curator))()
        self.insight_curator = (
            None
            if config.insights == "none"
            else cast("type[InsightCurator]", resolve("insights", config.insights))()
        )

    def model(self, role: Role) -> ChatModel | None:
        """The chat model of a role outside attempts; None where it has none."""
        return self.seats.model(role) if self.seats is not None else None

    def judge_refusal(self) -> str | None:
        """Why a judge's verdict may admit nothing in this run; None where it may."""
        return judge_refusal(self.config, self.seats, self.records.workspace)

    def charge_model(self, part: Transaction, round_: int, purpose: str) -> None:
        """Put what chat models took since this was last asked on the run's account."""
        if self.seats is not None:
            calls = self.seats.take_calls()
            taken = total(calls)
            part.budgets.reserve(self.run_id, round_, taken, purpose=f"{purpose} model")
            part.budgets.settle(self.run_id, round_, taken, purpose=f"{purpose} model")
            part.role_calls.save(self.run_id, round_, purpose, calls)

    def charge_unfinished(self, round_: int, purpose: str) -> None:
        """Put on the account what a node asked of models before it failed."""
        calls = self.seats.take_calls() if self.seats is not None else ()
        if not calls:
            return
        with self.records.transaction() as part:
            number = 1
            while not part.budgets.reserve(
                self.run_id, round_, total(calls), purpose=f"{purpose} model, try {number}"
            ):
                number += 1
            part.budgets.settle(
                self.run_id, round_, total(calls), purpose=f"{purpose} model, try {number}"
            )
            part.role_calls.save(self.run_id, round_, f"{purpose}, try {number}", calls)

    def paused(self) -> float:
        """Seconds that calls waited for endpoints that were down."""
        return self.seats.paused_seconds if self.seats is not None else 0.0

    def embedded(self) -> int:
        """Tokens that embedding took since this was last asked."""
        return self.library.charge() + (self.insights.charge() if self.insights else 0)

    def make_environment(self) -> Environment:
        """A new instance of the run's environment."""
        return make_environment(self.environment_ref)

    @property
    def environment_name(self) -> str:
        """The environment's name, to which library and records belong."""
        return base_name(self.config.environment)

    @property
    def toolset(self) -> str:
        """The name of the environment's tools."""
        return toolset_name(self.environment.tools)

    @property
    def split_rule(self) -> SplitRule:
        """Which seeds and templates are reserved."""
        if isinstance(self.environment, HasTasks):
            return self.environment.split_rule
        return SplitRule()

    @property
    def vocabulary(self) -> Grammar | None:
        """The environment's grammar, where it has one."""
        return self.environment.grammar() if isinstance(self.environment, HasGrammar) else None

    @property
    def grammar(self) -> Grammar:
        """The environment's grammar, for what cannot do without.

        Raises:
            UsageError: it has none.
        """
        found = self.vocabulary
        if found is not None:
            return found
        raise UsageError(
            f"Practice with the model {self.config.model!r} needs an environment with "
            f"grammar(); {self.config.environment!r} has none."
        )

    def active(self) -> list[Skill]:
        """The served skills, by name."""
        return sorted(self.library.skills.values(), key=lambda skill: skill.name)

    @property
    def elapsed(self) -> float:
        """Wall-clock seconds of this and earlier processes on this run."""
        return self.spent_before + time.monotonic() - self.started

    def left(self) -> Left:
        """What the budget has left now, less what is set aside for attempts not yet made."""
        budget = self.config.budget
        spent: Usage = (
            self.records.attempts.spent(self.run_id, kinds=("practice", "shadow"))
            + self.records.budgets.charged(self.run_id)
            + self.records.budgets.reserved(self.run_id)
        )
        return Left(
            attempts=None if budget.attempts is None else max(0, budget.attempts - spent.attempts),
            steps=None if budget.steps is None else max(0, budget.steps - spent.steps),
            seconds=None if budget.seconds is None else max(0.0, budget.seconds - self.elapsed),
            tokens=None if budget.tokens is None else max(0, budget.tokens - spent.tokens),
            usd=None if budget.usd is None else max(0.0, budget.usd - spent.usd),
        )

    def exhausted(self) -> str | None:
        """Which budget is used up, or None."""
        left = self.left()
        for name, value in (
            ("attempts", left.attempts),
            ("steps", left.steps),
            ("seconds", left.seconds),
        ):
            if value is not None and value <= (LEAST_STEPS - 1 if name == "steps" else 0):
                return name
        # What a model costs; a run whose roles use none spends none, whatever the cap.
        if self.seats is not None or uses_model(self.config.embedder):
            for name, value in (("tokens", left.tokens), ("usd", left.usd)):
                if value is not None and value <= 0:
                    return name
        # What is left may be too little for any call, or for an attempt.
        if self.seats is not None and self.seats.spent_out is None:
            self.share(1)
        return self.seats.spent_out if self.seats is not None else None

    def share(self, attempts: int) -> tuple[int, tuple[Allotment, ...]]:
        """How many attempts the budgets of the chat models pay for, and each one's part of them.

        As many as could each take what the dearest one so far took; where that one was cut off,
        they must be able to take twice as much, for it needed more than it got.
        """
        if self.seats is None:
            return attempts, ()
        rows = self.records.attempts.all(self.run_id, kind="practice")
        unknown = [row.attempt_id for row in rows if row.success is None]
        cut = any(
            outcome.ending == "budget" for outcome in self.records.trajectories.outcomes(unknown)
        )
        factor = 2 if cut else 1
        least = Usage(
            tokens=factor * max([row.tokens for row in rows if row.tokens] or [LEAST_TOKENS]),
            usd=factor * max([row.usd for row in rows] or [0.0]),
        )
        return self.seats.share(attempts, least)

    def out_of_time(self) -> bool:
        """Whether the wall-clock budget is used up; asked before each attempt, so no query."""
        seconds = self.config.budget.seconds
        return seconds is not None and self.elapsed >= seconds

    def go_on(self) -> None:
        """Return while the run may go on.

        Raises:
            RunStopped: somebody asked it to stop; what is unfinished is for `resume`.
        """
        if self.stop():
            raise RunStopped

    def planned(self, round_: int) -> Mapping[str, AttemptSpec]:
        """The round's practice attempts by id."""
        if self._round != round_:
            self._round = round_
            self._planned = {
                spec.id: spec
                for spec in self.records.attempts.planned(self.run_id, round_)
                if spec.kind == "practice"
            }
            self._recorded = frozenset(self.records.attempts.recorded_ids(self.run_id, round_))
            self._waiting = deque(
                spec for spec in self._planned.values() if spec.id not in self._recorded
            )
        return self._planned

    def recorded(self, round_: int) -> frozenset[str]:
        """Ids of the round's attempts that an earlier process recorded."""
        self.planned(round_)
        return self._recorded

    @property
    def width(self) -> int:
        """How many attempts may be under way at a time."""
        waiting = self.seats.concurrency if self.seats is not None else 0
        return self.config.concurrency or waiting or os.cpu_count() or 1

    def lanes(self, round_: int) -> int:
        """How many attempts of the round to have under way at a time; 0 when none is left."""
        self.planned(round_)
        return min(self.width, len(self._waiting))

    def claim(self, round_: int) -> AttemptSpec | None:
        """The round's next attempt that nobody has begun, in slot order, or None."""
        self.planned(round_)
        return self._waiting.popleft() if self._waiting else None

    def tell(self, events: Sequence[Event]) -> None:
        """Tell the observers, after what the events report is on record."""
        for observer in self.observers:
            for event in events:
                observer.notify(event)
