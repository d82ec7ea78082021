"""What enters a trajectory is what its type says, and can be written down."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from agentlab.errors import EnvironmentFaultError
from agentlab.types import Observation, Step, StepResult, ToolCall, Trajectory, Usage

SEEN = Observation(text="a street")
RESULT = StepResult(observation=SEEN)
CALL = ToolCall(tool="go")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": -3}, r"step\(\) gave what is no StepResult: steps is -3"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"observation": SEEN.model_copy(update={"text": 7})}, "observation.text is 7"),
        ({"observation": SEEN.model_copy(update={"data": {"x": object()}})}, "observation.data.x"),
        ({"error": 3}, "error is 3"),
    ],
)
def test_a_result_that_was_made_past_its_own_validation(
    change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(EnvironmentFaultError, match=sentence):
        Step(call=CALL, result=RESULT.model_copy(update=change))


def test_a_first_observation_that_was_made_past_its_own_validation() -> None:
    seen = SEEN.model_copy(update={"data": {"x": {1, 2}}})
    with pytest.raises(EnvironmentFaultError, match=r"reset\(\) gave what is no Observation"):
        Trajectory(initial=seen)


def test_what_only_json_finds_hard_is_kept() -> None:
    seen = Observation(text="\ud800", data={"far": float("inf"), "odd": float("nan")})
    result = StepResult(observation=seen, reward=float("inf"))
    assert Step(call=CALL, result=result).result is result
    assert Trajectory(initial=seen).initial is seen


def test_what_is_in_order_is_kept_as_it_is() -> None:
    step = Step(call=CALL, result=RESULT, state={"at": "home", "names": ["é", "𝄞"]})
    assert step.result is RESULT
    trajectory = Trajectory(initial=SEEN, initial_state={"at": 1}, steps=(step,))
    assert Trajectory.model_validate_json(trajectory.model_dump_json()) == trajectory


@pytest.mark.parametrize(
    "spent",
    [{"steps": -3}, {"tool_calls": -1}, {"attempts": -1}, {"tokens": -1}, {"usd": float("inf")}],
    ids=str,
)
def test_nobody_gives_back_what_was_spent(spent: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Usage(**spent)
