"""Measuring a judge on recorded attempts: what it is shown, what is counted, what is kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentlab.analysis.calibration import Scope, calibrate, known_attempts
from agentlab.errors import ModelFaultError, UnknownNameError, UsageError
from agentlab.models.prices import load_prices
from agentlab.models.scripted import Rule, ScriptedModel
from agentlab.records import Records, Workspace
from agentlab.records.calibrations import Calibrations, refusal
from agentlab.types import ChatRequest, Score, Split
from tests.unit.evaluators.lamp import POINTS, honest, reply, said
from tests.unit.records.samples import RUN, TOWN, a_spec, a_task, an_outcome, opened


def keep(
    records: Records, slot: int, number: int, success: bool | None, *, split: Split = "practice"
) -> None:
    """An attempt that showed a house, and `won` where the verifier said so."""
    task = a_task(number, split=split)
    kind = "practice" if split == "practice" else "evaluation"
    spec = a_spec(slot, task, kind=kind)
    outcome = an_outcome(spec, success=success, steps=2)
    assert outcome.trajectory is not None
    text = f"It is {'done' if success else 'open'}, {number}."
    steps = [
        step.model_copy(
            update={
                "result": step.result.model_copy(
                    update={
                        "observation": step.result.observation.model_copy(update={"text": text})
                    }
                )
            }
        )
        for step in outcome.trajectory.steps
    ]
    shown = outcome.trajectory.model_copy(update={"steps": tuple(steps)})
    score = Score(success=success, value=None if success is None else float(success))
    records.attempts.record(spec, outcome.model_copy(update={"trajectory": shown, "score": score}))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """40 tasks, half of them solved; six held-out ones; one of unknown outcome."""
    place = tmp_path / "ws"
    with opened(place) as records:
        for number in range(40):
            keep(records, number, 10 * number, number % 2 == 0)
        for number in range(6):
            keep(records, 100 + number, 9 + 10 * number, number % 2 == 0, split="heldout")
        keep(records, 200, 407, None)
    return place


def reader(request: ChatRequest) -> str:
    """Right about every attempt."""
    if request.schema_name == "points":
        return POINTS
    done = re.search(r"2 shown\| (It is done, \d+\.)", said(request))
    if done:
        return reply(request, "success", [(1, done[1], "yes")])
    return reply(request, "failure", [(1, "", "no")])


def wrong_about(*numbers: int, otherwise: Rule = reader, unsure: bool = False) -> Rule:
    """Calls these tasks failures, or does not decide."""

    def rule(request: ChatRequest) -> str:
        if request.schema_name != "points" and any(
            f"carry parcel {number}⟧" in said(request) for number in numbers
        ):
            return "?" if unsure else reply(request, "failure", [(1, "", "no")])
        found = otherwise(request)
        assert isinstance(found, str)
        return found

    return rule


def test_a_judge_that_is_right(workspace: Path) -> None:
    asked = ScriptedModel(reader)
    found = calibrate(workspace, "judge", model=asked)
    assert found.figures is not None
    counts = found.figures
    assert (counts.attempts, counts.tasks) == (40, 40)
    assert (counts.both, counts.judge_only, counts.verifier_only, counts.neither) == (20, 0, 0, 20)
    assert counts.kappa is not None
    assert counts.kappa.value == 1.0
    # Wilson's lower end for 40 of 40, .912378, less a half, twice.
    assert counts.kappa.low == pytest.approx(0.824756, abs=1e-4)
    assert refusal(found) is None
    assert found.heldout is None
    assert found.environment == TOWN
    assert found.runs == (RUN,)
    assert found.spent.calls == len(asked.requests) == 40 * 4
    assert found.spent.tokens > 40 * 4 * 100
    assert found.spent.usd == 0.0
    kept = Calibrations(Workspace.open(workspace))
    assert kept.get(found.judge, TOWN) == found
    assert kept.allowed(found.judge, TOWN) is None


def test_errors_are_counted_where_they_belong(workspace: Path) -> None:
    model = ScriptedModel(wrong_about(0, 20, otherwise=wrong_about(40, unsure=True)))
    found = calibrate(workspace, "judge", model=model)
    assert found.figures is not None
    counts = found.figures
    assert (counts.both, counts.judge_only, counts.verifier_only, counts.neither) == (17, 0, 2, 20)
    assert counts.unknown.value == pytest.approx(1 / 40)
    assert counts.recall is not None
    assert counts.recall.value == pytest.approx(17 / 19)
    assert counts.precision is not None
    assert counts.precision.value == 1.0


def test_the_outcome_is_not_told(workspace: Path) -> None:
    asked = ScriptedModel(reader)
    calibrate(workspace, "judge", model=asked)
    for request in asked.requests:
        for word in ("looked", "reward", "0.5", '"at"'):
            assert word not in said(request)


def test_held_out_attempts_are_reported_apart(workspace: Path) -> None:
    wrong = wrong_about(*(10 * n for n in range(40)))
    found = calibrate(workspace, "judge", model=ScriptedModel(wrong), scope=Scope(heldout=True))
    assert found.figures is not None
    assert found.heldout is not None
    assert (found.figures.attempts, found.heldout.attempts) == (40, 6)
    assert found.heldout.kappa is not None
    assert found.heldout.kappa.value == 1.0
    assert refusal(found, floor=0.01) is not None


def test_a_limit_draws_the_same_attempts_again(workspace: Path) -> None:
    with Records.open(Workspace.open(workspace)) as records:
        drawn = [known_attempts(records, Scope(limit=10, seed=seed))[2] for seed in (1, 1, 2)]
    ids = [[each.attempt_id for each in each_draw] for each_draw in drawn]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == len(set(ids[0])) == 10
    found = calibrate(workspace, "judge", model=ScriptedModel(reader), scope=Scope(limit=10))
    assert found.figures is not None
    assert found.figures.attempts == 10
    assert refusal(found) is not None  # ten are too few, however right it is


def test_measuring_twice_gives_the_same(workspace: Path) -> None:
    found = [calibrate(workspace, "judge", model=ScriptedModel(reader)) for _ in range(2)]
    timeless = [each.model_dump(exclude={"spent": {"seconds"}}) for each in found]
    assert timeless[0] == timeless[1]


def test_options_and_models_make_another_judge(workspace: Path) -> None:
    scope = Scope(limit=2)
    found = [
        calibrate(workspace, name, model=ScriptedModel(reader, spec), scope=scope, options=options)
        for name, spec, options in (
            ("judge", "a", None),
            ("judge", "b", None),
            ("judge", "a", {"samples": 1}),
            ("jury", "a", None),
        )
    ]
    assert len({each.judge for each in found}) == 4
    assert len(Calibrations(Workspace.open(workspace)).all()) == 4


def test_costs_are_counted_at_the_users_prices(workspace: Path) -> None:
    prices = load_prices({"small": {"input": 1.0, "output": 0.0}})
    scope = Scope(limit=3)
    found = calibrate(
        workspace, "judge", model=ScriptedModel(reader, "small"), scope=scope, prices=prices
    )
    assert found.spent.usd is not None
    assert 0 < found.spent.usd < found.spent.tokens / 1e6
    unknown = calibrate(workspace, "judge", model=ScriptedModel(reader, "vllm:x"), scope=scope)
    assert unknown.spent.usd is None


def test_an_endpoint_that_fails_now_and_then(workspace: Path) -> None:
    def rule(request: ChatRequest) -> str:
        if "carry parcel 30⟧" in said(request):
            raise ModelFaultError("The endpoint is down.")
        return reader(request)

    found = calibrate(workspace, "judge", model=ScriptedModel(rule))
    assert found.failed == 1
    assert found.figures is not None
    assert found.figures.attempts == 39

    def down(request: ChatRequest) -> str:
        raise ModelFaultError("The endpoint is down.")

    with pytest.raises(ModelFaultError):
        calibrate(workspace, "judge", model=ScriptedModel(down))


def test_what_cannot_be_measured_is_refused(workspace: Path, tmp_path: Path) -> None:
    model = ScriptedModel(honest)
    with pytest.raises(UsageError, match="is what judges are measured by"):
        calibrate(workspace, "verifier", model=model)
    with pytest.raises(UnknownNameError, match="Did you mean 'judge'"):
        calibrate(workspace, "jugde", model=model)
    with pytest.raises(UnknownNameError, match="no run"):
        calibrate(workspace, "judge", model=model, scope=Scope(runs=("none",)))
    with pytest.raises(UsageError, match="scored by a verifier"):
        calibrate(workspace, "judge", model=model, scope=Scope(environment="elsewhere"))
    with pytest.raises(UsageError, match="does not take these options"):
        calibrate(workspace, "judge", model=model, options={"colour": "red"})
    with pytest.raises(UsageError, match="no workspace"):
        calibrate(tmp_path / "none", "judge", model=model)
    assert not (tmp_path / "none").exists()


def test_one_environment_at_a_time(workspace: Path) -> None:
    with Records.open(Workspace.open(workspace)) as records:
        task = a_task(1001).model_copy(update={"environment": "port"})
        spec = a_spec(300, task)
        records.attempts.record(spec, an_outcome(spec))
    with pytest.raises(UsageError, match=r"several environments \('port', 'town'\)"):
        calibrate(workspace, "judge", model=ScriptedModel(reader))
    found = calibrate(
        workspace, "judge", model=ScriptedModel(reader), scope=Scope(environment="town:small")
    )
    assert found.environment == TOWN
