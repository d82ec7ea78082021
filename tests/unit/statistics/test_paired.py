from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import UsageError
from agentlab.statistics import e_process, e_value, mcnemar

counts = st.integers(0, 60)


def test_mcnemar_gives_the_published_numbers() -> None:
    result = mcnemar(2, 10)
    assert result.one_sided == pytest.approx(0.019287, abs=5e-7)
    assert result.two_sided == pytest.approx(0.038574, abs=5e-7)
    assert result.mid_p == pytest.approx(0.022461, abs=5e-7)


def test_mcnemar_without_discordant_pairs_decides_nothing() -> None:
    assert mcnemar(0, 0)[2:] == (1.0, 1.0, 1.0)


@given(counts, counts)
def test_mcnemar_is_symmetric_and_ordered(first: int, second: int) -> None:
    one, other = mcnemar(first, second), mcnemar(second, first)
    assert one.two_sided == other.two_sided
    assert one.mid_p == other.mid_p
    assert 0 < one.mid_p <= one.two_sided <= 1
    # The two tails overlap in what was observed.
    n = first + second
    assert one.one_sided + other.one_sided == pytest.approx(1 + comb(n, first) / 2**n)


@given(counts, counts)
def test_more_candidate_wins_mean_more_evidence(losses: int, wins: int) -> None:
    # Not strictly: at the far end both round to 1.
    assert mcnemar(losses, wins + 1).one_sided <= mcnemar(losses, wins).one_sided
    assert e_value(wins + 1, losses) > e_value(wins, losses)
    assert e_value(wins, losses + 1) < e_value(wins, losses)


@pytest.mark.parametrize(
    ("wins", "losses", "expected"),
    [(10, 2, 9.440559), (12, 2, 23.917216), (2, 10, 0.107226), (0, 0, 1.0)],
)
def test_e_value_gives_the_published_numbers(wins: int, losses: int, expected: float) -> None:
    assert e_value(wins, losses) == pytest.approx(expected, abs=5e-7)


@given(st.integers(0, 80))
def test_e_value_has_mean_one_when_the_arms_are_equal(n: int) -> None:
    mean = sum(comb(n, wins) / 2**n * e_value(wins, n - wins) for wins in range(n + 1))
    assert mean == pytest.approx(1.0, abs=1e-9)


def test_e_value_stays_finite() -> None:
    assert e_value(1200, 0) == 1e300


def test_e_process_promotes_at_the_pair_that_decides() -> None:
    win, loss, tie = (False, True), (True, False), (True, True)
    pairs = [loss, loss, tie, *[win] * 10]
    waiting = e_process(pairs)
    assert (waiting.decision, waiting.wins, waiting.losses) == ("undecided", 10, 2)
    assert waiting.promote == pytest.approx(9.440559, abs=5e-7)
    assert waiting.pairs == 13
    done = e_process([*pairs, win, win, win, win])
    assert done.decision == "promote"
    assert done.promote == pytest.approx(23.917216, abs=5e-7)
    assert done.pairs == 15, "later pairs are not read"
    assert e_process([(b, a) for a, b in [*pairs, win, win]]).decision == "reject"


def test_e_process_of_equal_arms_rarely_decides_however_often_one_looks() -> None:
    generator = np.random.default_rng(3)
    wrong = 0
    for _ in range(300):
        wins = generator.random(60) < 0.5
        pairs = [(not bool(win), bool(win)) for win in wins]
        wrong += e_process(pairs).decision == "promote"
    assert wrong / 300 <= 0.05


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UsageError, match="negative"):
        mcnemar(-1, 0)
    with pytest.raises(UsageError, match="negative"):
        e_value(0, -1)
    with pytest.raises(UsageError, match="alpha"):
        e_process([], alpha=0)


def test_what_goes_on_with_fresh_pairs_is_one_process() -> None:
    pairs = [(False, True)] * 9 + [(True, False)] * 2 + [(False, False)] * 3 + [(False, True)] * 3
    whole = e_process(pairs)
    first = e_process(pairs[:10])
    second = e_process(pairs[10:], wins=first.wins, losses=first.losses)
    assert (second.wins, second.losses) == (whole.wins, whole.losses)
    assert second.decision == whole.decision


def test_evidence_that_was_enough_before_reads_no_further_pair() -> None:
    done = e_process([(True, False)], wins=12, losses=2)
    assert (done.decision, done.pairs) == ("promote", 0)
    assert e_process([(False, True)], wins=0, losses=9).decision == "reject"
