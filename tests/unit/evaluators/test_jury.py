"""A jury: all of one mind, or undecided."""

from __future__ import annotations

import asyncio

import pytest

from agentlab.errors import ConfigError, UsageError
from agentlab.evaluators.judge import Judge
from agentlab.evaluators.jury import Jury, united
from agentlab.models.scripted import Rule
from agentlab.types import ChatRequest, Score
from tests.unit.evaluators.lamp import (
    SOLVED,
    TASK,
    UNSOLVED,
    always,
    context,
    honest,
    model,
    said,
)


def by_style(weighing: Rule, doubting: Rule) -> Rule:
    """One rule for each prompt."""

    def rule(request: ChatRequest) -> str:
        doubts = "You look for what is wrong" in said(request)
        found = (doubting if doubts else weighing)(request)
        assert isinstance(found, str)
        return found

    return rule


def silent(request: ChatRequest) -> str:
    """Refuses."""
    return "I would rather not say."


def tried(rule: Rule, stronger: Rule | None = None) -> Score:
    second = model(stronger, "large") if stronger is not None else None
    return asyncio.run(Jury().evaluate(context(SOLVED, model(rule), second)))


def test_a_jury_of_one_mind() -> None:
    for trajectory, verdict in ((SOLVED, True), (UNSOLVED, False)):
        score = asyncio.run(Jury().evaluate(context(trajectory, model(honest))))
        assert (score.success, score.source) == (verdict, "judge")
        assert score.confidence == pytest.approx(2 / 3)
        assert "2 jurors of 2 agree" in score.explanation


@pytest.mark.parametrize(
    ("doubting", "stronger"),
    [
        (always("failure"), None),
        (always("unclear"), None),
        (always("failure"), honest),
        (honest, always("failure")),
        (honest, always("unclear")),
        (honest, silent),
    ],
)
def test_disagreement_is_undecided_and_no_majority_wins(
    doubting: Rule, stronger: Rule | None
) -> None:
    score = tried(by_style(honest, doubting), stronger)
    assert (score.success, score.value, score.confidence) == (None, None, 0.0)
    assert score.explanation.startswith("undecided: the jurors say success, ")


def test_each_juror_is_heard_in_the_evidence() -> None:
    score = tried(by_style(honest, always("failure")), honest)
    jurors = score.evidence["jurors"]
    assert isinstance(jurors, list)
    assert [each["success"] for each in jurors if isinstance(each, dict)] == [True, False, True]


def test_jurors_do_not_see_each_other() -> None:
    asked = model(by_style(honest, always("failure")))
    asyncio.run(Jury().evaluate(context(SOLVED, asked)))
    kinds = [request.prompt.name for request in asked.requests if request.prompt]
    assert kinds == [f"evaluators/{name}" for name in ("points", "verdict", "points", "doubt")]
    assert all("failure, because" not in said(request) for request in asked.requests)


def test_jurors_of_ones_own() -> None:
    jury = Jury(jurors=(Judge(samples=2, verify=False), Judge(samples=3, verify=False)))
    asked = model(honest)
    assert asyncio.run(jury.evaluate(context(SOLVED, asked))).success is True
    assert len(asked.requests) == 1 + 2 + 1 + 3
    with pytest.raises(ConfigError, match="one juror is a judge"):
        Jury(jurors=(Judge(),))


def test_a_verifier_outranks_the_jury() -> None:
    task = TASK.model_copy(update={"parameters": {}})
    score = asyncio.run(Jury().evaluate(context(SOLVED, None, task=task)))
    assert (score.success, score.source) == (False, "verifier")
    with pytest.raises(UsageError, match="'jury' needs a chat model"):
        asyncio.run(Jury().evaluate(context(SOLVED)))


def test_scores_are_never_averaged() -> None:
    yes = Score(value=1.0, success=True, source="judge", confidence=0.9)
    no = Score(value=0.0, success=False, source="judge", confidence=0.1)
    for scores in ((yes, no), (yes, yes, no), (yes, Score(source="judge")), (no, no, yes)):
        assert united(scores).value is None
    assert united((yes, yes, yes)).value == 1.0
    assert united((yes, yes, yes)).confidence == 0.8
    assert united((no, no)).confidence == 0.1


def test_a_jury_has_an_identity_of_its_own() -> None:
    known = Jury().identity("small", "large")
    assert known == Jury(verify=False).identity("small", "large")
    assert known != Jury().identity("small")
    assert known != Jury(samples=3).identity("small", "large")
