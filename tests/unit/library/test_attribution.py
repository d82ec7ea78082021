from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.config import AttributionConfig
from agentlab.library.attribution import (
    Retrieved,
    callees,
    callers_of,
    draw_offers,
    withholding_probability,
)
from agentlab.statistics import Draw, effect
from agentlab.types import Offer

CONFIG = AttributionConfig()


def alternating(n: int, success: bool = True) -> list[Draw]:
    """Draws without a sign of an effect."""
    return [Draw(i % 2 == 0, 0.5, success) for i in range(n)]


# --- schedule -------------------------------------------------------------------------------


def test_starts_at_one_half_until_decided() -> None:
    assert withholding_probability([], CONFIG) == 0.5
    assert withholding_probability(alternating(20), CONFIG) == 0.5
    assert withholding_probability(alternating(21), CONFIG) == pytest.approx(0.5 * 0.95)


def test_falls_geometrically_to_the_floor_and_stays() -> None:
    probabilities = [withholding_probability(alternating(n), CONFIG) for n in range(120)]
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(
        later == pytest.approx(max(0.1, earlier * 0.95))
        for earlier, later in pairwise(probabilities[20:])
    )
    assert probabilities[51] > 0.1
    assert probabilities[52:] == [0.1] * 68


def test_an_effect_that_shows_lets_it_fall_earlier() -> None:
    clear = [Draw(i % 2 == 0, 0.5, i % 2 == 1) for i in range(12)]
    fallen = withholding_probability(clear, CONFIG)
    first = next(n for n in range(13) if withholding_probability(clear[:n], CONFIG) < 0.5)
    assert 4 < first <= 8
    assert fallen == pytest.approx(0.5 * 0.95 ** (12 - first + 1))
    after = [*clear, *alternating(8, success=False)]
    assert withholding_probability(after, CONFIG) < fallen, "never rises again"


def test_draws_that_tell_nothing_do_not_count() -> None:
    nothing = [Draw(True, 1.0, False), Draw(False, 0.0, True), Draw(True, 0.5, None)]
    assert withholding_probability(nothing * 30, CONFIG) == 0.5
    assert withholding_probability([*nothing, *alternating(25)], CONFIG) == (
        withholding_probability(alternating(25), CONFIG)
    )


@pytest.mark.parametrize(
    ("start", "floor", "first", "last"), [(0.0, 0.1, 0.0, 0.0), (0.3, 0.6, 0.3, 0.3), (1, 0, 1, 0)]
)
def test_odd_configurations(start: float, floor: float, first: float, last: float) -> None:
    config = AttributionConfig(start=start, floor=floor)
    assert withholding_probability([], config) == first
    assert withholding_probability(alternating(2000), config) == pytest.approx(last, abs=1e-9)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_always_between_floor_and_start_and_never_rising(rows: list[tuple[bool, bool]]) -> None:
    past = [Draw(withheld, 0.5, success) for withheld, success in rows]
    before = withholding_probability(past[:-1], CONFIG)
    assert 0.1 <= withholding_probability(past, CONFIG) <= before <= 0.5


# --- who calls what -------------------------------------------------------------------------

CALLS = {"unlock": ("fetch", "open"), "fetch": ("go",), "tour": ("unlock",), "loop": ("loop",)}


def test_callees_are_transitive() -> None:
    assert callees("tour", CALLS) == {"unlock", "fetch", "open", "go"}
    assert callees("go", CALLS) == frozenset()
    assert callees("a", {"a": ("b",), "b": ("a",)}) == {"a", "b"}


def test_callers_go_with_what_they_call() -> None:
    offered = ["tour", "go", "open", "loop"]
    # `fetch` was not retrieved; `tour` reaches `go` through it.
    assert callers_of({"go"}, offered, CALLS) == {"tour"}
    assert callers_of({"tour"}, offered, CALLS) == frozenset()
    assert callers_of({"loop"}, offered, CALLS) == frozenset()
    assert callers_of({"go", "tour"}, offered, CALLS) == {"tour"}


# --- draws ----------------------------------------------------------------------------------


def retrieved(probability: float, *names: str) -> list[Retrieved]:
    return [Retrieved(f"skill-{name}", name, probability, 0.5) for name in names]


def test_a_draw_depends_on_its_place_and_its_item_alone() -> None:
    items = retrieved(0.5, *"abcdefgh")
    offers = draw_offers(items, calls={}, seed=1, round_=2, slot=3)
    backwards = draw_offers(items[::-1], calls={}, seed=1, round_=2, slot=3)
    assert offers == backwards[::-1]
    assert draw_offers(items[2:4], calls={}, seed=1, round_=2, slot=3) == offers[2:4]
    assert offers != draw_offers(items, calls={}, seed=1, round_=2, slot=4)
    assert [o.item_id for o in offers] == [i.item_id for i in items]
    assert {o.score for o in offers} == {0.5}


def test_certain_probabilities_are_certain() -> None:
    for slot in range(50):
        always = draw_offers(retrieved(1.0, "a"), calls={}, seed=0, round_=0, slot=slot)
        never = draw_offers(retrieved(0.0, "a"), calls={}, seed=0, round_=0, slot=slot)
        assert always[0].withheld and not never[0].withheld


@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_no_caller_is_offered_without_its_callees(seed: int, probability: float) -> None:
    items = retrieved(probability, "tour", "unlock", "go", "open", "other")
    offers = {o.name: o for o in draw_offers(items, calls=CALLS, seed=seed, round_=0, slot=0)}
    withheld = {name for name, offer in offers.items() if offer.withheld}
    for name, offer in offers.items():
        missing = callees(name, CALLS) & withheld
        assert not (missing and not offer.withheld)
        assert offer.probability == (1.0 if missing else probability)
    assert offers["other"].probability == probability


def test_withheld_share_is_the_probability() -> None:
    count = sum(
        draw_offers(retrieved(0.3, "a"), calls={}, seed=7, round_=r, slot=s)[0].withheld
        for r in range(40)
        for s in range(50)
    )
    assert count / 2000 == pytest.approx(0.3, abs=0.04)


# --- from records to draws ------------------------------------------------------------------


# --- simulations ----------------------------------------------------------------------------


def practise(
    seed: int, *, gains: dict[str, float], calls: dict[str, Sequence[str]], rounds: int, slots: int
) -> dict[str, list[tuple[Offer, bool]]]:
    """Rounds of attempts in which every offered item adds its gain to the chance of success.

    Probabilities are those of the schedule, frozen at the start of each round.
    """
    generator = np.random.default_rng(seed)
    past: dict[str, list[tuple[Offer, bool]]] = {name: [] for name in gains}
    for round_ in range(rounds):
        probabilities = {
            name: withholding_probability(draws_of(rows), CONFIG) for name, rows in past.items()
        }
        for slot in range(slots):
            offers = draw_offers(
                [Retrieved(name, name, p) for name, p in probabilities.items()],
                calls=calls,
                seed=seed,
                round_=round_,
                slot=slot,
            )
            rate = 0.3 + sum(gains[o.name] for o in offers if not o.withheld)
            success = bool(generator.random() < rate)
            for offer in offers:
                past[offer.name].append((offer, success))
    return past


def draws_of(rows: Iterable[tuple[Offer, bool]]) -> list[Draw]:
    return [Draw(offer.withheld, offer.probability, success) for offer, success in rows]


def test_the_falling_schedule_leaves_intervals_honest() -> None:
    runs, covered, values = 400, 0, list[float]()
    for seed in range(runs):
        past = practise(seed, gains={"item": 0.25}, calls={}, rounds=4, slots=25)
        estimate = effect(draws_of(past["item"])).success
        assert estimate is not None
        covered += estimate.low <= 0.25 <= estimate.high
        values.append(estimate.value)
    assert covered / runs >= 0.90
    assert float(np.mean(values)) == pytest.approx(0.25, abs=0.03)


def test_a_useless_caller_of_a_good_skill_is_not_credited_with_it() -> None:
    gains = {"good": 0.4, "caller": 0.0}
    runs, covered = 100, Counter[str]()
    values: dict[str, list[float]] = {"good": [], "caller": [], "marginal": []}
    for seed in range(runs):
        past = practise(seed, gains=gains, calls={"caller": ("good",)}, rounds=5, slots=30)
        for name, gain in gains.items():
            estimate = effect(draws_of(past[name])).success
            assert estimate is not None
            covered[name] += estimate.low <= gain <= estimate.high
            values[name].append(estimate.value)
        # What weighting by the true marginal probability would say of the caller.
        marginal: list[Draw] = []
        for (good, _), (caller, success) in zip(past["good"], past["caller"], strict=True):
            own = 0.5 if caller.probability == 1.0 else caller.probability
            probability = 1 - (1 - own) * (1 - good.probability)
            marginal.append(Draw(caller.withheld, probability, success))
        estimate = effect(marginal).success
        assert estimate is not None
        values["marginal"].append(estimate.value)
    means = {name: float(np.mean(found)) for name, found in values.items()}
    assert covered["good"] / runs >= 0.90
    assert covered["caller"] / runs >= 0.90
    assert means["good"] == pytest.approx(0.4, abs=0.04)
    assert means["caller"] == pytest.approx(0.0, abs=0.04)
    assert means["marginal"] > 0.1


def test_a_callee_is_credited_with_what_its_callers_bring() -> None:
    runs, values = 100, list[float]()
    for seed in range(runs):
        past = practise(
            seed,
            gains={"part": 0.0, "caller": 0.4},
            calls={"caller": ("part",)},
            rounds=3,
            slots=6,
        )
        # Up to 20 draws no probability has fallen: the caller is there half of the time.
        assert {offer.probability for offer, _ in past["part"]} <= {0.5, *decayed()}
        estimate = effect(draws_of(past["part"])).success
        if estimate is not None:
            values.append(estimate.value)
    assert float(np.mean(values)) == pytest.approx(0.2, abs=0.06)


def decayed() -> set[float]:
    return {0.5 * 0.95**k for k in range(20)}
