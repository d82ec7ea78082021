"""Tasks that need two skills at once, so that what was learnt apart is used together.

Served skills are paired, those first from which the fewest tasks were made (as OMNI-EPIC counts
its parents). A task so made is checked like any other, and one failing case is to do only what
the first skill does and one only what the second does: a task that either alone solves is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from agentlab.models.prompts import Prompt, Trusted
from agentlab.proposers.archive import Archives
from agentlab.proposers.desk import PACKAGE, Desk, Page, Work, checking, side_by_side
from agentlab.proposers.surroundings import (
    LONGEST_PAGE,
    clip,
    described,
    look,
    shown_state,
    shown_tools,
)
from agentlab.protocols import ProposalContext
from agentlab.types import Frozen, PastProposal, Skill, Task, derive_uniform

NAME = "compose"
LONGEST_SKILL = 1_500


class ComposeInputs(Frozen):
    """What the prompt is told."""

    first: str
    second: str
    description: str
    observation: str
    state: str
    tools: str
    solved: str
    refused: str
    checking: Trusted


PROMPT = Prompt(PACKAGE, "compose", ComposeInputs)


class ComposeProposer:
    """Makes one task of each of the least used pairs of served skills.

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
        """At most `context.count` tasks; none with fewer than two skills.

        Raises:
            UsageError: there is no model, or no start state to propose in.
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
            EnvironmentFaultError: nothing was made, and the environment raised.
        """
        archives = Archives(context.archive)
        pairs = least_used(context.library, context.archive, seed=context.seed)
        if not pairs:
            self.dropped["fewer than two skills"] += 1
        works = [
            _together(context, archives, place, pairs[place % len(pairs)])
            for place in range(context.count if pairs else 0)
        ]
        return await side_by_side(context, works, source=NAME, dropped=self.dropped, box=self._box)


def least_used(
    skills: Sequence[Skill], archive: Sequence[PastProposal], *, seed: int
) -> list[tuple[Skill, Skill]]:
    """Every pair of skills, the least used first; ties by a draw that depends on the pair alone."""
    used: Counter[frozenset[str]] = Counter()
    single: Counter[str] = Counter()
    for past in archive:
        single.update(past.task.parent_skills)
        used.update(frozenset(pair) for pair in combinations(past.task.parent_skills, 2))
    newest = {skill.name: skill for skill in skills}
    ordered = [newest[name] for name in sorted(newest)]
    return sorted(
        combinations(ordered, 2),
        key=lambda pair: (
            used[frozenset(skill.id for skill in pair)],
            sum(single[skill.id] for skill in pair),
            derive_uniform(seed, NAME, *(skill.id for skill in pair)),
        ),
    )


def _together(
    context: ProposalContext, archives: Archives, place: int, pair: tuple[Skill, Skill]
) -> Work:
    async def work(desk: Desk) -> Sequence[Task]:
        scene = await look(desk.environment, context, NAME, place)
        first, second = (_shown(skill) for skill in pair)
        inputs = ComposeInputs(
            first=first,
            second=second,
            description=described(desk.environment, desk.context, scene.family),
            observation=clip(scene.observation.text, LONGEST_PAGE),
            state=shown_state(scene.state),
            tools=shown_tools(desk.environment.tools),
            solved=archives.shown_solved(first + second),
            refused=archives.shown_refused(first + second),
            checking=checking(scene),
        )
        update = {"parent_skills": tuple(skill.id for skill in pair)}
        page = Page(scene, PROMPT.ref, PROMPT.messages(inputs), update)
        return await desk.single(page, place, solved=True)

    return work


def _shown(skill: Skill) -> str:
    effects = "".join(f"\n- {line}" for line in skill.effect)
    return clip(f"{skill.signature}: {skill.summary}{effects}\n{skill.source}", LONGEST_SKILL)
