"""Who is denied a retrieved item, so that its effect can be measured.

Each time an item is retrieved it is withheld with a probability that is recorded before the
draw. `statistics.effects` turns the draws into the effect of offering the item. This module
decides probabilities and draws; it reads no record and judges nothing.

Callers are withheld with their callee, because a skill cannot run without the skills it
calls. What must then be recorded as the caller's probability? Write W(i) for an item's own
draw, with probability p(i), and A(i) for whether it is withheld in the end: W(i), or W(j) of
any retrieved j that i calls, directly or through others.

The marginal P(A(i)) = 1 - (1-p(i)) * prod(1-p(j)) is true and yet wrong to weight by. Among
the attempts where A(i) holds the callee is often missing too, among the others it never is,
so the difference mixes what the callee does into the caller's estimate: a useless skill that
calls a good one would look good.

So draws are taken callees first, and what is recorded is the probability *given the callees'
draws*: p(i) where all that it calls are offered, and 1 where one is withheld. A draw of
probability 1 could not have gone the other way and counts in no estimate, which leaves for
the caller exactly the attempts in which its callees were there and its own draw decided. The
estimate is unbiased for the effect of offering the caller *where what it calls is offered*,
the only place where it can be offered. In the other direction nothing needs care: denying a
callee does take its callers away, and that is part of what offering the callee does, under
the callers' own probabilities at the time.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from agentlab.config import AttributionConfig
from agentlab.records import DrawRow
from agentlab.statistics import Draw, Weighted, rate_difference
from agentlab.types import Insight, Offer, Skill, derive_uniform

DECAY = 0.95
"""From draw to draw, once the probability falls: from 1/2 to 1/10 in 32 draws."""


class Retrieved(NamedTuple):
    """An item found for an attempt, before it is decided whether it is offered."""

    item_id: str
    name: str
    probability: float
    """Of withholding it by its own draw."""
    score: float = 0.0
    """Retrieval score."""


def withholding_probability(
    past: Sequence[Draw], config: AttributionConfig, *, known: int | None = None
) -> float:
    """How likely an item is to be withheld next, from its draws so far, oldest first.

    `config.start` until `config.decided` draws are there, or until the 95 % interval of the
    effect on success excludes zero, whichever is first; from then on 5 % less with each draw,
    down to `config.floor`. Only draws that could have gone either way and whose outcome is
    known count. The moment is found again from the draws themselves, so that the answer is a
    function of them and needs no state; an interval that later includes zero again does not
    raise the probability, which would make the schedule chase noise.

    A floor above the start is the start: nothing here ever rises.

    Args:
        past: the draws so far, or the first `config.decided` that count, which alone say when
            the probability begins to fall.
        config: start, floor and how many draws decide.
        known: how many count, where `past` holds only the first of them.
    """
    counted = [draw for draw in past if draw.random and draw.success is not None]
    start = min(config.start, 1.0)
    floor = min(config.floor, start)
    fallen = (len(counted) if known is None else known) - _settled(counted, config.decided)
    if fallen < 0:
        return start
    return max(floor, start * DECAY**fallen)


def _settled(known: Sequence[Draw], decided: int) -> int:
    """After how many draws the probability starts to fall."""
    values: list[Weighted] = []
    for draw in known[:decided]:
        values.append(Weighted(draw.withheld, draw.probability, float(bool(draw.success))))
        estimate = rate_difference(values)
        if estimate is not None and estimate.interval.excludes_zero:
            return len(values)
    return decided


def callers_of(
    withheld: Collection[str], offered: Iterable[str], calls: Mapping[str, Collection[str]]
) -> frozenset[str]:
    """The offered skills that call a withheld one, directly or through others.

    Args:
        withheld: Names of skills that are withheld by their own draw.
        offered: Names of the skills in question.
        calls: For every skill of the library the names that it calls; missing means none.
            Skills that were not retrieved belong in it, for a call may pass through them.

    Returns:
        Those of `offered` that must go too, whether or not they are in `withheld` themselves.
        Calling itself does not make a skill its own caller.
    """
    return frozenset(
        name
        for name in offered
        if any(callee in withheld and callee != name for callee in callees(name, calls))
    )


def callees(name: str, calls: Mapping[str, Collection[str]]) -> frozenset[str]:
    """All that a skill calls, directly or through others; itself only if it does so."""
    reached: set[str] = set()
    ahead = [*calls.get(name, ())]
    while ahead:
        callee = ahead.pop()
        if callee not in reached:
            reached.add(callee)
            ahead.extend(calls.get(callee, ()))
    return frozenset(reached)


def draw_offers(
    retrieved: Sequence[Retrieved],
    *,
    calls: Mapping[str, Collection[str]],
    seed: int,
    round_: int,
    slot: int,
) -> tuple[Offer, ...]:
    """Decide for each retrieved item whether the attempt is offered it.

    An item's own draw depends on (seed, round, slot, item id) alone: not on the other items,
    nor on their order. An item that goes because of what it calls is recorded with
    probability 1, for the reason given at the head of this module.

    Returns:
        One offer for each item, in the order given.
    """
    own = {
        item.item_id
        for item in retrieved
        if derive_uniform("withhold", seed, round_, slot, item.item_id) < item.probability
    }
    missing = {item.name for item in retrieved if item.item_id in own}
    forced = callers_of(missing, (item.name for item in retrieved), calls)
    return tuple(
        Offer(
            item_id=item.item_id,
            name=item.name,
            probability=1.0 if item.name in forced else item.probability,
            withheld=item.name in forced or item.item_id in own,
            score=item.score,
        )
        for item in retrieved
    )


def draws_of(
    item: Skill | Insight, rows: Iterable[DrawRow], *, relevant: bool = False
) -> list[Draw]:
    """The draws that count for an item, in the order of `rows`.

    Practice and production count, shadow attempts and evaluations do not, nor do attempts at
    tasks that it was derived from. Costs are on a logarithmic scale: those of search are
    heavy-tailed, and a mean over them says more of the worst attempt than of the item.

    Args:
        item: the skill or insight in question.
        rows: its draws on record.
        relevant: only those for tasks that state the clause that a skill achieves.
    """
    achieves = item.achieves if isinstance(item, Skill) else None
    achieved = achieves.predicate if achieves else None
    draws: list[Draw] = []
    for row in rows:
        if row.kind not in ("practice", "production") or row.task_id in item.source_tasks:
            continue
        stated = row.template.partition(": ")[2].replace(" > ", " & ").split(" & ")
        if relevant and achieved is not None and achieved not in stated:
            continue
        draws.append(
            Draw(
                withheld=row.withheld,
                probability=row.probability,
                success=row.success,
                tool_calls=math.log1p(row.tool_calls),
                steps=math.log1p(row.steps),
                tokens=math.log1p(row.tokens),
            )
        )
    return draws
