"""What an episode is offered: the skills that fit, some of them withheld so that all are measured.

The same rules as for an `Agent`: never a skill that was derived from the task, nothing withheld
where nothing is asked for, and what was drawn is part of the spec that is put on record first.
"""

from __future__ import annotations

from agentlab.config import MOST_COUNTED, AttributionConfig, RetrievalConfig
from agentlab.library.attribution import (
    Retrieved,
    draw_offers,
    draws_of,
    withholding_probability,
)
from agentlab.library.skills import Found, SkillLibrary, origins
from agentlab.records import Records
from agentlab.types import (
    AttemptSpec,
    EnvironmentRef,
    Limits,
    Skill,
    Task,
    attempt_id,
    derive_id,
    derive_seed,
)
from agentlab.types.scope import Scope

ENDLESS = 1e9
"""Seconds of an episode that ends when its caller ends it; each call has its own limit."""


class Offering:
    """Makes the specs of episodes.

    Args:
        records: for what is known of each skill.
        library: what serves.
        run_id: under which the episodes are recorded.
        environment: where they are.
        room: how many skills can be told for one task.
        attribution: how skills are withheld; None for never.
        tool_calls: what an episode may spend.
        seed: of the draws, with the run and the episode's number.
        scope: whose episodes they are.
    """

    def __init__(
        self,
        records: Records,
        library: SkillLibrary,
        *,
        run_id: str,
        environment: EnvironmentRef,
        room: int,
        attribution: AttributionConfig | None,
        tool_calls: int,
        seed: int,
        scope: Scope,
    ) -> None:
        self._records = records
        self._library = library
        self._run_id = run_id
        self._environment = environment
        self._room = max(0, room)
        self._attribution = attribution
        self._tool_calls = tool_calls
        self._seed = seed
        self._scope = scope

    def spec(self, task: Task, slot: int, *, goal: bool) -> AttemptSpec:
        """The spec of the episode of that number.

        Args:
            task: where it begins and, with `goal`, what is asked for.
            slot: its number.
            goal: whether the task asks for anything.
        """
        self._library.refresh()
        offers = draw_offers(
            [
                Retrieved(skill.id, skill.name, self._withholding(skill) if goal else 0.0, score)
                for skill, score in self._chosen(task, goal=goal)
            ],
            calls=self._library.calls(),
            # Of this run's own: programs that hold one episode each would all draw the same.
            seed=derive_seed(self._seed, self._run_id),
            round_=0,
            slot=slot,
        )
        offered = [self._library.skills[o.item_id] for o in offers if not o.withheld]
        return AttemptSpec(
            id=attempt_id(self._run_id, 0, slot, "production"),
            run_id=self._run_id,
            round=0,
            slot=slot,
            kind="production",
            task=task,
            group_id=derive_id("group", self._run_id, task.id),
            seed=derive_seed(self._seed, slot),
            environment=self._environment,
            executor="library",
            scope=self._scope.path,
            limits=Limits(tool_calls=self._tool_calls, seconds=ENDLESS),
            skills=self._library.with_callees(offered),
            offers=offers,
        )

    def _chosen(self, task: Task, *, goal: bool) -> list[Found]:
        """The skills of an episode: all, or those that fit the task where they are too many.

        Never one that was derived from the task.
        """
        by_name = {skill.name: skill for skill in self._library.skills.values()}
        fit = [
            Found(by_name[name], 0.0)
            for name in sorted(by_name)
            if not goal or task.id not in origins(by_name[name], by_name)
        ]
        if not goal or len(fit) <= self._room:
            return fit
        few = RetrievalConfig(k=self._room, tokens=MOST_COUNTED)
        return self._library.retrieve(task.instruction, few, task_id=task.id)

    def _withholding(self, skill: Skill) -> float:
        if self._attribution is None:
            return 0.0
        rows = self._records.draws.all(item_id=skill.id, scope=self._scope)
        return withholding_probability(draws_of(skill, rows), self._attribution)
