"""Advantages of exported groups."""

from __future__ import annotations

from typing import cast

import pytest

from agentlab.training.estimating import ESTIMATORS, Estimating
from agentlab.training.samples import Group
from tests.unit.training.attempts import rollout

GROUP = Group("g", (rollout("good", ["a", "b"]), rollout("bad", ["a", "x"], reward=0.0)))


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_each_names_itself_and_prefers_what_succeeded(name: str) -> None:
    found = Estimating(name).of(GROUP)
    good, bad = found["good"]["value"], found["bad"]["value"]
    assert isinstance(good, float) and isinstance(bad, float)
    assert good > bad
    assert found["good"]["estimator"] == ESTIMATORS[name].id


def test_gigpo_tells_the_calls_apart() -> None:
    found = Estimating("gigpo").of(GROUP)
    good, bad = (cast("list[float]", found[name]["calls"]) for name in ("good", "bad"))
    # Both calls of both attempts were made in states that both were shown.
    episode = found["good"]["value"]
    assert isinstance(episode, float)
    assert good[0] > episode and bad[0] < -episode
    assert good[0] == pytest.approx(good[1], abs=1e-3)


def test_rae_remembers_from_group_to_group() -> None:
    estimating = Estimating("rae")
    first, second = estimating.of(GROUP), estimating.of(GROUP)
    assert first["good"]["value"] == 1.0
    assert second["good"]["value"] == pytest.approx(1 - 0.05 * 0.95)
