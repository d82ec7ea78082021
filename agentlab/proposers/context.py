"""Tasks from context: a model is told what there is, and says what could be asked.

After PAE (Zhou et al. 2024, arXiv 2412.13194), where a model that is given a site's name and a
few demonstrations writes the tasks. We differ where its release is weak: the model sees a start
state that was just reset, the tools, the library and what came of earlier proposals; where state
can be read each task brings a verifier as code, carried out before it is handed in; and what
cannot be used is counted, never swallowed. Where no state can be read, tasks are for a judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agentlab.models.prompts import Prompt, Trusted
from agentlab.proposers.archive import Archives
from agentlab.proposers.desk import PACKAGE, Desk, Page, Work, checking, side_by_side
from agentlab.proposers.surroundings import (
    clip,
    demonstrations,
    described,
    look,
    shown_skills,
    shown_state,
    shown_templates,
    shown_tools,
)
from agentlab.protocols import ProposalContext
from agentlab.types import Frozen, Task

NAME = "context"
TASKS_A_REPLY = 5
"""Tasks asked of one reply. PAE asks for 25 from a site's name; here each reply belongs to one
start state, and longer lists repeat themselves."""


class ContextInputs(Frozen):
    """What the prompt is told."""

    count: int
    description: str
    observation: str
    state: str
    tools: str
    library: str
    outcomes: str
    demonstrations: str
    solved: str
    refused: str
    checking: Trusted


PROMPT = Prompt(PACKAGE, "context", ContextInputs)


class ContextProposer:
    """Asks a model for tasks in start states of the practice split.

    Args:
        tasks_a_reply: how many tasks one reply is asked for.
        box: where generated verifiers run.
    """

    writes_code = True
    needs_model = True

    def __init__(self, *, tasks_a_reply: int = TASKS_A_REPLY, box: str = "auto") -> None:
        self._tasks_a_reply = tasks_a_reply
        self._box = box
        self.dropped = Counter[str]()
        """What came to nothing, by kind of reason, since this proposer was made."""

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        """At most `context.count` tasks. See `protocols.Proposer`.

        Raises:
            UsageError: there is no model, or no start state to propose in.
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
            EnvironmentFaultError: nothing was made, and the environment raised.
        """
        archives = Archives(context.archive)
        left = context.count
        works: list[Work] = []
        while left > 0:
            limit = min(left, self._tasks_a_reply)
            works.append(_reply(context, archives, len(works), limit))
            left -= limit
        return await side_by_side(context, works, source=NAME, dropped=self.dropped, box=self._box)


def _reply(context: ProposalContext, archives: Archives, place: int, limit: int) -> Work:
    async def work(desk: Desk) -> Sequence[Task]:
        scene = await look(desk.environment, context, NAME, place)
        inputs = ContextInputs(
            count=limit,
            description=described(desk.environment, desk.context, scene.family),
            observation=clip(scene.observation.text, 6_000),
            state=shown_state(scene.state),
            tools=shown_tools(desk.environment.tools),
            library=shown_skills(context.library),
            outcomes=shown_templates(context.templates),
            demonstrations=demonstrations(context.recent),
            solved=archives.shown_solved(scene.observation.text),
            refused=archives.shown_refused(scene.observation.text),
            checking=checking(scene),
        )
        page = Page(scene, PROMPT.ref, PROMPT.messages(inputs))
        return await desk.several(page, place, limit=limit, solved=False)

    return work
