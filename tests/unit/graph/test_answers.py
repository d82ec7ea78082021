"""What a plugin's role gives back by mistake is told by its role and its name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from agentlab.envs.courier.environment import Courier
from agentlab.errors import UsageError
from agentlab.graph import jobs, nodes, selection
from agentlab.graph.answers import probabilities_of, tasks_of
from agentlab.graph.practice import Practice, RunState
from agentlab.protocols import EvaluationContext
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import AttemptOutcome, AttemptSpec, EnvironmentRef, Score, Template
from tests.unit.graph.test_gates import RUN, Log, with_practice


class Evaluates:
    """Gives a number in place of a score, or raises."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def evaluate(self, context: EvaluationContext) -> Score:
        if self.error is not None:
            raise self.error
        return cast("Score", 5)


class Prefers:
    """A curriculum that answers as it is told, or raises."""

    def __init__(self, given: object) -> None:
        self.given = given

    def probabilities(self, templates: Sequence[Template]) -> Sequence[float]:
        if isinstance(self.given, Exception):
            raise self.given
        return cast("Sequence[float]", self.given)


def attempted(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> AttemptOutcome:
    def mine(name: str, options: object = None) -> Evaluates:
        return Evaluates(error)

    monkeypatch.setattr(jobs, "evaluator_of", mine)
    task = Courier().tasks("practice", 1, 3)[0]
    spec = AttemptSpec(
        id="attempt",
        run_id="run",
        round=0,
        slot=0,
        task=task,
        group_id="group",
        seed=3,
        environment=EnvironmentRef(name="courier"),
        executor="oracle",
    )

    async def work() -> AttemptOutcome:
        runtime = SubprocessRuntime()
        try:
            return await jobs.run_attempt(spec, "mine", Courier(), runtime)
        finally:
            await runtime.close()

    return asyncio.run(work())


def test_an_evaluator_that_gives_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="The evaluator 'mine' gave int: evaluate"):
        attempted(monkeypatch, None)


def test_an_evaluator_that_raises_is_named_and_costs_the_attempt_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcome = attempted(monkeypatch, ValueError("boom"))
    assert outcome.status == "infrastructure_failure"
    told = outcome.error or ""
    assert told.startswith("the evaluator 'mine' raised ValueError: boom (test_answers.py:")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "gave NoneType: probabilities"),
        (["much"], "gave str in it: probabilities"),
        ([0.5], "is to be corrected: "),
        (ValueError("boom"), "raised ValueError: boom .test_answers.py:"),
    ],
)
def test_a_curriculum_is_named(tmp_path: Path, given: object, said: str) -> None:
    async def work(practice: Practice, log: Log) -> None:
        practice.curriculum = Prefers(given)
        state = RunState(run_id=RUN, round=0, planned=0, finished=False)
        await nodes.propose(state, practice)
        await selection.select(state, practice)

    with pytest.raises(UsageError, match=f"^The curriculum 'uniform' {said}"):
        with_practice(tmp_path, work, {"proposals": 6, "curriculum": "uniform"})


def test_what_keeps_the_contract_comes_through() -> None:
    tasks = tuple(Courier().tasks("practice", 2, 3))
    assert tasks_of("mine", tasks) == list(tasks)
    assert probabilities_of("mine", (1, 0.0)) == [1.0, 0.0]
