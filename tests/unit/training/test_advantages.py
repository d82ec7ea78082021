"""Estimators against worked examples, and what they promise of any group."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import UsageError
from agentlab.training.advantages import (
    Anchored,
    Estimator,
    Played,
    Solved,
    dr_grpo,
    gigpo,
    grpo,
    hierarchical,
    rae,
    rloo,
)

rewards = st.lists(st.floats(0, 1), min_size=2, max_size=8)


def known(values: tuple[float | None, ...]) -> list[float]:
    return [value for value in values if value is not None]


def test_grpo_is_what_trl_gives() -> None:
    # Seen in TRL 1.16: {1, 0} gives plus and minus 0.70700 by sample deviation and 1e-4.
    assert known(grpo([1.0, 0.0])) == pytest.approx([0.7070, -0.7070], abs=1e-4)


def test_grpo_by_the_population_is_that_of_reflections() -> None:
    # Bensal et al.: outcomes of retries [1, 0, 0, 1] give [1, -1, -1, 1].
    values = known(grpo([1, 0, 0, 1], spread="population", epsilon=0.0))
    assert values == pytest.approx([1, -1, -1, 1])


def test_dr_grpo_leaves_the_deviation_out() -> None:
    assert known(dr_grpo([1.0, 0.0, 0.5, 0.5])) == pytest.approx([0.5, -0.5, 0.0, 0.0])


def test_rloo_compares_with_the_others() -> None:
    assert known(rloo([1.0, 0.0, 0.0])) == pytest.approx([1.0, -0.5, -0.5])


@given(rewards)
def test_rloo_is_dr_grpo_scaled(values: list[float]) -> None:
    scale = len(values) / (len(values) - 1)
    expected = [scale * v for v in known(dr_grpo(values))]
    assert known(rloo(values)) == pytest.approx(expected, abs=1e-9)


@given(rewards, st.floats(0.1, 3), st.floats(-2, 2))
def test_advantages_sum_to_nothing_and_know_no_offset(
    values: list[float], scale: float, offset: float
) -> None:
    for rule in (grpo, dr_grpo, rloo):
        found = known(rule(values))
        assert math.fsum(found) == pytest.approx(0, abs=1e-6)
        assert known(rule([v + offset for v in values])) == pytest.approx(found, abs=1e-6)


def test_an_unknown_reward_is_no_zero() -> None:
    assert grpo([1.0, None, 0.0])[1] is None
    assert known(grpo([1.0, None, 0.0])) == known(grpo([1.0, 0.0]))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, None]])
def test_a_group_of_one_is_refused(values: list[float | None]) -> None:
    for rule in (grpo, dr_grpo, rloo):
        with pytest.raises(UsageError, match="more attempts"):
            rule(values)


def test_rae_is_that_of_spiral() -> None:
    found = rae([Played("poker", "first", r) for r in (1.0, -1.0, 1.0)])
    assert known(found.advantages) == pytest.approx([1.0, -1.05, 1.0025])
    assert found.baselines == {("poker", "first"): pytest.approx(0.047625)}


def test_rae_keeps_games_and_roles_apart() -> None:
    rows = [Played("a", "x", 1.0), Played("b", "x", 1.0), Played("a", "y", 1.0)]
    assert rae(rows).advantages == (1.0, 1.0, 1.0)
    later = rae([Played("a", "x", 1.0)], rae(rows).baselines)
    assert known(later.advantages) == pytest.approx([0.95])


def test_hierarchical_compares_on_two_levels() -> None:
    # Two rounds. In the first, tasks worth 1, 0 and 0.5; in the second one alone.
    tasks = [
        Solved("round 0", 1.0, (1.0, 0.0)),
        Solved("round 1", 1.0, (1.0, 1.0, 0.0, 0.0)),
        Solved("round 0", 0.0, (0.0, None, 0.0)),
        Solved("round 0", 0.5, (1.0,)),
    ]
    found = hierarchical(tasks, spread="population", epsilon=0.0)
    # Worth 1, 0, 0.5: mean 0.5, deviation sqrt(1/6). The lone one compares with nothing.
    scale = math.sqrt(1 / 6)
    proposers = [0.5 / scale, None, -0.5 / scale, 0.0]
    assert found.proposers == tuple(None if v is None else pytest.approx(v) for v in proposers)
    assert found.solvers == (
        (pytest.approx(1.0), pytest.approx(-1.0)),
        tuple(pytest.approx(v) for v in (1.0, 1.0, -1.0, -1.0)),
        (0.0, None, 0.0),
        (None,),
    )


def test_no_level_of_hierarchical_touches_the_other() -> None:
    tasks = [Solved("g", 1.0, (1.0, 0.0)), Solved("g", 0.0, (1.0, 0.0))]
    plain = hierarchical(tasks)
    other = hierarchical([task._replace(reward=1.0) for task in tasks])
    assert other.solvers == plain.solvers and other.proposers == (0.0, 0.0)
    solved = hierarchical([task._replace(attempts=(1.0, 1.0)) for task in tasks])
    assert solved.proposers == plain.proposers == grpo([1.0, 0.0])


def test_gigpo_adds_what_a_step_was_worth_where_states_were_met_twice() -> None:
    # Two trajectories part in state s: one earns 1, the other 0. No discount, plain deviation.
    good = [Anchored("start"), Anchored("s")]
    bad = [Anchored("start"), Anchored("s"), Anchored("lost")]
    found = gigpo([good, bad], [1.0, 0.0], discount=1.0, epsilon=0.0, spread="population")
    # Episode: +1 and -1. Both states are met by both, with returns 1 and 0: +1 and -1 again.
    assert found[0] == pytest.approx((2.0, 2.0))
    assert found[1] == pytest.approx((-2.0, -2.0, -1.0))


def test_gigpo_discounts_what_comes_later() -> None:
    # From the same state at different distances from the end: returns 0.5 and 1.
    far, near = [Anchored("s"), Anchored("t")], [Anchored("s")]
    found = gigpo([far, near], [1.0, 1.0], discount=0.5, epsilon=1e-4, spread="population")
    assert found[0][0] == pytest.approx(-0.25 / 0.2501)
    assert found[1][0] == pytest.approx(0.25 / 0.2501)
    assert found[0][1] == 0.0


def test_gigpo_without_shared_states_is_the_episode_s() -> None:
    found = gigpo([[Anchored(1)], [Anchored(2)]], [1.0, 0.0])
    episode = grpo([1.0, 0.0])
    assert [steps[0] for steps in found] == list(episode)


def test_gigpo_refuses_counts_that_differ() -> None:
    with pytest.raises(UsageError, match="2 rewards"):
        gigpo([[Anchored(1)]], [1.0, 0.0])


def test_an_estimator_s_id_names_its_constants() -> None:
    one = Estimator("grpo", (("epsilon", 1e-4),))
    other = Estimator("grpo", (("epsilon", 1e-6),))
    assert one.id != other.id and one.id.startswith("grpo-")
    assert one.spelt.endswith("(epsilon 0.0001)")
