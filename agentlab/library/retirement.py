"""Which items should go, judged on numbers.

The reasons are those that ATLAS retires playbook entries for (harmful, no effect, too
specific, no transfer), and being superseded. There they rest on comparing sessions with and
without a hit, which confounds an item with the difficulty of the tasks it is found for; here
they rest on randomised draws (`library.attribution`). A verdict changes nothing: the caller
moves the item, keeps the reason on record and may undo it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from agentlab.statistics import Draw, Effect, Estimate, effect
from agentlab.types import Frozen, JsonObject

Reason = Literal["harmful", "superseded", "no effect", "too specific", "no transfer"]


class RetirementRules(Frozen):
    """What it takes to retire an item."""

    draws: int = Field(default=20, ge=2)
    """Randomised draws without which no effect is judged."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals. `no effect` is an equivalence test at the same level, so that its
    interval has confidence `2 * confidence - 1` (two one-sided tests)."""
    harm: float = Field(default=0.995, gt=0, lt=1)
    """Confidence of the interval by which an item is called harmful. It is looked at after every
    round, and retiring a good item costs more than serving a bad one a while longer."""
    band: float = Field(default=0.05, gt=0, le=1)
    """An effect on the success rate smaller than this, either way, is none."""
    rounds: int = Field(default=5, ge=1)
    """Rounds of service before an item can be too specific."""
    attempts: int = Field(default=100, ge=1)
    """Attempts in that time at which it could have been retrieved, before it can be."""
    retrieved: float = Field(default=0.01, ge=0, le=1)
    """Share of those attempts below which it is hardly ever retrieved."""
    offers: int = Field(default=30, ge=1)
    """Offers without a single use after which it is never used."""
    uses: int = Field(default=20, ge=1)
    """Uses, all in tasks of one template, from which it does not transfer."""
    templates: int = Field(default=3, ge=2)
    """Templates for which it was offered, before that can be said."""


class Successor(NamedTuple):
    """The version or the near duplicate that is served in an item's place or beside it."""

    item_id: str
    draws: tuple[Draw, ...]


class Evidence(NamedTuple):
    """What is known of one item."""

    item_id: str
    draws: tuple[Draw, ...] = ()
    """Randomised draws in practice and later use, oldest first."""
    rounds: int = 0
    """Rounds in which it was served."""
    attempts: int = 0
    """Attempts in those rounds at which it could have been retrieved."""
    retrieved: int = 0
    """Attempts for which it was retrieved, whether offered or withheld."""
    offered: int = 0
    used: int = 0
    """Attempts whose final trajectory used it, callers' use of it included."""
    templates_offered: int = 0
    """Templates of the tasks for which it was offered."""
    templates_used: int = 0
    """Templates of those among them in which it was used."""
    callers: tuple[str, ...] = ()
    """Served skills that call it."""
    successor: Successor | None = None


class Verdict(NamedTuple):
    """Whether an item should be retired, why, and by which numbers."""

    item_id: str
    retire: bool
    reason: Reason | None
    text: str
    """One sentence for people."""
    numbers: JsonObject
    """What the sentence rests on."""
    callers: tuple[str, ...] = ()
    """Served skills that cannot run without it: they go with it, or are given its successor."""


def judge(evidence: Evidence, rules: RetirementRules | None = None) -> Verdict:
    """The verdict on one item. Pure: the same evidence gives the same verdict.

    In this order:

    1. `harmful`: enough draws, and the interval of its effect on success lies below zero.
    2. `superseded`: its successor has enough draws of its own, and the estimate of the
       successor's effect is no worse than the item's (or the item has none).
    3. `no effect`: enough draws, the effect on success is inside the band with its interval,
       and neither tool calls nor steps nor tokens are shown to be saved.
    4. `too specific`: served long enough, and hardly ever retrieved, or offered often and
       never used.
    5. `no transfer`: served long enough, used often and only for one template of the several
       that it was offered for, and neither success nor a saving is shown.

    An item that served skills call is a part of them: it is not retired for 3 to 5, and for 1
    and 2 the verdict names the callers. What is missing is never held against an item: with
    few draws, or none on one side, it stays.

    Looked at after each of 15 rounds of 20 draws, in 150 simulations each
    (`tests/unit/library/test_retirement.py`): an item that adds 0.2 to a success rate of 0.4 was
    never retired; one that takes away 0.25 of 0.5 was in 77 %, 0.35 in 97 %; one that does
    nothing at 0.4 was called harmful in 3 %. Showing that an item has no effect takes about 400
    draws where most attempts succeed, and more elsewhere.
    """
    rules = rules or RetirementRules()
    measured = effect(evidence.draws, confidence=rules.confidence)
    numbers: JsonObject = {
        "draws": measured.draws,
        "offered": measured.offered,
        "withheld": measured.withheld,
    }
    _note(numbers, "success", measured.success)
    for found in (
        _harmful(evidence, rules),
        _superseded(evidence.successor, measured, rules, numbers),
        None if evidence.callers else _no_effect(evidence, measured, rules, numbers),
        None if evidence.callers else _too_specific(evidence, rules, numbers),
        None if evidence.callers else _no_transfer(evidence, measured, rules, numbers),
    ):
        if found is not None:
            reason, text = found
            return Verdict(evidence.item_id, True, reason, text, numbers, evidence.callers)
    return Verdict(evidence.item_id, False, None, _kept(measured, rules), numbers)


_Found = tuple[Reason, str]


def _harmful(evidence: Evidence, rules: RetirementRules) -> _Found | None:
    success = effect(evidence.draws, confidence=rules.harm).success
    if success is None or success.n < rules.draws or success.high >= 0:
        return None
    return "harmful", f"Offering it changes success by {_show(success, rules.harm)}."


def _superseded(
    successor: Successor | None, measured: Effect, rules: RetirementRules, numbers: JsonObject
) -> _Found | None:
    if successor is None:
        return None
    theirs = effect(successor.draws, confidence=rules.confidence).success
    _note(numbers, "successor", theirs)
    if theirs is None or theirs.n < rules.draws:
        return None
    own = measured.success
    if own is not None and theirs.value < own.value:
        return None
    against = "no estimate" if own is None else _show(own, rules.confidence)
    return "superseded", (
        f"{successor.item_id} takes its place: it changes success by "
        f"{_show(theirs, rules.confidence)}, against {against}."
    )


def _no_effect(
    evidence: Evidence, measured: Effect, rules: RetirementRules, numbers: JsonObject
) -> _Found | None:
    if measured.success is None or measured.success.n < rules.draws:
        return None
    confidence = 2 * rules.confidence - 1
    if confidence <= 0:
        return None
    narrow = effect(evidence.draws, confidence=confidence).success
    if narrow is None or not narrow.interval.within(rules.band):
        return None
    costs = {
        "tool_calls": measured.tool_calls,
        "steps": measured.steps,
        "tokens": measured.tokens,
    }
    for name, cost in costs.items():
        _note(numbers, name, cost)
    if any(cost is not None and cost.high < 0 for cost in costs.values()):
        return None
    return "no effect", (
        f"Offering it changes success by {_show(narrow, confidence)}, inside the band of "
        f"{rules.band:g} either way, and saves nothing measurable."
    )


def _too_specific(evidence: Evidence, rules: RetirementRules, numbers: JsonObject) -> _Found | None:
    if evidence.rounds < rules.rounds:
        return None
    served = f"In {evidence.rounds} rounds of service it was "
    numbers.update(
        rounds=evidence.rounds,
        attempts=evidence.attempts,
        retrieved=evidence.retrieved,
        offers=evidence.offered,
        used=evidence.used,
    )
    if (
        evidence.attempts >= rules.attempts
        and evidence.retrieved < rules.retrieved * evidence.attempts
    ):
        return "too specific", (
            f"{served}retrieved for {evidence.retrieved} of {evidence.attempts} attempts."
        )
    if evidence.offered >= rules.offers and not evidence.used:
        return "too specific", f"{served}offered {evidence.offered} times and never used."
    return None


def _no_transfer(
    evidence: Evidence, measured: Effect, rules: RetirementRules, numbers: JsonObject
) -> _Found | None:
    if evidence.rounds < rules.rounds or evidence.used < rules.uses:
        return None
    if evidence.templates_used > 1 or evidence.templates_offered < rules.templates:
        return None
    gained = measured.success is not None and measured.success.low > 0
    costs = (measured.tool_calls, measured.steps, measured.tokens)
    if gained or any(cost is not None and cost.high < 0 for cost in costs):
        return None
    numbers.update(
        templates_offered=evidence.templates_offered, templates_used=evidence.templates_used
    )
    return "no transfer", (
        f"In {evidence.rounds} rounds of service it was offered for "
        f"{evidence.templates_offered} templates and used {evidence.used} times, for one alone."
    )


def _kept(measured: Effect, rules: RetirementRules) -> str:
    success = measured.success
    if success is None or success.n < rules.draws:
        return f"Kept: {measured.draws} randomised draws of the {rules.draws} that are needed."
    return f"Kept: offering it changes success by {_show(success, rules.confidence)}."


def _show(estimate: Estimate, confidence: float) -> str:
    return (
        f"{estimate.value:+.2f} ({100 * confidence:g}% interval {estimate.low:+.2f} to "
        f"{estimate.high:+.2f}, {estimate.n} draws)"
    )


def _note(numbers: JsonObject, name: str, estimate: Estimate | None) -> None:
    numbers[name] = None if estimate is None else dict(estimate._asdict())
