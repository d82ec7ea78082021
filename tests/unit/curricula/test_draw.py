from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.curricula import Pool, draw, draw_tasks
from agentlab.errors import UsageError
from agentlab.types import derive_uniform

weights = st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any)


def scaled(numbers: list[int]) -> list[float]:
    return [number / sum(numbers) for number in numbers]


def test_a_draw_is_a_function_of_its_parts() -> None:
    probabilities = [0.2, 0.5, 0.3]
    many = draw(probabilities, 20, seed=4, round_=2)
    assert many[:7] == draw(probabilities, 7, seed=4, round_=2), "a slot knows no later ones"
    assert many != draw(probabilities, 20, seed=4, round_=3)
    assert many != draw(probabilities, 20, seed=5, round_=2)


def test_a_choice_can_be_replayed_from_what_it_says() -> None:
    probabilities = [0.2, 0.5, 0.3]
    for choice in draw(probabilities, 50, seed=1, round_=0):
        assert choice.uniform == derive_uniform("select", 1, 0, choice.slot)
        assert choice.probability == probabilities[choice.position]
        before = sum(probabilities[: choice.position])
        assert before <= choice.uniform < before + choice.probability + 1e-12


def test_frequencies_follow_the_probabilities() -> None:
    counts = Counter(c.position for c in draw([0.1, 0.0, 0.6, 0.3], 4000, seed=0, round_=0))
    assert counts[1] == 0
    assert [counts[i] / 4000 for i in (0, 2, 3)] == pytest.approx([0.1, 0.6, 0.3], abs=0.03)


def test_rounding_does_not_let_a_draw_fall_through() -> None:
    tenth = [0.1] * 10  # sums to 0.9999999999999999 term by term
    assert all(0 <= c.position < 10 for c in draw([*tenth, 0.0], 500, seed=0, round_=0))


@pytest.mark.parametrize("probabilities", [[], [0.5, 0.4], [1.5, -0.5], [float("nan")]])
def test_what_is_no_distribution_is_refused(probabilities: list[float]) -> None:
    with pytest.raises(UsageError, match="sum to 1"):
        draw(probabilities, 1, seed=0, round_=0)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=6).filter(
        lambda rows: any(weight for weight, _ in rows)
    ),
    st.integers(0, 40),
    st.integers(0, 100),
)
def test_slots_are_filled_exactly_and_evenly(
    rows: list[tuple[int, int]], count: int, seed: int
) -> None:
    pools = [
        Pool(f"t{i}", tuple(f"t{i}-{j}" for j in range(size))) for i, (_, size) in enumerate(rows)
    ]
    available = sum(size for _, size in rows)
    choices = draw_tasks(pools, scaled([weight for weight, _ in rows]), count, seed=seed, round_=0)
    assert [c.slot for c in choices] == list(range(count if available else 0))
    for choice in choices:
        assert choice.task_id.startswith(choice.template)
        assert 0 < choice.template_probability <= 1
        assert 0 < choice.task_probability <= 1
    used = Counter(c.task_id for c in choices)
    if used:
        times = [used[task] for pool in pools for task in pool.task_ids]
        assert max(times) - min(times) <= 1, "no task twice before every task once"


def test_an_empty_template_leaves_its_share_to_the_others() -> None:
    pools = [Pool("a", ()), Pool("b", ("b1",)), Pool("c", ("c1",))]
    first, second = draw_tasks(pools, [0.5, 0.1, 0.4], 2, seed=0, round_=0)
    assert first.template_probability == pytest.approx({"b": 0.2, "c": 0.8}[first.template])
    assert second.template_probability == 1.0
    assert {first.template, second.template} == {"b", "c"}


def test_templates_without_probability_are_last() -> None:
    pools = [Pool("a", ("a1",)), Pool("b", ("b1",)), Pool("c", ("c1",))]
    choices = draw_tasks(pools, [0.0, 1.0, 0.0], 3, seed=0, round_=0)
    assert choices[0].template == "b"
    assert {c.template for c in choices[1:]} == {"a", "c"}
    assert choices[1].template_probability == 0.5


def test_pools_and_probabilities_belong_together() -> None:
    with pytest.raises(UsageError, match="1 pools, 2 given"):
        draw_tasks([Pool("a", ("a1",))], [0.5, 0.5], 1, seed=0, round_=0)
