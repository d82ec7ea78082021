"""What the view `successes` takes its lengths from: attempts that may be trained on alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from agentlab.records import Records
from agentlab.training.exporting import ExportRequest, export
from agentlab.types import (
    AttemptOutcome,
    JsonObject,
    ModelCall,
    Score,
    SplitRule,
    Trajectory,
)
from tests.unit.records.samples import RUN, a_spec, a_task, an_outcome, opened
from tests.unit.training.attempts import calls


def _record(records: Records, slot: int, steps: int, *, judged: bool, said: bool, own: bool) -> str:
    """A success at one task, of so many steps."""
    spec = a_spec(slot, a_task(0))
    outcome = an_outcome(spec, success=True, steps=steps)
    assert outcome.trajectory is not None
    made = calls(["a"] * steps) if said else ()
    terms = "own" if own else None
    trajectory = Trajectory(
        initial=outcome.trajectory.initial,
        steps=outcome.trajectory.steps,
        model_calls=tuple(call.model_copy(update={"terms": terms}) for call in made),
    )
    score = Score(value=1.0, success=True, source="judge" if judged else "verifier")
    changed = outcome.model_copy(update={"trajectory": trajectory, "score": score})
    records.attempts.record(spec, changed)
    return spec.id


@pytest.mark.parametrize(
    ("judged", "said", "own", "reason"),
    [
        (True, True, True, "a judge's verdict"),
        (False, False, True, "no model call"),
        (False, True, False, "unknown terms"),
    ],
)
def test_a_short_success_that_is_refused_does_not_push_out_a_longer_one(
    tmp_path: Path, *, judged: bool, said: bool, own: bool, reason: str
) -> None:
    with opened(tmp_path / "ws") as records:
        records.tasks.add_proposals(RUN, 0, [(a_task(0), None)], SplitRule())
        _record(records, 0, 2, judged=judged, said=said, own=own)
        good = _record(records, 1, 5, judged=False, said=True, own=True)
        report = export(records, ExportRequest((RUN,), "trl-sft"), tmp_path / "out")
    assert (report.rows, report.rollouts) == (1, 2)
    assert report.refused == {reason: 1}
    assert f'"{good}"' in (tmp_path / "out" / "provenance.jsonl").read_text()


def _with(outcome: AttemptOutcome, *made: ModelCall) -> AttemptOutcome:
    assert outcome.trajectory is not None
    trajectory = outcome.trajectory.model_copy(update={"model_calls": made})
    return outcome.model_copy(update={"trajectory": trajectory})


def test_what_was_asked_is_told_of_calls_with_infinities_and_nans_too(tmp_path: Path) -> None:
    odd: JsonObject = {"messages": [], "weight": math.nan}
    drawn = (-math.inf, -0.5)
    first = ModelCall(model="a", request={}, response={}, log_probabilities=drawn, tokens=2)
    judge = first.model_copy(update={"model": "j", "role": "evaluator", "terms": None})
    with opened(tmp_path) as records:
        specs = [a_spec(slot, a_task(slot)) for slot in range(4)]
        made = (
            (first.model_copy(update={"terms": "own"}), judge),
            (first, first.model_copy(update={"model": "b"})),
            (first.model_copy(update={"request": odd, "terms": "own"}),),
            (),
        )
        for spec, each in zip(specs, made, strict=True):
            records.attempts.record(spec, _with(an_outcome(spec), *each))
        found = records.trajectories.asked([spec.id for spec in specs])
        told = [found.get(spec.id) for spec in specs]
        # Of the third nothing can be asked in the database: what is not known is not said.
        assert told == [(1, ()), (2, ("a", "b")), (1, ("a",)), None]
        spent = records.role_calls.spent(RUN)
        assert spent["evaluator"].tokens == 2
        assert spent["executor"].tokens == 8
        again = records.trajectories.trajectory(specs[1].id)
        assert again is not None
        assert again.model_calls[0].log_probabilities == drawn
