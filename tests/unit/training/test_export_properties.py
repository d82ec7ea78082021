"""What holds of every export: rows are what calls recorded, masks what the model drew, and nothing
that is kept for evaluation ever leaves."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.errors import MissingExtraError, UsageError
from agentlab.records import Records
from agentlab.training.exporting import FORMATS, VIEWS, ExportRequest, ViewName, export
from agentlab.training.formats.traces import OpenEnvTrace, VerifiersTrace
from agentlab.training.formats.trl import TrlGrpoReplay, TrlSft
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Demonstration, Group
from agentlab.training.views.hinted import hinted
from agentlab.training.views.reflections import repairs
from agentlab.types import AttemptKind, ModelCall, Score, Split, SplitRule, Trajectory
from tests.unit.records.samples import RUN, a_spec, a_task, an_outcome, opened
from tests.unit.training.attempts import calls, rollout
from tests.unit.training.test_retold_views import LESSON, hint_group, tried_again

MARK = 100
"""The first token that a call drew says which call it was."""
ids = st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple)


@st.composite
def drawn_rollouts(draw: st.DrawFn, name: str = "r") -> Rollout:
    """Rollouts whose calls continue each other or fork, in tokens."""
    places = [f"p{n}" for n in range(draw(st.integers(1, 5)))]
    made: list[ModelCall] = []
    held: tuple[int, ...] = ()
    for call in calls(places):
        more = draw(ids)
        prompt = held + more if draw(st.booleans()) else more
        output = (MARK + len(made), *draw(ids))
        log_probabilities = tuple(-0.01 * (n + 1) for n in range(len(output)))
        made.append(
            call.model_copy(
                update={
                    "prompt_token_ids": prompt,
                    "output_token_ids": output,
                    "log_probabilities": log_probabilities,
                }
            )
        )
        held = prompt + output
    reward = float(draw(st.booleans()))
    return rollout(name, places, reward=reward)._replace(calls=tuple(made))


def exact(rollout_: Rollout, row: list[int], mask: list[bool]) -> None:
    """The row is prompts and outputs of calls, one after another, and the mask their outputs."""
    learnt = [False] * len(row)
    for at, token in enumerate(row):
        if token < MARK or not mask[at]:
            continue
        call = rollout_.calls[token - MARK]
        assert call.output_token_ids is not None
        end = at + len(call.output_token_ids)
        assert tuple(row[:at]) == call.prompt_token_ids
        assert tuple(row[at:end]) == call.output_token_ids
        learnt[at:end] = [True] * len(call.output_token_ids)
    assert learnt == mask and any(mask)


@given(drawn_rollouts())
def test_rows_are_exact_concatenations_and_masks_what_was_drawn(made: Rollout) -> None:
    total = 0
    for row in TrlSft().rows(Demonstration(made, (1.0,) * len(made.calls))):
        labels = cast("list[int]", row["labels"])
        tokens = cast("list[int]", row["input_ids"])
        mask = [label != -100 for label in labels]
        exact(made, tokens, mask)
        assert [t for t, m in zip(tokens, mask, strict=True) if m] == [
            label for label in labels if label != -100
        ]
        total += sum(mask)
    assert total == sum(len(call.output_token_ids or ()) for call in made.calls)


@given(drawn_rollouts("one"), drawn_rollouts("two"))
def test_groups_traces_and_rows_say_the_same(one: Rollout, two: Rollout) -> None:
    group = Group("g", (one, two))
    rows = list(TrlGrpoReplay().rows(group))
    for row in rows:
        whose = one if row["rollout_id"] == "one" else two
        prompt = cast("list[int]", row["prompt_ids"])
        mask = [False] * len(prompt) + [bool(m) for m in cast("list[int]", row["env_mask"])]
        exact(whose, prompt + cast("list[int]", row["completion_ids"]), mask)
        assert sum(mask) == len(cast("list[float]", row["logprobs"]))
    traced = sum(
        sum(cast("list[int]", turn["loss_mask"]))
        for trace in OpenEnvTrace().rows(group)
        for turn in cast("list[dict[str, Any]]", trace["turns"])
    )
    graphed = sum(
        sum(cast("list[bool]", node["mask"]))
        for trace in VerifiersTrace().rows(group)
        for node in cast("list[dict[str, Any]]", trace["nodes"])
    )
    assert traced == graphed == sum(sum(cast("list[int]", row["env_mask"])) for row in rows)


@given(drawn_rollouts(), st.data())
def test_a_masked_call_counts_in_no_format(made: Rollout, data: st.DataObject) -> None:
    weights = tuple(
        float(w)
        for w in data.draw(
            st.lists(st.booleans(), min_size=len(made.calls), max_size=len(made.calls))
        )
    )
    if not any(weights):
        return
    expected = sum(
        len(call.output_token_ids or ())
        for call, weight in zip(made.calls, weights, strict=True)
        if weight
    )
    shown = Demonstration(made, weights)
    labels = [x for row in TrlSft().rows(shown) for x in cast("list[int]", row["labels"])]
    assert sum(label != -100 for label in labels) == expected
    (trace,) = OpenEnvTrace().rows(shown)
    turns = cast("list[dict[str, Any]]", trace["turns"])
    assert sum(sum(turn["loss_mask"]) for turn in turns) == expected


@given(st.lists(st.booleans(), min_size=2, max_size=5))
def test_no_view_leaves_a_hint_or_a_reflection_in_what_is_learnt(passed: list[bool]) -> None:
    made = [tried_again(f"r{n}", passed=won) for n, won in enumerate(passed)]
    shown = [str(call.request) for each in repairs(made, []) for call in each.rollout.calls]
    groups = hinted(hint_group(wins=tuple(passed)), [], lambda _: LESSON)
    shown += [str(call.request) for g in groups for each in g.rollouts for call in each.calls]
    assert not any(LESSON in text for text in shown)


PLACES = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 8, 9]),
        st.sampled_from(["practice", "shadow", "evaluation", "production"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)
SPLITS: dict[int, Split] = {8: "dev", 9: "heldout"}


def recorded(records: Records, places: list[tuple[int, AttemptKind, bool]]) -> set[str]:
    """Records attempts at tasks of every split and kind; the ids of those that may leave."""
    tasks = {n: a_task(n, split=SPLITS.get(n, "practice")) for n, _, _ in places}
    records.tasks.add_proposals(RUN, 0, [(task, None) for task in tasks.values()], SplitRule())
    free: set[str] = set()
    for slot, (number, kind, success) in enumerate(places):
        task = tasks[number]
        if task.split != "practice" and kind not in ("evaluation", "production"):
            kind = "evaluation"
        spec = a_spec(slot, task, kind=kind)
        outcome = an_outcome(spec, success=success)
        assert outcome.trajectory is not None
        said = calls(["a", "b" if success else "x"])
        marked = tuple(
            call.model_copy(update={"policy_end": f"split-{task.split}-{kind}"}) for call in said
        )
        trajectory = Trajectory(
            initial=outcome.trajectory.initial,
            steps=outcome.trajectory.steps,
            model_calls=marked,
        )
        records.attempts.record(
            spec,
            outcome.model_copy(
                update={
                    "trajectory": trajectory,
                    "score": Score(value=float(success), success=success),
                }
            ),
        )
        if task.split == "practice" and kind == "practice":
            free.add(spec.id)
    return free


@given(PLACES)
@settings(max_examples=8)
def test_nothing_kept_for_evaluation_ever_appears(
    places: list[tuple[int, AttemptKind, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "ws") as records:
        free = recorded(records, places)
        for number, (name, form) in enumerate(FORMATS.items()):
            fitting: list[ViewName] = [v for v, kind in VIEWS.items() if kind in form.takes]
            view = fitting[len(places) % len(fitting)]
            out = Path(folder) / str(number)
            try:
                export(records, ExportRequest((RUN,), name, view=view), out)
            except (UsageError, MissingExtraError):
                assert not out.exists()
                continue
            for line in (out / "provenance.jsonl").read_text(encoding="utf-8").splitlines():
                origin = json.loads(line)
                assert set(origin["rollouts"]) <= free
                assert origin["split"] == "practice"
                assert set(origin["policies"]) <= {"split-practice-practice"}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_each_format_spells_what_its_first_view_gives(name: str, tmp_path: Path) -> None:
    with opened(tmp_path / "ws") as records:
        recorded(records, [(0, "practice", True), (0, "practice", False), (1, "practice", True)])
        try:
            report = export(records, ExportRequest((RUN,), name), tmp_path / "out")
        except MissingExtraError:
            pytest.skip("pyarrow is not installed: pip install 'agentlab-practice[export]'")
    data = (tmp_path / "out" / report.data).read_bytes()
    assert report.rows > 0 and data
    beside = (tmp_path / "out" / "provenance.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(beside) == report.rows
