from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.statistics import Result, compare, wilson


def results(pattern: str) -> list[Result]:
    """One task each: `1` solved, `0` failed, `?` unknown."""
    verdicts = {"1": True, "0": False, "?": None}
    return [Result(f"task-{i}", verdicts[mark], 10, 20) for i, mark in enumerate(pattern)]


def test_two_arms_on_the_same_tasks() -> None:
    arm, baseline = results("1111111111" + "00" + "11"), results("0000000000" + "11" + "11")
    found = compare(arm, baseline, seed=3)
    assert (found.pairs, found.tasks, found.left_out) == (14, 14, 0)
    assert found.success is not None and found.baseline is not None
    assert found.success.interval == wilson(12, 14)
    assert found.baseline.interval == wilson(4, 14)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(8 / 14)
    assert 0 < found.difference.low < found.difference.value < found.difference.high <= 1
    assert found.difference.n == 14
    assert found.test is not None
    assert found.test.one_sided == pytest.approx(0.019287, abs=5e-7)


def test_only_known_pairs_count() -> None:
    arm = [*results("1?1"), Result("only here", True)]
    found = compare(arm, results("01?"))
    assert (found.pairs, found.left_out) == (1, 5)
    assert found.success is not None
    assert (found.success.value, found.success.n) == (1.0, 1)


def test_nothing_to_compare_is_none_throughout() -> None:
    found = compare([], results("11"))
    assert found == (0, 0, 2, None, None, None, None, None, None)


def test_repetitions_are_paired_in_order_and_kept_together() -> None:
    arm = [Result("a", True), Result("b", True), Result("a", False)]
    baseline = [Result("a", False), Result("a", False), Result("b", True), Result("b", True)]
    found = compare(arm, baseline)
    assert (found.pairs, found.tasks, found.left_out) == (3, 2, 1)
    assert found.difference is not None
    assert found.difference.value == 0.25, "task a is worth 1/2, task b 0"
    assert found.test is None, "repetitions are not independent pairs"


def test_costs_are_compared_too() -> None:
    arm = [Result(f"t{i}", True, 10, 5) for i in range(8)]
    baseline = [Result(f"t{i}", True, 30 + i, 5) for i in range(8)]
    found = compare(arm, baseline)
    assert found.tool_calls is not None and found.steps is not None
    assert found.tool_calls.value == -23.5
    assert found.tool_calls.high < -20
    assert found.steps[:3] == (0, 0, 0)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=25).flatmap(
        lambda rows: st.tuples(st.just(rows), st.permutations(range(len(rows))))
    )
)
def test_order_of_tasks_does_not_matter_and_arms_mirror(
    case: tuple[list[tuple[bool, bool]], list[int]],
) -> None:
    rows, order = case
    arm = [Result(f"t{i}", row[0]) for i, row in enumerate(rows)]
    baseline = [Result(f"t{i}", row[1]) for i, row in enumerate(rows)]
    found = compare(arm, baseline, draws=50)
    assert found == compare([arm[i] for i in order], baseline, draws=50)
    mirrored = compare(baseline, arm, draws=50)
    assert found.difference is not None and mirrored.difference is not None
    assert found.difference.value == -mirrored.difference.value
    assert found.difference.low <= found.difference.value <= found.difference.high
    assert found.test is not None and mirrored.test is not None
    assert found.test.two_sided == mirrored.test.two_sided


def test_the_interval_of_the_difference_covers_the_truth() -> None:
    covered = 0
    for run in range(200):
        generator = np.random.default_rng(run)
        ease = generator.random(60)
        arm = [Result(str(i), bool(generator.random() < e + 0.2)) for i, e in enumerate(ease)]
        baseline = [Result(str(i), bool(generator.random() < e)) for i, e in enumerate(ease)]
        difference = compare(arm, baseline, seed=run, draws=500).difference
        assert difference is not None
        # The mean gain over tasks of uniform ease: 0.2 less the part cut off at 1.
        covered += difference.low <= 0.18 <= difference.high
    assert covered / 200 >= 0.90
