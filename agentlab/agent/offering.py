"""What an attempt of an agent is offered: retrieval in a scope, and the draws that measure.

The same rules as in practice. Probabilities of withholding are remembered: one that has come down
to its floor stays there, so that a long history costs nothing at the next call.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.config import AttributionConfig, RetrievalConfig
from agentlab.library.attribution import (
    Retrieved,
    draw_offers,
    draws_of,
    withholding_probability,
)
from agentlab.library.insights import FoundInsight, InsightLibrary
from agentlab.library.rephrasing import Rewrite
from agentlab.library.skills import Found, SkillLibrary
from agentlab.records import Records
from agentlab.types import Insight, Offer, Scope, Skill, Task

MOST_REMEMBERED = 4_096
"""Items whose probability is remembered, the last used."""


class Offered(NamedTuple):
    """What came of the draws for one attempt."""

    offers: tuple[Offer, ...]
    skills: tuple[Skill, ...]
    """Those offered, and what they call."""
    insights: tuple[Insight, ...]


class Offering:
    """Retrieves and draws for the attempts of one agent. Safe to use from threads.

    Args:
        records: the workspace's.
        skills: the library's, in the agent's scope.
        insights: the same; None where nobody reads advice.
        environment: whose.
        scope: in which draws are read.
        attribution: how items are withheld; None withholds nothing.
        retrieval: of skills.
        advice: of insights.
        seed: of the draws, with the attempt's number.
    """

    def __init__(
        self,
        records: Records,
        skills: SkillLibrary,
        insights: InsightLibrary | None,
        *,
        environment: str,
        scope: Scope,
        attribution: AttributionConfig | None,
        retrieval: RetrievalConfig,
        advice: RetrievalConfig,
        seed: int,
    ) -> None:
        self._records = records
        self._skills = skills
        self._insights = insights
        self._environment = environment
        self._scope = scope
        self._attribution = attribution
        self._retrieval = retrieval
        self._advice = advice
        self._seed = seed
        self._lock = threading.Lock()
        self._settled: OrderedDict[str, float] = OrderedDict()
        """Items whose probability will not change any more."""

    def follow(self) -> None:
        """Serve what is active now."""
        with self._lock:
            self._skills.follow()
            if self._insights is not None:
                self._insights.follow()

    def draw(self, task: Task, slot: int) -> Offered:
        """What the attempt in that slot is offered."""
        self.follow()
        found = self._skills.retrieve(task.instruction, self._retrieval, task_id=task.id)
        advice = self._found_advice(task)
        items = [*(each.skill for each in found), *(each.insight for each in advice)]
        chances = self._chances(items)
        offers = draw_offers(
            [*_skills(found, chances), *_insights(advice, chances)],
            calls=self._skills.calls() if found else {},
            seed=self._seed,
            round_=0,
            slot=slot,
        )
        offered = {offer.item_id for offer in offers if not offer.withheld}
        chosen = [each.skill for each in found if each.skill.id in offered]
        return Offered(
            offers,
            self._skills.with_callees(chosen) if chosen else (),
            tuple(each.insight for each in advice if each.insight.id in offered),
        )

    def rewriting(self, rewrite: Rewrite, slot: int) -> Offer:
        """The draw that decides whether a request is rewritten, as for an item."""
        probability = 0.0
        if self._attribution is not None:
            rows = self._records.trajectories.draws(item_id=rewrite.id, scope=self._scope)
            probability = withholding_probability(draws_of(_NOBODY, rows), self._attribution)
        (offer,) = draw_offers(
            [Retrieved(rewrite.id, "rewrite", probability)],
            calls={},
            seed=self._seed,
            round_=0,
            slot=slot,
        )
        return offer

    def _found_advice(self, task: Task) -> Sequence[FoundInsight]:
        if self._insights is None:
            return ()
        return self._insights.retrieve(task.instruction, self._advice, task_id=task.id)

    def _chances(self, items: Sequence[Skill | Insight]) -> dict[str, float]:
        config = self._attribution
        if config is None:
            return {}
        floor = min(config.floor, config.start)
        with self._lock:
            known = {i.id: self._settled[i.id] for i in items if i.id in self._settled}
            for key in known:
                self._settled.move_to_end(key)
        unsettled = [item for item in items if item.id not in known]
        if not unsettled:
            return known
        drawn = self._records.trajectories.known_draws(
            [item.id for item in unsettled],
            environment=self._environment,
            first=config.decided,
            scope=self._scope,
        )
        for item in unsettled:
            past = drawn.get(item.id)
            rows = past.first if past else ()
            count = past.known if past else 0
            known[item.id] = withholding_probability(draws_of(item, rows), config, known=count)
        with self._lock:
            # What has come down to its floor never rises again.
            self._settled.update((i.id, known[i.id]) for i in unsettled if known[i.id] <= floor)
            while len(self._settled) > MOST_REMEMBERED:
                self._settled.popitem(last=False)
        return known


def _skills(found: Sequence[Found], chances: dict[str, float]) -> list[Retrieved]:
    return [
        Retrieved(each.skill.id, each.skill.name, chances.get(each.skill.id, 0.0), each.score)
        for each in found
    ]


def _insights(found: Sequence[FoundInsight], chances: dict[str, float]) -> list[Retrieved]:
    return [
        Retrieved(each.insight.id, each.insight.id, chances.get(each.insight.id, 0.0), each.score)
        for each in found
    ]


_NOBODY = Insight(id="", environment="", condition="", advice="")
"""Stands for a rewrite where draws are counted: it was derived from no task."""
