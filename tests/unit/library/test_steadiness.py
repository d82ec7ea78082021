"""Second looks: how seldom a good skill is called broken, and how often a broken one."""

from __future__ import annotations

from math import comb

import pytest

from agentlab.library.steadiness import LOOKS, broken, least_share, settled, shares
from agentlab.types import Replay
from agentlab.types.skill import Control


def replay(good: bool) -> Replay:
    return Replay(task_id="t", arguments={}, completed=good, used=True, effect=good)


VOID = Replay(
    task_id="t",
    arguments={},
    completed=False,
    used=False,
    effect=True,
    controls=(Control(wrong="", passed=True),),
)


def called_broken(chance: float, needed: int = 5) -> float:
    """The probability that a skill which works with this chance is called broken."""
    n = LOOKS * needed
    return sum(
        comb(n, good) * chance**good * (1 - chance) ** (n - good)
        for good in range(n + 1)
        if broken([replay(True)] * good + [replay(False)] * (n - good), needed)
    )


@pytest.mark.parametrize(
    ("chance", "low", "high"),
    [(1.0, 0, 0), (0.95, 0, 1e-4), (0.9, 0.001, 0.002), (0.5, 0.6, 0.65), (0.2, 0.99, 1)],
)
def test_how_often_a_skill_is_called_broken(chance: float, low: float, high: float) -> None:
    assert low <= called_broken(chance) <= high


def test_the_limit_is_what_admission_lets_through() -> None:
    assert least_share(5) == 5 / 6
    assert not broken([replay(True)] * 6 + [replay(False)] * 4, 5)
    assert broken([replay(True)] * 5 + [replay(False)] * 5, 5)


def test_starts_where_it_held_before_say_nothing() -> None:
    assert shares([VOID, replay(True), replay(False)]) == (1, 2)
    assert not broken([VOID] * 10, 5)


def test_a_look_ends_when_the_rest_cannot_change_it() -> None:
    """And then only: every order of outcomes ends with the verdict of the whole look."""
    for failures in range(1 << 10):
        outcomes = [replay(not failures >> place & 1) for place in range(10)]
        seen = next(n for n in range(1, 11) if settled(outcomes[:n], 5))
        bad = broken(outcomes, 5)
        ended = outcomes[:seen]
        good, n = shares(ended)
        assert bad == (n - good >= 5), (good, n)
        assert not settled(outcomes[: seen - 1], 5) or seen == 1
