"""An agent learns from its own attempts: what succeeded in use is distilled, verified and served.

The attempts are those of one scope, and so is what comes of them. They go, as copies without their
draws, into a run of their own, where the nodes of practice do the rest: the curator makes
candidates, admission replays each from fresh starts and looks whether it helps, and only then does
it serve. The record store's firewall stands between: what is reserved is dropped there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import cast

from agentlab.agent.results import LearningReport
from agentlab.config import PracticeConfig
from agentlab.environments.registration import base_name
from agentlab.events import AttemptFinished
from agentlab.graph import nodes
from agentlab.graph.admit import admit
from agentlab.graph.approving import approval_in
from agentlab.graph.attempts import finished_event
from agentlab.graph.opening import package_versions
from agentlab.graph.practice import Practice, RunState, RunStopped
from agentlab.graph.run import practising
from agentlab.graph.watching import Watchers
from agentlab.library.admission import REJECTED
from agentlab.records import ItemRow, Records
from agentlab.records.attempts import COPY
from agentlab.records.production import Produced
from agentlab.sandbox import settle_box
from agentlab.types import (
    AttemptSpec,
    JsonObject,
    Scope,
    Skill,
    Task,
    attempt_id,
    derive_id,
    digest,
)

logger = logging.getLogger(__name__)

MOST = 200
"""Attempts that are learnt from at a time, the newest."""


async def learn(
    records: Records,
    config: PracticeConfig,
    *,
    scope: Scope,
    stop: Callable[[], bool] = lambda: False,
) -> LearningReport:
    """Make candidates of the newest attempts of a scope, and let admission judge them.

    Args:
        records: the workspace's.
        config: of the agent; its curator, its admission, its environment.
        scope: whose attempts, and whose what comes of them is.
        stop: asked between candidates; what is not judged then waits for the next time.
    """
    environment = base_name(config.environment)
    found = records.production.newest(environment, scope=scope, limit=MOST)
    solved = sum(each.success is True for each in found)
    before = _own(records, environment, scope)
    report = LearningReport(
        run_id="",
        attempts=len(found),
        solved=solved,
        candidates=0,
        admitted=(),
        refused=0,
        waiting=_waiting(before),
    )
    if not solved:
        return report
    # Where people let in what practice makes, they let in this as well.
    admission = config.admission.model_copy(update={"approval": approval_in(records, environment)})
    # What has not proved its use yet is judged again with later attempts: no round is the last.
    config = config.model_copy(update={"rounds": 2, "heldout": 0, "admission": admission})
    run_id = _begin(records, config, scope)
    with records.workspace.lock_run(run_id):
        status = "failed"
        try:
            async with practising(
                records, run_id, config, Watchers(()), stop, scope=scope
            ) as practice:
                taken = _copied(practice, found)
                state = RunState(run_id=run_id, round=0, planned=taken, finished=False)
                await nodes.curate(state, practice)
                await admit(state, practice)
            status = "finished"
        except RunStopped:
            status = "stopped"
        finally:
            records.runs.set_status(run_id, status)
    after = _own(records, environment, scope)
    served = {row.item.id for row in before if row.status == "active"}
    gone = {row.item.id for row in before if row.status == "retired"}
    return report.model_copy(
        update={
            "run_id": run_id,
            "candidates": sum(row.run_id == run_id for row in after),
            "admitted": tuple(
                sorted(
                    row.item.name
                    for row in after
                    if row.status == "active"
                    and row.item.id not in served
                    and _moved_here(records, row, run_id)
                )
            ),
            "refused": sum(
                row.status == "retired"
                and row.reason.startswith(REJECTED)
                and row.item.id not in gone
                and _moved_here(records, row, run_id)
                for row in after
            ),
            "waiting": _waiting(after),
        }
    )


def _begin(records: Records, config: PracticeConfig, scope: Scope) -> str:
    spelt: JsonObject = {"command": "learn", **cast("JsonObject", config.model_dump(mode="json"))}
    base = f"learn-{digest(spelt, scope.path)[:8]}"
    versions = package_versions(settle_box(config.box))
    number = sum(name.startswith(f"{base}-") for name in records.runs.ids()) + 1
    while not records.runs.create(
        f"{base}-{number}", config=spelt, versions=versions, seed=config.seed, scope=scope
    ):
        number += 1
    return f"{base}-{number}"


def _own(records: Records, environment: str, scope: Scope) -> list[ItemRow[Skill]]:
    """The scope's own skills, whichever run made them."""
    rows = records.items.skills(environment=environment, scope=scope)
    return [row for row in rows if row.scope == scope.path]


def _waiting(rows: Sequence[ItemRow[Skill]]) -> int:
    return sum(row.status in ("candidate", "quarantined", "verified") for row in rows)


def _moved_here(records: Records, row: ItemRow[Skill], run_id: str) -> bool:
    """Whether it is so because of this run, and not of one that another process made meanwhile."""
    moves = records.items.history(row.item.id)
    return any(move.after == row.status and move.run_id == run_id for move in moves)


def _copied(practice: Practice, found: list[Produced]) -> int:
    """Put the attempts into the run as practice, at tasks that are not reserved; how many."""
    records, run_id = practice.records, practice.run_id
    tasks: dict[str, Task] = {each.task.id: each.task for each in found}
    with records.transaction() as part:
        part.tasks.add_proposals(
            run_id, 0, [(task, None) for task in tasks.values()], practice.split_rule
        )
    admitted = {task.id for task in records.tasks.all(run_id)}
    outcomes = {
        outcome.attempt_id: outcome
        for outcome in records.trajectories.outcomes([each.attempt_id for each in found])
    }
    events: list[AttemptFinished] = []
    kept = [each for each in found if each.task.id in admitted]
    with records.transaction() as part:
        for slot, each in enumerate(kept):
            spec = AttemptSpec(
                id=attempt_id(run_id, 0, slot),
                run_id=run_id,
                round=0,
                slot=slot,
                kind="practice",
                task=each.task,
                group_id=derive_id(COPY, run_id, each.attempt_id),
                seed=each.task.seed,
                environment=practice.environment_ref,
                executor=practice.config.acting,
                scope=practice.scope.path,
            )
            outcome = outcomes[each.attempt_id].model_copy(update={"attempt_id": spec.id})
            events.append(finished_event(spec, outcome))
            part.attempts.record(spec, outcome, [events[-1]])
    return len(kept)
