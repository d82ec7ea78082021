"""What attempts achieved by accident, as tasks whose solution is known.

LMA3 (Colas et al. 2023, arXiv 2305.12487) has a language model relabel trajectories with the
goals that they reached. There the model also judges whether a goal was reached; here it only words
what changed between the states before and after, and code over the state, carried out with the
attempt's own calls as the solution, has to agree. The tasks carry the source `hindsight`, as those
of the grammar proposer do, and `derived_from`: that the relabelled attempt reached this counts in
no success rate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.models.prompts import Prompt, Trusted
from agentlab.proposers.desk import PACKAGE, Desk, Page, Work, checking, side_by_side
from agentlab.proposers.novelty import changed_facts
from agentlab.proposers.surroundings import (
    clip,
    described,
    listed,
    scene_of,
    shown_calls,
    shown_state,
)
from agentlab.protocols import ProposalContext
from agentlab.types import Frozen, JsonObject, PastAttempt, Task, ToolCall, Trajectory

NAME = "hindsight"


class HindsightInputs(Frozen):
    """What the prompt is told."""

    asked: str
    calls: str
    before: str
    after: str
    changes: str
    description: str
    checking: Trusted


PROMPT = Prompt(PACKAGE, "hindsight", HindsightInputs)


class Accident(NamedTuple):
    """A failed attempt that changed something."""

    past: PastAttempt
    trajectory: Trajectory
    before: JsonObject
    after: JsonObject
    solution: tuple[ToolCall, ...]
    """The calls up to the last one that changed a fact."""


def accident(past: PastAttempt) -> Accident | None:
    """What a failed attempt changed, or None where it changed nothing or states are not known."""
    trajectory = past.trajectory
    if past.success is not False or trajectory is None or trajectory.initial_state is None:
        return None
    before = trajectory.initial_state
    last, length = before, 0
    for number, step in enumerate(trajectory.steps, start=1):
        if step.state is None:
            return None
        if step.state != last:
            last, length = step.state, number
    if not changed_facts(before, last):
        return None
    return Accident(past, trajectory, before, last, trajectory.calls[:length])


class HindsightProposer:
    """Words what failed attempts brought about.

    Args:
        box: where generated verifiers run.
    """

    writes_code = True
    needs_model = True

    def __init__(self, *, box: str = "auto") -> None:
        self._box = box
        self.dropped = Counter[str]()
        """What came to nothing, by kind of reason, since this proposer was made."""

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        """At most `context.count` tasks, one for an attempt; none where nothing was changed.

        Raises:
            UsageError: there is no model.
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
            EnvironmentFaultError: nothing was made, and the environment raised.
        """
        found = [each for each in map(accident, context.recent) if each is not None]
        if not found:
            self.dropped["nothing achieved"] += 1
        works = [_relabel(each) for each in found[: context.count]]
        return await side_by_side(context, works, source=NAME, dropped=self.dropped, box=self._box)


def _relabel(found: Accident) -> Work:
    async def work(desk: Desk) -> Sequence[Task]:
        scene = scene_of(desk.environment, found.past, found.trajectory)
        inputs = HindsightInputs(
            asked=clip(found.past.task.instruction),
            calls=shown_calls(found.solution),
            before=shown_state(found.before),
            after=shown_state(found.after),
            changes=listed(changed_facts(found.before, found.after)),
            description=described(desk.environment, desk.context, scene.family),
            checking=checking(scene),
        )
        page = Page(
            scene,
            PROMPT.ref,
            PROMPT.messages(inputs),
            {"derived_from": (found.past.task.id,)},
            solution=found.solution,
        )
        return await desk.single(page, found.past.attempt_id, solved=True)

    return work
