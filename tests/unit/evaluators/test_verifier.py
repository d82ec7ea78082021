"""Scores by the task's own verifier: the environment's word, or code over the state."""

from __future__ import annotations

import asyncio

import pytest

from agentlab.errors import SkillFaultError
from agentlab.evaluators.verifier import Verifier
from agentlab.protocols import EvaluationContext
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import (
    CodeVerifier,
    JsonObject,
    Observation,
    Score,
    Step,
    StepResult,
    Task,
    ToolCall,
    Trajectory,
)

SEEN = Observation(text="")


def _task(source: str | None = None) -> Task:
    task = Task(id="t", environment="town", instruction="go", setup={}, seed=1, template="easy: go")
    return (
        task.model_copy(update={"verifier": CodeVerifier(source=source, origin="search")})
        if source
        else task
    )


def _trajectory(*results: StepResult, state: JsonObject | None = None) -> Trajectory:
    return Trajectory(
        initial=SEEN,
        initial_state={"at": 0},
        steps=tuple(Step(call=ToolCall(tool="go"), result=r, state=state) for r in results),
        answer="here",
    )


def _score(task: Task, trajectory: Trajectory) -> Score:
    async def work() -> Score:
        runtime = SubprocessRuntime()
        try:
            return await Verifier().evaluate(EvaluationContext(task, trajectory, runtime))
        finally:
            await runtime.close()

    return asyncio.run(work())


GOING = StepResult(observation=SEEN)
WON = StepResult(observation=SEEN, terminated=True, reward=0.5)
LOST = StepResult(observation=SEEN, terminated=True)
CUT = StepResult(observation=SEEN, truncated=True)


@pytest.mark.parametrize(
    ("results", "success", "explanation"),
    [
        ((GOING, WON), True, "ended the episode as a success"),
        ((GOING, LOST), False, "ended the episode as a failure"),
        ((GOING, CUT), False, "cut off"),
        ((GOING,), False, "was not reached"),
        ((), False, "was not reached"),
        ((StepResult(observation=SEEN, reward=1.0),), False, "was not reached"),
    ],
)
def test_the_environments_word(
    results: tuple[StepResult, ...], success: bool, explanation: str
) -> None:
    score = _score(_task(), _trajectory(*results))
    assert score.success is success
    assert score.value == float(success)
    assert explanation in score.explanation
    assert score.source == "verifier"


AT_TWO = "def verify(initial, final, answer):\n    return final['at'] == 2 and answer == 'here'\n"


def test_code_over_the_state() -> None:
    assert _score(_task(AT_TWO), _trajectory(GOING, state={"at": 2})).success is True
    assert _score(_task(AT_TWO), _trajectory(WON, state={"at": 1})).success is False
    assert _score(_task(AT_TWO), _trajectory()).success is False


def test_unknown_is_neither() -> None:
    blind = _trajectory(GOING, state=None)
    for score in (
        _score(_task(AT_TWO), blind),
        _score(_task(AT_TWO), blind.model_copy(update={"initial_state": None})),
        _score(_task("def verify(initial, final, answer):\n    return 'yes'\n"), _trajectory()),
    ):
        assert score.success is None
        assert score.value is None
        assert score.explanation


def test_a_verifier_that_raises() -> None:
    with pytest.raises(SkillFaultError, match="verify"):
        _score(_task("def verify(initial, final, answer):\n    return 1 / 0\n"), _trajectory())
