"""How often a gate promotes what is no better, and how soon it finds what is.

Run by `make bench`; nothing here passes or fails by time, but the share of false promotions must
stay within alpha, intervals said. Pairs are drawn: a base that solves 0.45 of its tasks, and
candidates that solve as many, 0.1 and 0.2 more, up to 768 pairs with a look after each. Beside it
stands what reading McNemar's p-value after each pair would promote. `AGENTLAB_BENCH_GATES`
(default 2000) chooses how many gates.
"""

from __future__ import annotations

import os
import random
from statistics import median
from typing import Any, cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from agentlab.statistics import EProcess, e_process, mcnemar, proportion
from tests.benchmarks.bench_waiting import machine, uncaptured

GATES = int(os.environ.get("AGENTLAB_BENCH_GATES", "2000"))
PAIRS, BASE, ALPHA = 768, 0.45, 0.05
MOST_PEEKED = 200
"""Discordant pairs after which nobody peeks any more, for the time that it takes."""
Pairs = list[tuple[bool, bool]]


def drawn(seed: int, better: float) -> Pairs:
    """The pairs of one gate."""
    rng = random.Random(f"{seed} {better}")
    return [(rng.random() < BASE, rng.random() < BASE + better) for _ in range(PAIRS)]


def peeked(pairs: Pairs) -> bool:
    """Whether a p-value that is read after each pair is ever below alpha."""
    wins = losses = 0
    for control, candidate in pairs:
        wins += candidate and not control
        losses += control and not candidate
        looks = control != candidate and 8 <= wins + losses <= MOST_PEEKED
        if looks and mcnemar(losses, wins).one_sided < ALPHA:
            return True
    return False


@pytest.mark.parametrize("better", [0.0, 0.1, 0.2])
def test_gates(better: float, benchmark: BenchmarkFixture, request: Any) -> None:
    def all_of_them() -> list[EProcess]:
        return [e_process(drawn(seed, better), alpha=ALPHA) for seed in range(GATES)]

    measured = benchmark.pedantic(all_of_them, rounds=1, iterations=1)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped
    found = cast("list[EProcess]", measured)
    promoted = proportion(each.decision == "promote" for each in found)
    rejected = proportion(each.decision == "reject" for each in found)
    assert promoted is not None
    assert rejected is not None
    read = [each.pairs for each in found if each.decision == "promote"]
    peeking = proportion(peeked(drawn(seed, better)) for seed in range(min(GATES, 200)))
    assert peeking is not None
    with uncaptured(request):
        print(
            f"\n{better:+.1f}: promoted {promoted.value:.3f} ({promoted.low:.3f} to "
            f"{promoted.high:.3f}, n={promoted.n}), after {median(read or [0]):.0f} pairs in the "
            f"middle; rejected {rejected.value:.3f} ({rejected.low:.3f} to {rejected.high:.3f}); "
            f"a p-value read after each pair {peeking.value:.3f} ({peeking.low:.3f} to "
            f"{peeking.high:.3f}, n={peeking.n}). {machine()}"
        )
    if not better:
        assert promoted.low <= ALPHA
