"""Advantages of exported groups."""

from __future__ import annotations

from typing import cast

import pytest

from agentlab.training.estimating import ESTIMATORS, Estimating
from agentlab.training.rollouts import Rollout
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


def proposal(name: str, reward: float | None, of: str) -> Rollout:
    """A proposer's reply, under the first of the tasks in it."""
    made = rollout(name, ["a"], reward=reward, of=of)
    (call,) = made.calls
    return made._replace(calls=(call.model_copy(update={"role": "proposer"}),))


def test_hierarchical_compares_solvers_within_their_task() -> None:
    # By the sample deviation of two, 1 and 0 are 0.5 / sqrt(0.5) from their mean.
    members = (
        rollout("one", ["a"], reward=1.0, of="easy"),
        rollout("two", ["a"], reward=1.0, of="hard"),
        rollout("three", ["x"], reward=0.0, of="hard"),
        rollout("four", ["a"], reward=1.0, of="easy"),
        rollout("five", ["a"], reward=1.0, of="alone"),
    )
    found = Estimating("hierarchical").of(Group("chain", members))
    values = {name: body["value"] for name, body in found.items()}
    apart = 0.5 / (0.5**0.5 + 1e-4)
    assert values == {
        "one": 0.0,
        "two": pytest.approx(apart),
        "three": pytest.approx(-apart),
        "four": 0.0,
        "five": None,
    }


def test_hierarchical_compares_proposers_within_their_group_whatever_they_proposed() -> None:
    members = (
        proposal("half", 1.0, "a"),
        proposal("refused", 0.0, "b"),
        proposal("untried", None, "c"),
    )
    found = Estimating("hierarchical").of(Group("round", members))
    apart = 0.5 / (0.5**0.5 + 1e-4)
    assert [found[name]["value"] for name in ("half", "refused", "untried")] == [
        pytest.approx(apart),
        pytest.approx(-apart),
        None,
    ]
