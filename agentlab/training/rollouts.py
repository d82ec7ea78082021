"""A rollout: one recorded attempt as training sees it, with where it comes from.

Only completed practice attempts at admitted tasks of the practice split come in; the record store
holds that, not whoever asks. The reward is raw: the evaluator's value, None where it is unknown,
and None is never 0. Advantages are reckoned at export, under a named estimator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from agentlab.records import Records
from agentlab.records.trajectories import Exportable
from agentlab.types import SHARED, ModelCall, Scope, Score, Step, Task

BATCH = 64
"""Attempts that are read at a time; no more are held."""


class Rollout(NamedTuple):
    """One attempt."""

    id: str
    """The attempt's; after a `#`, which of the several uses that a view makes of it."""
    run_id: str
    round: int
    slot: int
    group_id: str
    """Shared by the attempts at one task in one round."""
    task: Task
    score: Score
    assisted: bool
    ending: str
    calls: tuple[ModelCall, ...]
    """Those of the executor alone, in order."""
    steps: tuple[Step, ...]
    skills_used: tuple[str, ...]
    insights: tuple[str, ...]
    """Ids of the insights that it was offered."""
    skills_offered: tuple[str, ...] = ()
    """Ids of the skills that it was offered."""
    credit: float | None = None
    """The reward that a view gives in place of the evaluator's, where it has a rule for it."""
    notes: tuple[str, ...] = ()
    """What a view did to it, for whoever trains on it: that a hint was taken out, say."""

    @property
    def reward(self) -> float | None:
        """What the evaluator gave, in [0, 1], or the view; None where it is unknown."""
        return self.score.value if self.credit is None else self.credit

    @property
    def solved(self) -> bool:
        """Whether it succeeded by its own means."""
        return self.score.success is True and not self.assisted

    @property
    def failed(self) -> bool:
        """Whether it is known to have failed."""
        return self.score.success is False


def rollouts(
    records: Records,
    run_ids: Sequence[str],
    rounds: tuple[int, int] | None = None,
    *,
    steps: bool = True,
    scope: Scope = SHARED,
    among: Collection[str] | None = None,
) -> Iterator[Rollout]:
    """The rollouts of runs, in (run, round, slot) order, read a batch at a time.

    Attempts in which nothing happened are left out.

    Args:
        records: of the workspace.
        run_ids: whose.
        rounds: only those from the first up to, and without, the second.
        steps: whether they are read with their steps.
        scope: whose; what a tenant's users did is a tenant's only by its own name.
        among: only attempts of these ids.

    Raises:
        UnknownNameError: there is no such run.
        RecordsError: a row is not what was written.
    """
    for run_id in run_ids:
        records.runs.get(run_id)
        for row in records.trajectories.exportable(
            run_id, batch=BATCH, rounds=rounds, steps=steps, scope=scope, among=among
        ):
            found = _rollout(run_id, row)
            if found is not None:
                yield found


def _rollout(run_id: str, row: Exportable) -> Rollout | None:
    trajectory = row.outcome.trajectory
    if trajectory is None:
        return None
    return Rollout(
        id=row.attempt_id,
        run_id=run_id,
        round=row.round,
        slot=row.slot,
        group_id=row.group_id,
        task=row.task,
        score=row.outcome.score,
        assisted=row.outcome.assisted,
        ending=row.outcome.ending,
        calls=tuple(call for call in trajectory.model_calls if call.role == "executor"),
        steps=trajectory.steps,
        skills_used=row.outcome.skills_used,
        insights=row.insights,
        skills_offered=row.skills,
    )
