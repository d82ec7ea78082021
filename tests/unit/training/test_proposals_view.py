"""The view `proposals`: a proposer's replies, rewarded by what came of the tasks in them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentlab.errors import NothingToExportError
from agentlab.records import Records
from agentlab.training.estimating import ESTIMATORS
from agentlab.training.exporting import ExportRequest, export
from agentlab.training.refusals import Refusal
from agentlab.training.views.proposed import Proposed, proposed_groups, worth
from agentlab.types import (
    ChatReply,
    ChatRequest,
    JsonObject,
    Message,
    ModelCall,
    Scope,
    SplitRule,
    Task,
)
from tests.unit.records.samples import RUN, a_spec, a_task, an_outcome, opened
from tests.unit.training.attempts import calls as attempted

NOT_TRIED = 4
REFUSED = 3


def reply(*instructions: str, text: str | None = None) -> ModelCall:
    """A call in which a proposer wrote these tasks, with the ids of a served model."""
    drafts = {"tasks": [{"instruction": instruction} for instruction in instructions]}
    request = ChatRequest(messages=(Message(role="user", text="Propose tasks."),))
    message = Message(role="assistant", text=json.dumps(drafts) if text is None else text)
    return ModelCall(
        role="proposer",
        model="m",
        request=request.model_dump(mode="json", exclude={"sampling"}, exclude_defaults=True),
        response=ChatReply(message=message).model_dump(mode="json"),
        prompt_token_ids=(1, 2),
        output_token_ids=(3, 4),
        log_probabilities=(-0.5, -0.25),
        sampling={"temperature": 1.0, "top_p": 1.0},
        terms="own",
    )


def said(number: int) -> str:
    return a_task(number).instruction


def filled(place: Path, calls: Sequence[ModelCall], reason: str = "no solution") -> Records:
    """A round of five tasks: 0 solved once in two, 1 twice in two, 2 never in two, 3 refused."""
    records = opened(place)
    tasks: list[tuple[Task, str | None]] = [
        (a_task(number), reason if number == REFUSED else None) for number in range(5)
    ]
    records.tasks.add_proposals(RUN, 0, tasks, SplitRule())
    solved = {0: (True, False), 1: (True, True), 2: (False, False)}
    slots = [(number, success) for number, each in solved.items() for success in each]
    for slot, (number, success) in enumerate(slots):
        spec = a_spec(slot, a_task(number))
        outcome = an_outcome(spec, success=success)
        assert outcome.trajectory is not None
        trajectory = outcome.trajectory.model_copy(update={"model_calls": attempted(["a", "b"])})
        records.attempts.record(spec, outcome.model_copy(update={"trajectory": trajectory}))
    records.role_calls.save(RUN, 0, "propose", calls)
    return records


def found(records: Records) -> tuple[list[float | None], list[Refusal]]:
    """The rewards of the only group, and what was refused."""
    refusals: list[Refusal] = []
    groups = list(proposed_groups(records, (RUN,), refusals, lambda _, __: None))
    return [member.reward for group in groups for member in group.rollouts], refusals


def test_a_task_is_worth_most_where_half_of_the_attempts_solve_it() -> None:
    # exp(-(s - 0.5)² / (2 · 0.2²)) at s = 0.5, 1 and 0; what was refused is worth nothing.
    task = a_task(0)
    certain = math.exp(-(0.5**2) / (2 * 0.2**2))
    assert worth([Proposed(task, None, 1, 2)]) == 1.0
    assert worth([Proposed(task, None, 2, 2)]) == pytest.approx(certain) == pytest.approx(0.0439369)
    assert worth([Proposed(task, None, 0, 2)]) == pytest.approx(certain)
    assert worth([Proposed(task, "no solution", 0, 0)]) == 0.0
    assert worth([Proposed(task, None, 1, 2), Proposed(task, "x", 0, 0)]) == 0.5
    assert worth([Proposed(task, None, 0, 0)]) is None
    assert worth([Proposed(task, None, 0, 0), Proposed(task, None, 1, 2)]) == 1.0


def test_a_reply_is_worth_the_mean_of_its_tasks(tmp_path: Path) -> None:
    calls = (
        reply(said(0), said(REFUSED)),
        reply(f"  {said(1)}\n"),
        reply(said(NOT_TRIED)),
    )
    with filled(tmp_path / "ws", calls) as records:
        rewards, refusals = found(records)
    assert rewards == [0.5, pytest.approx(0.0439369, abs=1e-6), None]
    assert not refusals


@pytest.mark.parametrize(
    ("call", "reason", "why"),
    [
        (reply(text="I have no idea."), "no solution", "no draft"),
        (reply(said(0), "carry what nobody knows"), "no solution", "a draft that is not on record"),
        (reply(said(REFUSED)), "reserved for heldout", "a reserved task"),
    ],
)
def test_replies_that_say_nothing_are_refused_with_the_reason(
    tmp_path: Path, call: ModelCall, reason: str, why: str
) -> None:
    with filled(tmp_path / "ws", (call, reply(said(0))), reason) as records:
        rewards, refusals = found(records)
    assert rewards == [1.0]
    assert [each.reason for each in refusals] == [why]


def test_they_are_exported_as_groups_with_advantages_within_the_round(tmp_path: Path) -> None:
    calls = (reply(said(0)), reply(said(2)), reply(text="nothing"))
    request = ExportRequest((RUN,), "trl-grpo-replay", view="proposals", estimator="rloo")
    with filled(tmp_path / "ws", calls) as records:
        report = export(records, request, tmp_path / "out")
    assert report.rows == 2 and report.refused == {"no draft": 1}
    lines = (tmp_path / "out" / "data.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[JsonObject] = [json.loads(line) for line in lines]
    assert [row["prompt_ids"] for row in rows] == [[1, 2], [1, 2]]
    rated = (tmp_path / "out" / "advantages.jsonl").read_text(encoding="utf-8").splitlines()
    values = [json.loads(line)["value"] for line in rated]
    assert values == [pytest.approx(0.9560631, abs=1e-6), pytest.approx(-0.9560631, abs=1e-6)]


def test_replies_without_terms_of_other_rounds_and_of_tenants_do_not_leave(tmp_path: Path) -> None:
    termless = reply(said(2)).model_copy(update={"terms": None, "model": "stranger"})
    request = ExportRequest((RUN,), "trl-grpo-replay", view="proposals")
    with filled(tmp_path / "ws", (reply(said(0)), reply(said(1)), termless)) as records:
        report = export(records, request, tmp_path / "out")
        assert (report.rows, report.refused) == (2, {"unknown terms": 1})
        for other in (
            request._replace(rounds=(1, 2)),
            request._replace(scope=Scope(tenant="acme")),
        ):
            with pytest.raises(NothingToExportError):
                export(records, other, tmp_path / "none")


def rated(folder: Path) -> list[tuple[str, float]]:
    """Of each row, the group and the advantage that is trained with."""
    rows = (folder / "data.jsonl").read_text(encoding="utf-8").splitlines()
    values = (folder / "advantages.jsonl").read_text(encoding="utf-8").splitlines()
    found = [(json.loads(row), json.loads(value)) for row, value in zip(rows, values, strict=True)]
    assert {value["estimator"] for _, value in found} == {ESTIMATORS["hierarchical"].id}
    return [(row["group_id"], value["value"]) for row, value in found]


def test_proposers_and_their_solvers_are_exported_on_a_level_each(tmp_path: Path) -> None:
    # Worth of the replies: 0.5 (a task solved by half, and one refused), U(1), 0 (refused).
    calls = (reply(said(0), said(REFUSED)), reply(said(1)), reply(said(REFUSED)))
    with filled(tmp_path / "ws", calls) as records:
        for view in ("proposals", "groups", "levels"):
            request = ExportRequest((RUN,), "trl-grpo-replay", view=view, estimator="hierarchical")
            export(records, request, tmp_path / view)
    certain = math.exp(-(0.5**2) / (2 * 0.2**2))
    mean = (0.5 + certain) / 3
    deviation = math.sqrt(((0.5 - mean) ** 2 + (certain - mean) ** 2 + mean**2) / 2)
    proposers = rated(tmp_path / "proposals")
    assert len({group for group, _ in proposers}) == 1
    assert [value for _, value in proposers] == [
        pytest.approx((worth - mean) / (deviation + 1e-4)) for worth in (0.5, certain, 0.0)
    ]
    # Of the three tasks that were tried, attempts differ at the first alone.
    apart = 0.5 / (math.sqrt(0.5) + 1e-4)
    solvers = rated(tmp_path / "groups")
    assert [group for group, _ in solvers] == [
        f"group-task-{number}" for number in (0, 0, 1, 1, 2, 2)
    ]
    assert [value for _, value in solvers] == [pytest.approx(apart), pytest.approx(-apart)] + [
        0.0
    ] * 4
    # One export holds both, so that one training compares each with its own.
    assert rated(tmp_path / "levels") == [*solvers, *proposers]
