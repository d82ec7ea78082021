from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab import registry
from agentlab.curricula import LearningProgress, Uniform
from agentlab.errors import ConfigError
from agentlab.protocols import Curriculum
from agentlab.types import Template

histories = st.lists(st.lists(st.booleans(), max_size=14), max_size=12)


def templates(*histories: list[bool] | list[int]) -> list[Template]:
    return [
        Template(name=f"t{i}", outcomes=tuple(bool(x) for x in history))
        for i, history in enumerate(histories)
    ]


LEARNING = [0, 0, 1, 0, 1, 1, 1, 0]  # progress 0.5
SLOWER = [0, 0, 0, 0, 0, 1, 0, 0]  # progress 0.25
MASTERED = [1] * 8
HOPELESS = [0] * 8


def test_progress_is_practised_and_the_rest_gets_the_floor() -> None:
    probabilities = LearningProgress().probabilities(
        templates(LEARNING, SLOWER, MASTERED, HOPELESS)
    )
    expected = (0.8 * 2 / 3 + 0.05, 0.8 / 3 + 0.05, 0.05, 0.05)
    assert probabilities == pytest.approx(expected, abs=1e-12)


def test_uniform_while_nothing_progresses() -> None:
    curriculum = LearningProgress()
    assert curriculum.probabilities(templates(MASTERED, HOPELESS, [], [1])) == (0.25,) * 4
    assert curriculum.probabilities(templates([])) == (1.0,)
    assert curriculum.probabilities([]) == ()


def test_a_new_template_is_taken_for_the_most_promising() -> None:
    known, slower, new = LearningProgress(exploration=0).probabilities(
        templates(LEARNING, SLOWER, [1, 0, 0])
    )
    assert new == known == pytest.approx(0.4)
    assert slower == pytest.approx(0.2)


def test_many_new_templates_do_not_starve_the_known() -> None:
    none: list[list[int]] = [[]] * 40
    probabilities = LearningProgress().probabilities(templates(LEARNING, *none))
    assert probabilities[0] == pytest.approx(0.4 + 0.2 / 41)
    assert probabilities[1] == pytest.approx(0.4 / 40 + 0.2 / 41)


def test_a_short_history_is_measured_in_a_short_window() -> None:
    first, second = LearningProgress(exploration=0).probabilities(templates(LEARNING, [0, 0, 1, 1]))
    assert second == pytest.approx(2 * first)


@given(histories, st.floats(0.01, 1))
def test_probabilities_are_probabilities(histories: list[list[bool]], exploration: float) -> None:
    probabilities = LearningProgress(exploration=exploration).probabilities(templates(*histories))
    assert len(probabilities) == len(histories)
    if histories:
        assert abs(sum(probabilities) - 1) < 1e-9
        assert min(probabilities) >= exploration / len(histories) * (1 - 1e-12)


@given(histories.flatmap(lambda h: st.tuples(st.just(h), st.permutations(range(len(h))))))
def test_the_order_of_templates_does_not_matter(case: tuple[list[list[bool]], list[int]]) -> None:
    histories, order = case
    straight = LearningProgress().probabilities(templates(*histories))
    moved = LearningProgress().probabilities(templates(*(histories[i] for i in order)))
    assert moved == pytest.approx(tuple(straight[i] for i in order), abs=1e-12)


@given(st.lists(st.booleans(), min_size=8, max_size=8))
def test_more_progress_never_means_less_practice(history: list[bool]) -> None:
    other = templates(history, SLOWER)
    best = templates([0, 0, 0, 0, 1, 1, 1, 1], SLOWER)
    curriculum = LearningProgress()
    assert curriculum.probabilities(other)[0] <= curriculum.probabilities(best)[0] + 1e-12


@pytest.mark.parametrize(
    "options",
    [
        {"window": 7},
        {"window": 0},
        {"minimum": 3},
        {"minimum": 10},
        {"minimum": 0},
    ],
)
def test_wrong_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        LearningProgress(**options)


@pytest.mark.parametrize("exploration", [-0.1, 1.1])
def test_exploration_is_a_share(exploration: float) -> None:
    with pytest.raises(ConfigError, match="exploration"):
        LearningProgress(exploration=exploration)


def test_uniform_is_uniform() -> None:
    assert Uniform().probabilities(templates(LEARNING, [], MASTERED, [1])) == (0.25,) * 4
    assert Uniform().probabilities([]) == ()


def test_both_are_registered_curricula() -> None:
    curricula: list[Curriculum] = [LearningProgress(), Uniform()]
    for name, curriculum in zip(("learning_progress", "uniform"), curricula, strict=True):
        assert registry.resolve("curriculum", name) is type(curriculum)
