"""Tasks from what somebody showed: their calls, carried out again, and what that brings about.

A demonstration is tried in start states until it goes through in one. What it achieves there, in
the environment's own language, is the task; where there is none, a model words it as it words what
an attempt achieved by accident (`hindsight`). The calls are the task's solution and nothing more:
the task is checked and admitted like any other, and a skill that is made of it is, too.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from agentlab.errors import InvalidTaskError
from agentlab.proposers.desk import Desk, Page, Work, checking, side_by_side
from agentlab.proposers.drafts import FAILING
from agentlab.proposers.grammar import SEED_SPACE, practice_seed
from agentlab.proposers.hindsight import PROMPT, HindsightInputs
from agentlab.proposers.novelty import changed_facts
from agentlab.proposers.rehearsal import perform
from agentlab.proposers.surroundings import (
    Scene,
    begin,
    described,
    families_of,
    listed,
    look,
    read_state,
    shown_calls,
    shown_state,
)
from agentlab.protocols import Environment, HasGrammar, ProposalContext
from agentlab.types import (
    DEMONSTRATED,
    Demonstration,
    JsonObject,
    Mission,
    Task,
    ToolCall,
    derive_seed,
)

SEEDS = 2
"""Start states of each family that a demonstration is tried in, beside the first of all."""


class Shown(NamedTuple):
    """A demonstration that went through."""

    scene: Scene
    calls: tuple[ToolCall, ...]
    before: JsonObject | None
    after: JsonObject | None


class DemonstrationProposer:
    """Makes a task of each demonstration, without a model where the grammar names what it does.

    Args:
        demonstrations: what was shown.
        box: where generated verifiers run.
    """

    def __init__(self, demonstrations: Sequence[Demonstration], *, box: str = "auto") -> None:
        self._demonstrations = demonstrations
        self._box = box
        self.dropped = Counter[str]()
        """What came to nothing, by kind of reason."""

    async def propose(self, context: ProposalContext) -> Sequence[Task]:
        """At most one task for each demonstration, in their order. See `protocols.Proposer`.

        Raises:
            ModelFaultError: the endpoint failed for good.
            BudgetSpentError: a budget does not allow a call.
            EnvironmentFaultError: the environment raised.
        """
        tasks: list[Task] = []
        environment = context.environment()
        try:
            for number, demonstration in enumerate(self._demonstrations):
                shown = await self._carried_out(environment, context, demonstration)
                if shown is None:
                    self.dropped["the demonstration goes through in no start state"] += 1
                    continue
                task = _in_the_language(shown)
                if task is None and context.model is not None:
                    work = _worded(shown, demonstration, number)
                    tasks += await side_by_side(
                        context, [work], source=DEMONSTRATED, dropped=self.dropped, box=self._box
                    )
                elif task is None:
                    self.dropped[
                        "what it brings about has no name here, and no model words it"
                    ] += 1
                else:
                    tasks.append(task)
        finally:
            await environment.close()
        kept = {task.id: task for task in tasks if context.split_rule.refusal(task) is None}
        self.dropped["reserved"] += len(tasks) - len(kept)
        return list(kept.values())

    async def _carried_out(
        self, environment: Environment, context: ProposalContext, shown: Demonstration
    ) -> Shown | None:
        async for scene in _scenes(environment, context):
            before = scene.state
            ended = False
            for call in shown.calls:
                result = await perform(environment, call)
                if result.error is not None:
                    ended = True
                    break
            if not ended:
                return Shown(scene, shown.calls, before, await read_state(environment))
        return None


async def _scenes(environment: Environment, context: ProposalContext) -> AsyncIterator[Scene]:
    """Start states of the practice split, each reset when its turn comes."""
    if not isinstance(environment, HasGrammar):
        yield await look(environment, context, DEMONSTRATED)
        return
    rule, grammar = context.split_rule, environment.grammar()
    rng = random.Random(derive_seed(context.seed, DEMONSTRATED))
    seeds = [practice_seed(0, rule)]
    seeds += [practice_seed(rng.randrange(SEED_SPACE), rule) for _ in range(SEEDS)]
    for seed in seeds:
        for family in families_of(grammar, rule):
            bare = grammar.compose(None, family, seed)
            observation = await begin(environment, bare)
            yield Scene(bare, family, observation, await read_state(environment), grammar)


def _in_the_language(shown: Shown) -> Task | None:
    """The task that asks for what the calls achieve; None where the grammar has no words for it."""
    grammar, scene = shown.scene.grammar, shown.scene
    if grammar is None or shown.before is None or shown.after is None:
        return None
    clauses = tuple(grammar.achieved(shown.before, shown.after))
    for count in range(min(len(clauses), grammar.spec.max_group_size), 0, -1):
        try:
            task = grammar.compose(
                Mission(groups=(clauses[:count],)), scene.family, scene.bare.seed
            )
        except InvalidTaskError:
            continue
        update = {"source": DEMONSTRATED, "solution": shown.calls, "failing": _failing(shown.calls)}
        return task.model_copy(update=update)
    return None


def _failing(calls: tuple[ToolCall, ...]) -> tuple[tuple[ToolCall, ...], ...]:
    """The same without the last ones: admission finds out whether they really fail."""
    shorter = [calls[:-1], calls[: len(calls) // 2], calls[:1]]
    kept: list[tuple[ToolCall, ...]] = []
    for each in shorter:
        if each and each not in kept:
            kept.append(each)
    return tuple(kept[:FAILING])


def _worded(shown: Shown, demonstration: Demonstration, number: int) -> Work:
    async def work(desk: Desk) -> Sequence[Task]:
        scene = shown.scene
        known = shown.before is not None and shown.after is not None
        changes = changed_facts(shown.before or {}, shown.after or {}) if known else ()
        inputs = HindsightInputs(
            asked=f"Nobody asked: somebody showed it, in {demonstration.name}.",
            calls=shown_calls(shown.calls),
            before=shown_state(shown.before),
            after=shown_state(shown.after),
            changes=listed(list(changes)),
            description=described(desk.environment, desk.context, scene.family),
            checking=checking(scene),
        )
        page = Page(scene, PROMPT.ref, PROMPT.messages(inputs), solution=shown.calls)
        return await desk.single(page, "shown", number, solved=known)

    return work
