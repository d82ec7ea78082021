"""What a display shows, kept up from the events of a run. No drawing here.

Success is counted as everywhere: practice attempts with a verdict; shadow attempts, unknown
scores and failures of infrastructure count in neither successes nor attempts.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from agentlab.analysis.figures import count, duration, percent, span
from agentlab.events import (
    AttemptFinished,
    AttemptsPlanned,
    Event,
    InsightMoved,
    Progress,
    RepliesDropped,
    RoundFinished,
    RunFinished,
    RunPaused,
    RunStarted,
    SkillMoved,
    SkillProposed,
    TaskAdmitted,
    TaskRejected,
    TasksChecked,
    TrainingStepped,
)

if TYPE_CHECKING:
    from agentlab.types import JsonObject


@dataclass(frozen=True)
class Plan:
    """What a run is to do at most; what is None is not limited or not known."""

    rounds: int | None = None
    attempts: int | None = None
    """A round."""
    budget_attempts: int | None = None
    budget_steps: int | None = None
    budget_seconds: float | None = None
    preflight: str = ""
    """What the run may take at most and what its budget pays for, in words."""

    @classmethod
    def of(
        cls,
        config: JsonObject,
        *,
        preflight: str = "",
        budgets: Mapping[str, float] | None = None,
    ) -> Plan:
        """The plan in a practice config, as JSON, and in budgets that were set since."""
        budget = config.get("budget")
        limits: dict[str, object] = {**budget} if isinstance(budget, dict) else {}
        limits |= {
            place.removeprefix("budget."): amount
            for place, amount in (budgets or {}).items()
            if place.startswith("budget.")
        }
        seconds = limits.get("seconds")
        return cls(
            rounds=_whole(config.get("rounds")),
            attempts=_whole(config.get("attempts")),
            budget_attempts=_whole(limits.get("attempts")),
            budget_steps=_whole(limits.get("steps")),
            budget_seconds=float(seconds) if isinstance(seconds, int | float) else None,
            preflight=preflight,
        )


class Rate(NamedTuple):
    """So many successes of so many verdicts."""

    successes: int = 0
    n: int = 0

    def __str__(self) -> str:
        if self.n == 0:
            return "no verdict yet"
        from agentlab.statistics import wilson

        low, high = wilson(self.successes, self.n)
        return f"{percent(self.successes / self.n)} ({span(low, high)}, n={self.n})"


class Tally:
    """The run so far. `add` each event; read the attributes."""

    def __init__(self, plan: Plan, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.plan = plan
        self._clock = clock
        self._began = clock()
        self.run_id = ""
        self.environment = ""
        self.model = ""
        self.resumed = False
        self.round: int | None = None
        """The round under way, from 0 as events count; None before the first."""
        self.planned = 0
        self.done = 0
        """Practice attempts of this round."""
        self.shadow = 0
        """Shadow attempts of this round, in which candidates are tried out."""
        self.practised = 0
        """Practice attempts seen."""
        self.attempts = 0
        """Attempts seen, of every kind."""
        self.steps = 0
        self.admitted = 0
        self.rejected: Counter[str] = Counter()
        self.candidates = 0
        self.skills_admitted = 0
        self.skills_retired = 0
        self.active = 0
        self.waiting = 0
        """Skills and pieces of advice that passed every gate and wait for a person."""
        self.latest = ""
        """What last became of a skill, in words."""
        self.phase: Progress | None = None
        self.checking: TasksChecked | None = None
        """How far the round's proposals are; None once it is known what came of them."""
        self.training: TrainingStepped | None = None
        """What a trainer did last."""
        self.ended: RunFinished | None = None
        self.paused = ""
        """Why the run waits; empty while it does not."""
        self.unusable: Counter[str] = Counter()
        """What roles asked of their models and came to nothing, as `<role>: <reason>`."""
        self.advice = 0
        """Pieces of advice that this run made and that are served."""
        self._verdicts: dict[int, list[bool]] = {}
        self._recent: deque[bool] = deque(maxlen=plan.attempts or 60)

    def add(self, event: Event) -> None:
        """Take in one event."""
        if not event.lifecycle:
            self._enter(event.round)
            self.checking = None
        if event.lifecycle:
            self._of_the_run(event)
        else:
            self._of_a_round(event)

    def _of_the_run(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.run_id, self.environment = event.run_id, event.environment
                self.model, self.resumed = event.model, event.resumed
            case RunFinished():
                self.ended = event
            case TasksChecked():
                self._enter(event.round)
                self.checking = event
            case RunPaused():
                self.paused = event.reason
            case RepliesDropped():
                self.unusable.update({f"{event.role}: {k}": n for k, n in event.reasons.items()})
            case Progress():
                self.phase = event if event.done < event.total else None
            case TrainingStepped():
                self.training = event
            case _:
                pass

    def _of_a_round(self, event: Event) -> None:
        match event:
            case TaskAdmitted():
                self.admitted += 1
            case TaskRejected():
                self.rejected[_rule(event.reason)] += 1
            case AttemptsPlanned():
                self.planned = event.attempts
            case AttemptFinished():
                self._attempt(event)
            case SkillProposed():
                self.candidates += 1
            case SkillMoved():
                self._moved(event)
            case InsightMoved():
                self.advice += (event.after == "active") - (event.before == "active")
                self.waiting += (event.after == "verified") - (event.before == "verified")
            case RoundFinished():
                self.active = event.active_skills
            case _:
                pass

    @property
    def elapsed(self) -> float:
        """Seconds since the tally was made."""
        return self._clock() - self._began

    @property
    def proposed(self) -> int:
        """Tasks proposed so far."""
        return self.admitted + self.rejected.total()

    @property
    def this_round(self) -> Rate:
        """Success in the round under way."""
        return _rate(self._verdicts.get(self.round if self.round is not None else -1, []))

    @property
    def now(self) -> Rate:
        """Success in the latest verdicts, as many as a round has attempts."""
        return _rate(self._recent)

    @property
    def first(self) -> Rate | None:
        """Success in the first round; None where this process did not see that round."""
        return _rate(self._verdicts[0]) if 0 in self._verdicts else None

    def first_in_words(self) -> str:
        """Success in the first round, or why it is not known."""
        if self.first is not None:
            return str(self.first)
        return "before this process began" if self.round else "no verdict yet"

    def training_in_words(self) -> str:
        """`step 12 of 60, loss 0.482`, or what the trainer does before its first step."""
        told = self.training
        if told is None or not told.steps:
            return told.phase if told is not None else ""
        loss = told.metrics.get("loss")
        said = f", loss {loss:.4g}" if loss is not None else ""
        return f"step {told.step:,} of {told.steps:,}{said}"

    def checking_in_words(self) -> str:
        """`7 of 20 proposed tasks checked`, or that they are being made; empty at other times."""
        told = self.checking
        if told is None:
            return ""
        if not told.total:
            return "proposing tasks"
        return f"{told.done:,} of {told.total:,} proposed tasks checked"

    def round_name(self) -> str:
        """`round 2 of 6`."""
        of = f" of {self.plan.rounds}" if self.plan.rounds else ""
        return f"round {(self.round or 0) + 1}{of}"

    def rejections(self, most: int = 3) -> str:
        """`8 rejected (5 duplicate, 3 unsolved)`."""
        text = f"{self.rejected.total():,} rejected"
        if not self.rejected:
            return text
        named = [f"{number} {reason}" for reason, number in self.rejected.most_common(most)]
        if len(self.rejected) > most:
            named.append("others")
        return f"{text} ({', '.join(named)})"

    def came_to_nothing(self, most: int = 2) -> str:
        """`3 came to nothing (2 proposer: no solution, 1 proposer: unknown tool)`."""
        named = [f"{number} {reason}" for reason, number in self.unusable.most_common(most)]
        if len(self.unusable) > most:
            named.append("others")
        return f"{self.unusable.total():,} came to nothing ({', '.join(named)})"

    def budget_left(self) -> str:
        """What may still be spent; without a budget, the attempts that the rounds foresee."""
        plan, parts = self.plan, list[str]()
        total = plan.budget_attempts
        if total is not None:
            parts.append(count(max(0, total - self.attempts), "attempt"))
        elif plan.rounds and plan.attempts and not self.resumed:
            total = plan.rounds * plan.attempts
            parts.append(f"{max(0, total - self.practised):,} of {count(total, 'attempt')}")
        if plan.budget_steps is not None:
            parts.append(count(max(0, plan.budget_steps - self.steps), "step"))
        if plan.budget_seconds is not None:
            parts.append(duration(max(0.0, plan.budget_seconds - self.elapsed)))
        return ", ".join(parts) or "no limit"

    def lines(self) -> list[tuple[str, str]]:
        """What every display tells of the run, label by label; an empty label goes on."""
        name = self.round_name().removeprefix("round ")
        return [
            ("Round", name if self.round is not None else f"preparing {name}"),
            ("Success now", str(self.now)),
            ("  at first", self.first_in_words()),
            ("Tasks", f"{self.proposed:,} proposed, {self.admitted:,} admitted"),
            ("", self.rejections(most=2)),
            *([("Replies", self.came_to_nothing())] if self.unusable else []),
            (
                "Skills",
                f"{self.skills_admitted} admitted, {self.skills_retired} retired, "
                f"{self.active} active",
            ),
            ("  latest", self.latest or "none yet"),
            *([("Advice", f"{self.advice} active")] if self.advice else []),
            *([("Waiting", f"{self.waiting} for approval")] if self.waiting > 0 else []),
        ]

    def _enter(self, round_: int) -> None:
        if self.round is None or round_ > self.round:
            self.round, self.planned, self.done, self.shadow = round_, 0, 0, 0

    def _attempt(self, event: AttemptFinished) -> None:
        if event.attempt_kind not in {"practice", "shadow"}:
            return
        if event.attempt_kind == "practice":
            self.done += 1
            self.practised += 1
        else:
            self.shadow += 1
        self.attempts += 1
        self.steps += event.steps
        counts = event.attempt_kind == "practice" and event.status == "completed"
        if counts and event.success is not None:
            self._verdicts.setdefault(event.round, []).append(event.success)
            self._recent.append(event.success)

    def _moved(self, event: SkillMoved) -> None:
        self.waiting += (event.after == "verified") - (event.before == "verified")
        if event.after == "active" and event.before != "retired":
            self.skills_admitted += 1
            self.active += 1
            self.latest = f"admitted {event.name}"
        elif event.after == "active":
            self.active += 1
            self.latest = f"took back {event.name}"
        elif event.after == "retired" and event.before == "active":
            self.skills_retired += 1
            self.active -= 1
            why = f": {event.reason}" if event.reason else ""
            self.latest = f"retired {event.name}{why}"


def _rule(reason: str) -> str:
    """The rule alone, of a reason such as `reserved seed: 19 belongs to heldout`."""
    return reason.partition(":")[0].strip() or "unnamed"


def _rate(verdicts: list[bool] | deque[bool]) -> Rate:
    return Rate(sum(verdicts), len(verdicts))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
