"""Attempts: planned before their first step, recorded once, counted without their trajectories.

An attempt's whole outcome goes in one transaction under the attempt's id, with the events that
tell of it; doing so again changes nothing. Reading an attempt in full is in `trajectories`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError
from sqlalchemy import Connection, Select, bindparam, func, select, update

from agentlab.errors import RecordsError, UnknownNameError
from agentlab.events import Event
from agentlab.records.calls import spelt_calls
from agentlab.records.database import Session, add, now
from agentlab.records.documents import batches, bodies, keep
from agentlab.records.encoding import (
    check_amounts,
    decode,
    decode_names,
    decode_object,
    encode,
    plain,
    unreadable,
)
from agentlab.records.eventlog import append
from agentlab.records.runs import begin_round
from agentlab.records.tables import (
    ATTEMPTS,
    DRAWS,
    MODEL_CALLS,
    OUTCOMES,
    PLANS,
    SCORES,
    STEPS,
)
from agentlab.records.tasks import give
from agentlab.types import (
    SHARED,
    AttemptKind,
    AttemptOutcome,
    AttemptSpec,
    AttemptStatus,
    Scope,
    Skill,
    Step,
    Task,
    Template,
    Usage,
)

COPY = "copy"
"""How the group of an attempt begins that tells another one again, to be learnt from."""
UNSEEN_KINDS: tuple[AttemptKind, ...] = ("evaluation", "production")
"""Kinds whose task need not be of the practice split."""


class AttemptRow(NamedTuple):
    """A recorded attempt without its trajectory."""

    attempt_id: str
    run_id: str
    round: int
    slot: int
    kind: AttemptKind
    task_id: str
    group_id: str
    template: str
    split: str
    environment: str
    status: AttemptStatus
    success: bool | None
    """None for infrastructure failures and unknown scores."""
    error: str | None
    tool_calls: int
    steps: int
    tokens: int
    usd: float
    cpu_seconds: float
    wall_seconds: float
    first_tool_calls: int | None
    """Calls spent when the goal was first reached, where the executor tells."""
    first_steps: int | None
    first_cpu_seconds: float | None
    offered: int
    withheld: int
    scope: str
    """Path of the scope in which it was made."""
    skills_used: tuple[str, ...]
    """Ids."""


class Attempts:
    """The attempts of every run."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def plan(self, run_id: str, round_: int, specs: Sequence[AttemptSpec]) -> int:
        """Commit the specs, offers and draws included, before any first step.

        Returns how many were new; one that was planned already stays as it was.

        Raises:
            RecordsError: a spec is of another run or round, or practises a reserved task.
        """
        for spec in specs:
            if (spec.run_id, spec.round) != (run_id, round_):
                raise RecordsError(
                    f"The attempt {spec.id!r} is of round {spec.round} of the run "
                    f"{spec.run_id!r}; plan it there and not in round {round_} of {run_id!r}."
                )
        with self._session.write() as connection:
            return _plan(connection, specs)

    def planned(self, run_id: str, round_: int) -> list[AttemptSpec]:
        """The round's specs in slot order, recorded or not."""
        query = (
            select(PLANS)
            .join(ATTEMPTS, ATTEMPTS.c.id == PLANS.c.attempt_id)
            .where(ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.round == round_)
            .order_by(ATTEMPTS.c.slot, ATTEMPTS.c.kind)
        )
        return self._specs(query)

    def spec(self, attempt_id: str) -> AttemptSpec:
        """One attempt's spec, recorded or not.

        Raises:
            UnknownNameError: no attempt of that id was planned.
        """
        found = self._specs(select(PLANS).where(PLANS.c.attempt_id == attempt_id))
        if not found:
            raise UnknownNameError("attempt", attempt_id, ())
        return found[0]

    def _specs(self, query: Select[Any]) -> list[AttemptSpec]:
        with self._session.read() as connection:
            rows = connection.execute(query).all()
            skill_digests = [
                decode_names(row.skills, table="plans", key=row.attempt_id) for row in rows
            ]
            texts = bodies(
                connection,
                [*(row.task for row in rows), *(d for group in skill_digests for d in group)],
            )
        skills = {
            d: decode(Skill, texts[d], table="documents", key=d)
            for group in skill_digests
            for d in group
        }
        tasks = {
            row.task: decode(Task, texts[row.task], table="documents", key=row.task) for row in rows
        }
        return [
            spec_of(row.attempt_id, row.body, tasks[row.task], [skills[digest] for digest in group])
            for row, group in zip(rows, skill_digests, strict=True)
        ]

    def record(
        self, spec: AttemptSpec, outcome: AttemptOutcome, events: Sequence[Event] = ()
    ) -> bool:
        """Record what an attempt gave, and its events, in one transaction.

        When this returns the attempt is on the disk. An attempt that was not planned (one in
        production, say) is planned by this. False when it was recorded before; then nothing
        changes, the events included.

        Raises:
            RecordsError: the outcome is of another attempt, or its run is unknown.
        """
        if outcome.attempt_id != spec.id:
            raise RecordsError(
                f"The outcome of {outcome.attempt_id!r} was handed in for {spec.id!r}; record "
                "each with its own spec."
            )
        with self._session.write() as connection:
            known = connection.execute(_STATUS, {"attempt": spec.id}).one_or_none()
            if known is None:
                _plan(connection, [spec])
            elif known.status is not None:
                return False
            _record(connection, outcome)
            append(connection, events)
            return True

    def all(
        self, run_id: str, round_: int | None = None, *, kind: AttemptKind | None = None
    ) -> list[AttemptRow]:
        """Recorded attempts in (round, slot) order; no trajectory is read."""
        query = select(*ROW_COLUMNS).where(
            ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.status.is_not(None)
        )
        if round_ is not None:
            query = query.where(ATTEMPTS.c.round == round_)
        if kind is not None:
            query = query.where(ATTEMPTS.c.kind == kind)
        query = query.order_by(ATTEMPTS.c.round, ATTEMPTS.c.slot, ATTEMPTS.c.kind)
        with self._session.read() as connection:
            return [attempt_row(row) for row in connection.execute(query)]

    def recorded_ids(self, run_id: str, round_: int) -> list[str]:
        """Ids of the round's recorded attempts, in slot order."""
        query = (
            select(ATTEMPTS.c.id)
            .where(
                ATTEMPTS.c.run_id == run_id,
                ATTEMPTS.c.round == round_,
                ATTEMPTS.c.status.is_not(None),
            )
            .order_by(ATTEMPTS.c.slot, ATTEMPTS.c.kind)
        )
        with self._session.read() as connection:
            return list(connection.scalars(query))

    def count(self, run_id: str, *, kind: AttemptKind | None = None) -> int:
        """How many attempts are recorded."""
        query = (
            select(func.count())
            .select_from(ATTEMPTS)
            .where(ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.status.is_not(None))
        )
        if kind is not None:
            query = query.where(ATTEMPTS.c.kind == kind)
        with self._session.read() as connection:
            return connection.scalar(query) or 0

    def template_outcomes(self, run_id: str) -> list[Template]:
        """Unassisted outcomes by template, for curricula; templates sorted by name.

        Practice attempts that completed with a known score, in (round, slot) order. Shadow
        attempts try unverified items and are left out, as are infrastructure failures. What
        the library offered is the agent's own and no assistance.
        """
        query = (
            select(ATTEMPTS.c.template, ATTEMPTS.c.success)
            .where(
                ATTEMPTS.c.run_id == run_id,
                ATTEMPTS.c.kind == "practice",
                ATTEMPTS.c.split == "practice",
                ATTEMPTS.c.status == "completed",
                ATTEMPTS.c.success.is_not(None),
            )
            .order_by(ATTEMPTS.c.round, ATTEMPTS.c.slot)
        )
        found: dict[str, list[bool]] = {}
        with self._session.read() as connection:
            for template, success in connection.execute(query):
                found.setdefault(template, []).append(success)
        return [Template(name=name, outcomes=tuple(found[name])) for name in sorted(found)]

    def uses(self, *, scope: Scope = SHARED) -> Counter[str]:
        """In how many attempts that a scope may read each skill was used, by id; no shadow ones.

        The database counts attempts that used the same skills, and only those are told apart.
        """
        query = (
            select(ATTEMPTS.c.skills_used, func.count().label("n"))
            .where(
                ATTEMPTS.c.status.is_not(None),
                ATTEMPTS.c.kind != "shadow",
                ATTEMPTS.c.skills_used != "[]",
                ATTEMPTS.c.group_id.not_like(f"{COPY}-%"),
                ATTEMPTS.c.scope.in_(scope.readable),
            )
            .group_by(ATTEMPTS.c.skills_used)
        )
        uses = Counter[str]()
        with self._session.read() as connection:
            for names, n in connection.execute(query):
                for name in decode_names(names, table="attempts", key="skills_used"):
                    uses[name] += n
        return uses

    def spent(self, run_id: str, *, kinds: Sequence[AttemptKind] | None = None) -> Usage:
        """What the recorded attempts consumed, infrastructure failures included."""
        columns = ("tool_calls", "steps", "tokens", "usd", "cpu_seconds", "wall_seconds")
        sums = [func.coalesce(func.sum(ATTEMPTS.c[name]), 0).label(name) for name in columns]
        query = select(func.count().label("attempts"), *sums).where(
            ATTEMPTS.c.run_id == run_id, ATTEMPTS.c.status.is_not(None)
        )
        if kinds is not None:
            query = query.where(ATTEMPTS.c.kind.in_(kinds))
        with self._session.read() as connection:
            found = dict(connection.execute(query).mappings().one())
        try:
            spent = Usage.model_validate(found)
        except ValidationError as error:
            raise unreadable("attempts", run_id, f"the sum is {found}") from error
        return check_amounts(spent, table="attempts", key=run_id)


def spec_of(key: str, body: str, task: Task, skills: Sequence[Skill]) -> AttemptSpec:
    """A spec from its row of `PLANS` and the documents that it names.

    Raises:
        RecordsError: it is not what was written.
    """
    values = decode_object(body, table="plans", key=key)
    try:
        return AttemptSpec.model_validate({**values, "task": task, "skills": tuple(skills)})
    except ValidationError as error:
        raise unreadable("plans", key, error.errors()[0]["msg"]) from error


def _plan(connection: Connection, specs: Sequence[AttemptSpec]) -> int:
    for spec in specs:
        if spec.task.split != "practice" and spec.kind not in UNSEEN_KINDS:
            raise RecordsError(
                f"The task {spec.task.id!r} is reserved for {spec.task.split} and may not be "
                f"practised; attempt it with the kind 'evaluation'."
            )
    known: set[str] = set()
    for part in batches([spec.id for spec in specs]):
        known.update(connection.scalars(select(ATTEMPTS.c.id).where(ATTEMPTS.c.id.in_(part))))
    fresh = list({spec.id: spec for spec in specs if spec.id not in known}.values())
    if not fresh:
        return 0
    begin_round(connection, fresh[0].run_id, fresh[0].round)
    tasks = keep(connection, [spec.task for spec in fresh])
    skills = iter(keep(connection, [skill for spec in fresh for skill in spec.skills]))
    given = [(spec.task, digest) for spec, digest in zip(fresh, tasks, strict=True)]
    give(connection, fresh[0].run_id, fresh[0].round, given)
    add(connection, ATTEMPTS, [_planned_row(spec) for spec in fresh])
    plans = [
        {
            "attempt_id": spec.id,
            "task": task,
            "skills": json.dumps([next(skills) for _ in spec.skills]),
            "body": encode(spec, exclude={"task": True, "skills": True}),
        }
        for spec, task in zip(fresh, tasks, strict=True)
    ]
    add(connection, PLANS, plans)
    add(connection, DRAWS, [row for spec in fresh for row in _draw_rows(spec)])
    return len(fresh)


def _planned_row(spec: AttemptSpec) -> dict[str, object]:
    withheld = sum(offer.withheld for offer in spec.offers)
    return {
        "id": spec.id,
        "run_id": spec.run_id,
        "round": spec.round,
        "slot": spec.slot,
        "kind": spec.kind,
        "task_id": spec.task.id,
        "group_id": spec.group_id,
        "environment": spec.task.environment,
        "template": plain(spec.task.template),
        "split": spec.task.split,
        "scope": spec.scope,
        "offered": len(spec.offers) - withheld,
        "withheld": withheld,
    }


def _draw_rows(spec: AttemptSpec) -> list[dict[str, object]]:
    return [
        {
            "attempt_id": spec.id,
            "item_id": offer.item_id,
            "item_name": offer.name,
            "environment": spec.task.environment,
            "probability": offer.probability,
            "withheld": offer.withheld,
        }
        for offer in spec.offers
    ]


def _record(connection: Connection, outcome: AttemptOutcome) -> None:
    key = outcome.attempt_id
    first = outcome.first_success
    usage = outcome.usage
    row: dict[str, object] = {
        "attempt": key,
        "status": outcome.status,
        "success": outcome.success,
        "error": None if outcome.error is None else plain(outcome.error),
        "tool_calls": usage.tool_calls,
        "steps": usage.steps,
        "tokens": usage.tokens,
        "usd": usage.usd,
        "cpu_seconds": usage.cpu_seconds,
        "wall_seconds": usage.wall_seconds,
        "first_tool_calls": None if first is None else first.tool_calls,
        "first_steps": None if first is None else first.steps,
        "first_cpu_seconds": None if first is None else first.cpu_seconds,
        "skills_used": json.dumps(outcome.skills_used),
        "recorded_at": now(),
    }
    connection.execute(_FINISH, row)
    left_out: dict[str, bool | set[str]] = {"score": True, "trajectory": {"steps", "model_calls"}}
    add(connection, OUTCOMES, [{"attempt_id": key, "body": encode(outcome, exclude=left_out)}])
    score = {
        "attempt_id": key,
        "value": outcome.score.value,
        "success": outcome.score.success,
        "source": outcome.score.source,
        "confidence": outcome.score.confidence,
        "body": encode(outcome.score),
    }
    add(connection, SCORES, [score])
    if outcome.trajectory is None:
        return
    steps = [_step_row(key, i, step) for i, step in enumerate(outcome.trajectory.steps)]
    add(connection, STEPS, steps)
    made = outcome.trajectory.model_calls
    calls = [
        {
            "attempt_id": key,
            "position": position,
            "model": call.model,
            "tokens": call.tokens,
            "usd": call.usd,
            "body": body,
        }
        for position, (call, body) in enumerate(zip(made, spelt_calls(made), strict=True))
    ]
    add(connection, MODEL_CALLS, calls)


def _step_row(attempt_id: str, position: int, step: Step) -> dict[str, object]:
    return {
        "attempt_id": attempt_id,
        "position": position,
        "tool": plain(step.call.tool),
        "steps": step.result.steps,
        "refused": step.result.error is not None,
        "body": encode(step, exact=not math.isfinite(step.result.reward)),
    }


# Built once, since building a statement takes longer than running it; the columns it sets are
# those of the row that it is given.
_STATUS = select(ATTEMPTS.c.status).where(ATTEMPTS.c.id == bindparam("attempt"))
_FINISH = update(ATTEMPTS).where(ATTEMPTS.c.id == bindparam("attempt"))

# The last field, which is JSON, is read apart.
ROW_COLUMNS = [ATTEMPTS.c["id" if name == "attempt_id" else name] for name in AttemptRow._fields]


_KINDS: frozenset[str] = frozenset(get_args(AttemptKind))
_STATUSES: frozenset[str] = frozenset(get_args(AttemptStatus))
_AMOUNTS = slice(
    AttemptRow._fields.index("tool_calls"), AttemptRow._fields.index("wall_seconds") + 1
)


def attempt_row(row: Sequence[Any]) -> AttemptRow:
    """A row of `ROW_COLUMNS`, checked.

    Raises:
        RecordsError: it is not what was written.
    """
    *values, names = row
    key: str = values[0]
    read = AttemptRow._make([*values, decode_names(names, table="attempts", key=key)])
    if read.kind not in _KINDS:
        raise unreadable("attempts", key, f"{read.kind!r} is no kind of attempt")
    if read.status not in _STATUSES:
        raise unreadable("attempts", key, f"{read.status!r} is no status of an attempt")
    for amount in values[_AMOUNTS]:
        if not isinstance(amount, int | float) or not 0 <= amount < math.inf:
            raise unreadable("attempts", key, f"an amount cannot be {amount!r}")
    return read
