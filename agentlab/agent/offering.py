"""What an attempt of an agent is offered: retrieval in a scope, and the draws that measure.

The same rules as in practice. Probabilities of withholding are remembered for a few draws, and for
good where one has come down to its floor, so that a long history costs nothing at the next call.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.agent.rewriting import NOBODY
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

AGAIN = 16
"""Draws after which an item's past is looked up again, when nobody waits for it. What is recorded
is what was drawn with, so that a schedule which lags a little changes no estimate."""
MOST_REMEMBERED = 20_000
"""Items whose probability is remembered, the last used."""


class Offered(NamedTuple):
    """What came of the draws for one attempt."""

    offers: tuple[Offer, ...]
    skills: tuple[Skill, ...]
    """Those offered, and what they call."""
    insights: tuple[Insight, ...]


class _Chance(NamedTuple):
    """How likely an item is to be withheld, and for how many more draws that is taken."""

    chance: float
    uses: float


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
        seed: of the draws, with the attempt's number; another for each run.
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
        self._known: OrderedDict[str, _Chance] = OrderedDict()
        self._due: dict[str, Skill | Insight] = {}
        """Items that were drawn often since they were looked up."""
        self._drawn: set[str] = set()
        self._asked = False

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
            rows = self._records.draws.all(item_id=rewrite.id, scope=self._scope)
            probability = withholding_probability(draws_of(NOBODY, rows), self._attribution)
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

    def catch_up(self) -> None:
        """Look up again what was drawn often since; to be called outside of an attempt."""
        with self._lock:
            due, self._due = self._due, {}
        if due and self._attribution is not None:
            self._looked_up(list(due.values()), self._attribution)

    @property
    def is_due(self) -> bool:
        """Whether there is anything to catch up with."""
        return bool(self._due)

    def _chances(self, items: Sequence[Skill | Insight]) -> dict[str, float]:
        if self._attribution is None:
            return {}
        with self._lock:
            found = {item.id: self._remembered(item) for item in items}
        missing = [item for item in items if found[item.id] is None]
        if missing:
            found |= self._looked_up(missing, self._attribution)
        return {key: chance for key, chance in found.items() if chance is not None}

    def _remembered(self, item: Skill | Insight) -> float | None:
        """The chance of an item, where it was looked up in this process, or has no past."""
        key = item.id
        known = self._known.get(key)
        if known is None and self._attribution is not None and not self._was_drawn(key):
            known = _Chance(self._attribution.start, AGAIN)
        if known is None:
            return None
        if known.uses <= 0:
            self._due[key] = item
        self._known[key] = known._replace(uses=known.uses - 1)
        self._known.move_to_end(key)
        while len(self._known) > MOST_REMEMBERED:
            self._drawn.add(self._known.popitem(last=False)[0])
        return known.chance

    def _was_drawn(self, key: str) -> bool:
        """Whether an item has a past; asked of the records once for all items."""
        if not self._asked:
            self._drawn, self._asked = self._records.draws.items(self._environment), True
        return key in self._drawn

    def _looked_up(
        self, items: Sequence[Skill | Insight], config: AttributionConfig
    ) -> dict[str, float]:
        drawn = self._records.draws.known(
            [item.id for item in items],
            environment=self._environment,
            first=config.decided,
            scope=self._scope,
        )
        floor = min(config.floor, config.start)
        found: dict[str, float] = {}
        for item in items:
            past = drawn.get(item.id)
            rows, count = (past.first, past.known) if past else ((), 0)
            found[item.id] = withholding_probability(draws_of(item, rows), config, known=count)
        with self._lock:
            for key, chance in found.items():
                # What has come down to its floor never rises again.
                self._known[key] = _Chance(chance, AGAIN if chance > floor else math.inf)
                self._known.move_to_end(key)
        return found


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
