"""Proposals: the replies in which a model proposed tasks, rewarded by what the tasks were worth.

For hierarchical GRPO, where solvers are compared within a proposed task and proposers within the
group of proposals: a group here is the replies of one round. Which tasks a reply proposed is told
by their instructions. A task is worth what measured success says of it
(`proposers.learnability.utility`: most at one half), and 0 where it was refused; a reply is worth
the mean of its tasks, and what was not tried yet is not known.

The solvers are the view `groups` of the same runs. Both are exported with the estimator
`hierarchical` and handed to one training, which takes several exports.

A reply with a draft of which nothing is on record is left out, and so is one that drafted what is
reserved for `dev` or `heldout`: its words would leave with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from agentlab.models.structured import UnusableReplyError, parse
from agentlab.proposers.drafts import Draft, Drafts
from agentlab.proposers.learnability import utility
from agentlab.records import Records
from agentlab.training.dialogues import reply_of
from agentlab.training.refusals import Refusal
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Group
from agentlab.types import SHARED, ModelCall, Scope, Score, ScoreSource, Task, derive_id

PURPOSE = "propose"
RESERVED = "reserved"
"""How the reason begins why a task was refused that the splits keep."""


Unfit = Callable[[ScoreSource, Sequence[str]], tuple[str, str] | None]
"""Why what was scored so, by these models without terms on record, may not be trained on, as a
reason with its detail; None where it may."""


class Proposed(NamedTuple):
    """A task that was proposed, and what came of it."""

    task: Task
    reason: str | None
    """Why it was refused; None where it was admitted."""
    successes: int
    attempts: int
    """Unassisted, with a known verdict."""


def worth(proposed: Sequence[Proposed]) -> float | None:
    """What tasks are worth in the mean; None where nothing is known of any."""
    known = [
        0.0 if each.reason is not None else utility(each.successes, each.attempts)
        for each in proposed
        if each.reason is not None or each.attempts
    ]
    return sum(known) / len(known) if known else None


def proposed_groups(
    records: Records,
    run_ids: Sequence[str],
    refusals: list[Refusal],
    unfit: Unfit,
    rounds: tuple[int, int] | None = None,
    scope: Scope = SHARED,
) -> Iterator[Group]:
    """The groups of runs, one for each round in which a model proposed.

    Args:
        records: of the workspace.
        run_ids: whose.
        refusals: what is left out is added to.
        unfit: why a reply may not be trained on.
        rounds: only those from the first up to, and without, the second.
        scope: whose runs; others give nothing.

    Raises:
        RecordsError: a row is not what was written.
    """
    for run_id in run_ids:
        run = records.runs.get(run_id)
        if run.scope != scope.path:
            continue
        environment = str(run.config.get("environment", ""))
        solved: dict[str, list[bool]] = {}
        for row in records.attempts.all(run_id, kind="practice"):
            if row.success is not None:
                solved.setdefault(row.task_id, []).append(row.success)
        for round_ in records.runs.rounds(run_id):
            if rounds is not None and not rounds[0] <= round_ < rounds[1]:
                continue
            calls = records.role_calls.all(run_id, PURPOSE, round_)
            reasons = {v.task_id: v.reason for v in records.tasks.verdicts(run_id, round_)}
            known = {
                _plain(task.instruction): Proposed(
                    task,
                    reasons.get(task.id),
                    sum(solved.get(task.id, [])),
                    len(solved.get(task.id, [])),
                )
                for task in records.tasks.all(run_id, round_, admitted=None)
            }
            members: list[Rollout] = []
            for place, call in enumerate(each for each in calls if each.role == "proposer"):
                name = derive_id("proposal", run_id, round_, place)
                why = unfit("verifier", () if call.terms is not None else (call.model,))
                if why is not None:
                    refusals.append(Refusal(name, *why))
                    continue
                found = _tasks_of(call, known)
                if isinstance(found, str):
                    refusals.append(Refusal(name, found))
                    continue
                members.append(_rollout(name, run_id, round_, place, environment, call, found))
            if members:
                yield Group(derive_id("group", run_id, round_, PURPOSE), tuple(members))


def _tasks_of(call: ModelCall, known: dict[str, Proposed]) -> list[Proposed] | str:
    """The tasks that a reply proposed, or why it says nothing."""
    drafts = _drafts(reply_of(call).text)
    if not drafts:
        return "no draft"
    found = [known.get(_plain(draft.instruction)) for draft in drafts]
    tasks = [each for each in found if each is not None]
    if len(tasks) < len(found):
        return "a draft that is not on record"
    if any(each.reason is not None and each.reason.startswith(RESERVED) for each in tasks):
        return "a reserved task"
    return tasks


def _drafts(text: str) -> tuple[Draft, ...]:
    try:
        return tuple(parse(text, Drafts).tasks)
    except UnusableReplyError:
        pass
    try:
        return (parse(text, Draft),)
    except UnusableReplyError:
        return ()


def _rollout(
    name: str,
    run_id: str,
    round_: int,
    place: int,
    environment: str,
    call: ModelCall,
    proposed: Sequence[Proposed],
) -> Rollout:
    return Rollout(
        id=name,
        run_id=run_id,
        round=round_,
        slot=place,
        group_id=derive_id("group", run_id, round_, PURPOSE),
        task=proposed[0].task.model_copy(update={"environment": environment}),
        score=Score(value=worth(proposed)),
        assisted=False,
        ending=PURPOSE,
        calls=(call,),
        steps=(),
        skills_used=(),
        insights=(),
        notes=("a proposer's reply, rewarded by what its tasks were worth",),
    )


def _plain(instruction: str) -> str:
    return " ".join(instruction.split())
