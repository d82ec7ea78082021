"""Whether token ids can be believed, and what draws have no true importance ratio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from agentlab.errors import ConfigError
from agentlab.models.replies import spells
from agentlab.models.vocabulary import read_vocabulary, template_hash
from agentlab.training.exporting import ExportRequest, export
from agentlab.training.refusals import RefusedError
from agentlab.training.tokens import check_ids, off_policy, token_call
from agentlab.types import AttemptOutcome, SplitRule, Trajectory
from tests.unit.records.samples import RUN, a_spec, a_task, an_outcome, opened
from tests.unit.training.attempts import calls, rollout

WORDS = ["[UNK]", "Task:", "go.", "go", '{"to":"x"}', "x", "wrong"]


def folder(path: Path) -> Path:
    """A model's folder with a tokenizer of whole words."""
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    made: Any = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.save(str(path / "tokenizer.json"))
    (path / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    return path


def test_a_reply_is_what_was_drawn_or_its_ids_are_not_believed(tmp_path: Path) -> None:
    known = read_vocabulary(folder(tmp_path))
    assert known.chat_template_sha256 == template_hash("{{ messages }}")
    (call,) = calls(["x"])
    told = call.model_copy(
        update={
            "prompt_token_ids": (1, 2),
            "output_token_ids": (3, 5),
            "log_probabilities": (-0.1, -0.2),
        }
    )
    one = rollout("r", ["x"])
    (right,) = check_ids(one._replace(calls=(told,)), known).calls
    assert right.ids_verified and right.tokenizer_sha256 == known.tokenizer_sha256
    assert token_call(right).output == (3, 5)
    lied = told.model_copy(update={"output_token_ids": (3, 6)})
    (wrong,) = check_ids(one._replace(calls=(lied,)), known).calls
    with pytest.raises(RefusedError, match="not verified"):
        token_call(wrong)


def test_a_folder_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no tokenizer that can be read"):
        read_vocabulary(tmp_path / "none")


def test_what_a_parser_does_to_a_reply_is_no_lie() -> None:
    drawn = '<tool_call>{"name": "go", "arguments": {"to": "the \\"shed\\""}}</tool_call>'
    assert spells(drawn, "", [("go", '{"to":"the \\"shed\\""}')])
    assert not spells(drawn, "", [("go", '{"to":"the barn"}')])
    assert not spells(drawn, "I am there.", [])
    # A reply leaves out marks of the vocabulary and bytes that make no letter; nothing else.
    assert spells("go <|pad|>north\ufffd\ufffd</s>", "go north\ufffd", [])
    assert not spells("go <|pad|>south", "go north", [])


@pytest.mark.parametrize(
    ("sampling", "why"),
    [
        ({"temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0, "tool_choice": "auto"}, None),
        ({}, None),
        ({"temperature": None}, "unknown sampling"),
        ({"temperature": 0}, "greedy sampling"),
        ({"temperature": 0.7}, "tempered sampling"),
        ({"top_p": 0.9}, "truncated sampling"),
        ({"top_k": 20}, "truncated sampling"),
        ({"min_p": 0.1}, "truncated sampling"),
        ({"repetition_penalty": 1.1}, "penalised sampling"),
        ({"guided_json": {"type": "object"}}, "constrained sampling"),
        ({"tool_choice": "required"}, "constrained sampling"),
    ],
)
def test_draws_without_a_true_ratio_are_named(sampling: dict[str, Any], why: str | None) -> None:
    found = off_policy(sampling)
    assert (found[0] if found else None) == why


def test_rows_of_two_templates_are_not_mixed(tmp_path: Path) -> None:
    with opened(tmp_path / "ws") as records:
        tasks = [a_task(number) for number in (0, 1, 2)]
        records.tasks.add_proposals(RUN, 0, [(task, None) for task in tasks], SplitRule())
        for slot, task in enumerate(tasks):
            spec = a_spec(slot, task)
            outcome: AttemptOutcome = an_outcome(spec)
            assert outcome.trajectory is not None
            template = "b" * 64 if slot == 1 else "a" * 64
            marked = tuple(
                call.model_copy(update={"chat_template_sha256": template}) for call in calls(["a"])
            )
            kept = Trajectory(
                initial=outcome.trajectory.initial,
                steps=outcome.trajectory.steps,
                model_calls=marked,
            )
            records.attempts.record(spec, outcome.model_copy(update={"trajectory": kept}))
        report = export(records, ExportRequest((RUN,), "trl-sft"), tmp_path / "out")
        words = export(records, ExportRequest((RUN,), "chat"), tmp_path / "chat")
    assert report.refused == {"mixed templates": 1}
    assert report.chat_template_sha256 == "a" * 64
    assert report.rows == 2 and words.rows == 3
    written = json.loads((tmp_path / "out" / "export.json").read_text(encoding="utf-8"))
    assert written["chat_template_sha256"] == "a" * 64 and len(written["data_sha256"]) == 64
