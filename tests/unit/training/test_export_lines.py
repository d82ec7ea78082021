"""What stands beside a row is that row's own: origin, advantage, language, in every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentlab.errors import NothingToExportError
from agentlab.records import Records
from agentlab.training.choosing import to_know
from agentlab.training.exporting import ExportReport, ExportRequest, export
from agentlab.training.formats.traces import OpenEnvTrace, VerifiersTrace
from agentlab.training.refusals import RefusedError
from agentlab.training.rollouts import rollouts
from agentlab.training.samples import Group
from agentlab.training.tries import single
from agentlab.types import Scope, Score, SplitRule, Trajectory
from tests.unit.records.samples import RUN, a_spec, a_task, an_outcome, opened
from tests.unit.training.attempts import calls, rollout

TRACES = ("openenv", "verifiers")


def record(
    records: Records,
    attempts: list[tuple[int, bool]],
    *,
    templates: tuple[str, ...] = (),
    assisted: bool = False,
    scope: str = "",
) -> list[str]:
    """Records attempts as (task, success), each under its chat template; their ids."""
    tasks = {number: a_task(number) for number, _ in attempts}
    records.tasks.add_proposals(RUN, 0, [(task, None) for task in tasks.values()], SplitRule())
    made: list[str] = []
    for slot, (number, success) in enumerate(attempts):
        spec = a_spec(slot, tasks[number]).model_copy(update={"scope": scope})
        outcome = an_outcome(spec, success=success)
        template = templates[slot] if templates else "t"
        said = tuple(
            call.model_copy(update={"tokenizer_sha256": "k", "chat_template_sha256": template})
            for call in calls(["a", "b" if success else "x"])
        )
        assert outcome.trajectory is not None
        trajectory = Trajectory(
            initial=outcome.trajectory.initial, steps=outcome.trajectory.steps, model_calls=said
        )
        score = Score(value=float(success), success=success)
        changed = {"trajectory": trajectory, "score": score, "assisted": assisted}
        records.attempts.record(spec, outcome.model_copy(update=changed))
        made.append(spec.id)
    return made


def exported(records: Records, form: str, out: Path, **more: Any) -> ExportReport:
    return export(records, ExportRequest((RUN,), form, **more), out)


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    text = (folder / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("form", [*TRACES, "trl-grpo-replay"])
def test_each_row_of_a_group_has_its_own_origin_and_advantage(form: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with opened(tmp_path / "ws") as records:
        made = record(records, [(0, True), (0, False), (0, False)])
        report = exported(records, form, out, view="groups", estimator="rloo")
    assert [line["rollouts"] for line in lines(out, "provenance")] == [[id_] for id_ in made]
    assert [line["value"] for line in lines(out, "advantages")] == [1.0, -0.5, -0.5]
    # Of 7 tokens of each row the policy drew 4, whatever the row is spelt like.
    assert (report.tokens, report.trained, report.clean, report.forks) == (21, 12, 3, 0)
    assert report.ratios.startswith("said by the trainer")


def test_a_row_for_a_group_has_the_advantages_of_all_of_it(tmp_path: Path) -> None:
    with opened(tmp_path / "ws") as records:
        made = record(records, [(0, True), (0, False)])
        exported(records, "art", tmp_path / "out", estimator="dr-grpo")
    (line,) = lines(tmp_path / "out", "advantages")
    assert line["rollouts"] == {made[0]: {"value": 0.5}, made[1]: {"value": -0.5}}


@pytest.mark.parametrize("form", [*TRACES, "art", "trl-grpo-replay"])
def test_token_ids_of_two_chat_templates_are_not_mixed(form: str, tmp_path: Path) -> None:
    with opened(tmp_path / "ws") as records:
        record(
            records,
            [(0, True), (0, False), (1, True), (1, False)],
            templates=("one", "one", "other", "other"),
        )
        report = exported(records, form, tmp_path / "out", view="groups")
    assert report.refused == {"mixed templates": 1}
    assert report.chat_template_sha256 == "one"


def test_what_is_a_tenants_leaves_only_where_it_is_named(tmp_path: Path) -> None:
    with opened(tmp_path / "ws") as records:
        made = record(records, [(0, True), (0, False)], scope="acme")
        for scope in ("", "acme/ann", "other"):
            with pytest.raises(NothingToExportError):
                exported(records, "trl-kto", tmp_path / "none", scope=Scope.parse(scope))
        report = exported(records, "trl-kto", tmp_path / "out", scope=Scope(tenant="acme"))
    assert (report.rows, report.scope) == (2, "acme")
    origins = lines(tmp_path / "out", "provenance")
    assert [line["rollouts"] for line in origins] == [[id_] for id_ in made]


def test_rae_takes_tasks_that_were_tried_once(tmp_path: Path) -> None:
    with opened(tmp_path / "ws") as records:
        record(records, [(0, True), (1, False), (2, True)])
        report = exported(records, "trl-grpo-replay", tmp_path / "out", estimator="rae")
        with pytest.raises(NothingToExportError, match="singleton group"):
            exported(records, "trl-grpo-replay", tmp_path / "other", estimator="grpo")
    values = [line["value"] for line in lines(tmp_path / "out", "advantages")]
    assert values == pytest.approx([1.0, -0.05, 1 - 0.0475])
    assert (report.groups, report.alike) == (3, 0)


def test_a_group_of_one_is_refused_alone_and_ends_no_export(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with opened(tmp_path / "ws") as records:
        record(records, [(0, True), (0, False), (1, True)])
        report = exported(records, "verl-rl", tmp_path / "out", estimator="grpo")
    assert (report.rows, report.refused) == (1, {"singleton group": 1})


def test_a_reward_that_was_helped_is_no_groups(tmp_path: Path) -> None:
    with opened(tmp_path / "ws") as records:
        record(records, [(0, True), (0, False)], assisted=True)
        with pytest.raises(NothingToExportError, match="tried again"):
            exported(records, "trl-grpo-replay", tmp_path / "out")
        for each in rollouts(records, [RUN]):
            with pytest.raises(RefusedError, match="had help"):
                single(each)


def test_a_trace_names_the_group_that_a_view_put_it_in() -> None:
    chain = Group("chain-1", (rollout("one", ["a"], of="x"), rollout("two", ["b"], of="y")))
    turns: list[Any] = [row["turns"] for row in OpenEnvTrace().rows(chain)]
    infos: list[Any] = [row["info"] for row in VerifiersTrace().rows(chain)]
    assert {each[0]["metadata"]["group_id"] for each in turns} == {"chain-1"}
    assert {each["group_id"] for each in infos} == {"chain-1"}


def test_what_a_view_leaves_to_the_trainer_is_said(tmp_path: Path) -> None:
    with opened(tmp_path / "ws") as records:
        record(records, [(0, True), (0, False)])
        kept = exported(records, "trl-grpo-replay", tmp_path / "kept", view="replayed")
        other = exported(records, "verifiers", tmp_path / "other", view="replayed")
        plain = exported(records, "trl-grpo-replay", tmp_path / "plain", view="groups")
    (bonus,) = kept.notes
    assert "bonus for turns" in bonus and "0 in a run's first round" in bonus
    # Our own trainer does the rest of the rule, and no other is told of it.
    assert other.notes[0] == bonus and "only rows of `trl-grpo-replay`" in other.notes[1]
    assert plain.notes == () and to_know("hinted", "trl-grpo-replay") == ()
    assert "only rows of `trl-grpo-replay`" in to_know("hinted", "verifiers")[0]
