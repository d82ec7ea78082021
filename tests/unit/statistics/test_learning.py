from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import UsageError
from agentlab.statistics import learning_progress

outcomes = st.lists(st.booleans(), max_size=30)


def test_the_published_example() -> None:
    history = [bool(x) for x in (0, 0, 1, 0, 1, 1, 1, 0)]
    assert learning_progress(history) == 0.5
    assert learning_progress([True, True, *history]) == 0.5, "older outcomes do not count"


def test_too_few_outcomes_are_unknown_unless_a_smaller_window_will_do() -> None:
    assert learning_progress([True] * 7) is None
    assert learning_progress([False, False, False, True, True], minimum=4) == 1.0
    assert learning_progress([True] * 3, minimum=4) is None
    assert learning_progress([], minimum=2) is None


@given(outcomes, st.integers(1, 8))
def test_bounded_and_blind_to_direction(history: list[bool], half: int) -> None:
    progress = learning_progress(history, window=2 * half)
    flipped = learning_progress([not x for x in history], window=2 * half)
    backwards = learning_progress(history[-2 * half :][::-1], window=2 * half)
    assert progress == flipped == backwards
    assert (progress is None) == (len(history) < 2 * half)
    assert progress is None or 0 <= progress <= 1


@pytest.mark.parametrize(("window", "minimum"), [(7, None), (0, None), (8, 1), (8, 10)])
def test_wrong_windows_are_refused(window: int, minimum: int | None) -> None:
    with pytest.raises(UsageError, match="window"):
        learning_progress([True], window=window, minimum=minimum)
