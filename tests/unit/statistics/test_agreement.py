"""A judge against the verifier: kappa, rates, and intervals that count tasks."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import UsageError
from agentlab.statistics.agreement import (
    Agreement,
    Confusion,
    Rating,
    agreement,
    cohen_kappa,
)

TEXTBOOK = Confusion(both=20, judge_only=5, verifier_only=10, neither=15)


def rated(counts: Confusion, *, each: int = 1, unknown: int = 0) -> list[Rating]:
    """Ratings with these counts, a task for each, tried `each` times with one outcome."""
    cells = [(True, True), (False, True), (True, False), (False, False)]
    found = [cell for cell, n in zip(cells, counts, strict=True) for _ in range(n)]
    known = [Rating(f"t{i}", *cell) for i, cell in enumerate(found) for _ in range(each)]
    return known + [Rating(f"u{i}", True, None) for i in range(unknown)]


def measured(ratings: list[Rating], seed: int = 0) -> Agreement:
    found = agreement(ratings, seed=seed)
    assert found is not None
    return found


def test_the_textbook_kappa() -> None:
    # 50 grant proposals read by two (a common example of Cohen's kappa): po .7, pe .5.
    assert cohen_kappa(TEXTBOOK) == pytest.approx(0.4)
    assert cohen_kappa(Confusion(45, 15, 25, 15)) == pytest.approx(0.1304, abs=5e-5)
    assert cohen_kappa(Confusion(25, 35, 5, 35)) == pytest.approx(0.2593, abs=5e-5)
    assert cohen_kappa(Confusion(0, 5, 5, 0)) == -1.0


def test_raters_that_say_one_thing_show_nothing() -> None:
    assert cohen_kappa(Confusion(0, 0, 0, 0)) is None
    assert cohen_kappa(Confusion(9, 0, 0, 0)) is None
    assert cohen_kappa(Confusion(0, 0, 0, 9)) is None
    assert cohen_kappa(Confusion(5, 5, 0, 0)) == 0.0
    assert measured(rated(Confusion(9, 0, 0, 0))).kappa is None
    assert agreement([], seed=0) is None


def test_rates_have_wilsons_interval() -> None:
    found = measured(rated(TEXTBOOK))
    assert (found.attempts, found.tasks, found.confusion) == (50, 50, TEXTBOOK)
    expected = {
        "precision": (0.8, 0.608693, 0.911395, 25),
        "recall": (2 / 3, 0.487802, 0.807695, 30),
        "specificity": (0.75, 0.531299, 0.888138, 20),
        "agreement": (0.7, 0.562496, 0.808964, 50),
        "unknown": (0.0, 0.0, 0.071348, 50),
    }
    for name, figures in expected.items():
        assert getattr(found, name) == pytest.approx(figures, abs=1e-5), name


def test_kappas_interval_spans_two() -> None:
    kappa = measured(rated(TEXTBOOK)).kappa
    assert kappa is not None
    assert kappa.value == pytest.approx(0.4)
    # Wilson's ends of the agreement, .562496 and .808964, less pe .5, over 1 - pe.
    assert kappa.low <= 0.124993 + 1e-6
    assert kappa.high >= 0.617928 - 1e-6
    # Cohen's (1960) standard error is .1296: the bootstrap's ends are not far from it.
    assert kappa.low > 0.4 - 2.5 * 0.1296
    assert kappa.high < 0.4 + 2.5 * 0.1296
    assert kappa.n == 50


def test_being_right_every_time_is_not_certainty() -> None:
    enough = measured(rated(Confusion(8, 0, 0, 8))).kappa
    few = measured(rated(Confusion(8, 0, 0, 7))).kappa
    assert enough is not None
    assert few is not None
    assert enough.value == few.value == 1.0
    # 16 / (16 + 1.96^2) = .806, less a half, twice.
    assert enough.low == pytest.approx(0.61277, abs=1e-4)
    assert few.low < 0.6


def test_trying_a_task_again_narrows_nothing() -> None:
    once, often = measured(rated(TEXTBOOK)), measured(rated(TEXTBOOK, each=7))
    for name in ("precision", "recall", "specificity", "agreement", "kappa"):
        first, again = getattr(once, name), getattr(often, name)
        assert (again.value, again.low, again.high) == pytest.approx(tuple(first)[:3])
        assert again.n == 7 * first.n


def test_unknown_is_neither() -> None:
    found = measured(rated(TEXTBOOK, unknown=50))
    assert found.confusion == TEXTBOOK
    assert found.unknown.value == 0.5
    assert found.recall is not None
    assert found.recall.n == 30
    silent = measured(rated(Confusion(0, 0, 0, 0), unknown=5))
    assert silent.kappa is silent.precision is silent.recall is silent.agreement is None


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one draw"):
        agreement(rated(TEXTBOOK), seed=0, draws=0)
    with pytest.raises(UsageError, match="between 0 and 1"):
        agreement(rated(TEXTBOOK), seed=0, confidence=1.0)


RATINGS = st.lists(
    st.builds(
        Rating, st.sampled_from("abcdefg"), st.booleans(), st.sampled_from([True, False, None])
    ),
    min_size=1,
    max_size=30,
)


@given(RATINGS, st.integers(0, 5))
def test_every_interval_holds_its_figure(ratings: list[Rating], seed: int) -> None:
    found = agreement(ratings, seed=seed, draws=50)
    assert found is not None
    for name in ("unknown", "precision", "recall", "specificity", "agreement", "kappa"):
        figure = getattr(found, name)
        if figure is None:
            continue
        least = -1.0 if name == "kappa" else 0.0
        assert least <= figure.low <= figure.value <= figure.high <= 1.0
        assert all(map(math.isfinite, figure))
    shuffled = random.Random(seed).sample(ratings, len(ratings))
    assert agreement(shuffled, seed=seed, draws=50) == found
