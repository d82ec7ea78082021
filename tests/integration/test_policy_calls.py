"""What the record of a policy's calls says, whichever version of it a run was pinned to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.models.vocabulary import template_hash
from agentlab.types import ModelCall
from tests.integration.gated_courier import Bench, config

TOKENIZER = (
    '{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, '
    '"post_processor": null, "decoder": null, "truncation": null, "padding": null, '
    '"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}'
)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as made:
        yield made


def practised(bench: Bench, **more: Any) -> list[ModelCall]:
    """The calls of a short run with the policy."""
    short = {"rounds": 1, "proposals": 4, "attempts": 4, "heldout": 0}
    asked = config(admission={"replays": 1, "trials": 2}, **short, **more)
    report = agentlab.practice(asked, workspace=bench.records.workspace.path)
    rows = bench.records.attempts.all(report.run_id, kind="practice")
    found = bench.records.trajectories.outcomes([row.attempt_id for row in rows])
    return [call for each in found if each.trajectory for call in each.trajectory.model_calls]


def test_they_carry_the_digests_of_the_base_that_is_served(bench: Bench) -> None:
    """So a template that is changed after practice is not taken for the one that was asked."""
    (bench.base / "tokenizer.json").write_text(TOKENIZER)
    calls = practised(bench)
    assert calls
    template = (bench.base / "chat_template.jinja").read_text()
    assert {call.chat_template_sha256 for call in calls} == {template_hash(template)}
    tokenizer = hashlib.sha256(TOKENIZER.encode()).hexdigest()
    assert {call.tokenizer_sha256 for call in calls} == {tokenizer}
    # The server's ids are not of this tokenizer, which is therefore what they were checked with.
    assert {call.ids_verified for call in calls} == {False}


def test_a_base_without_a_tokenizer_is_believed_as_before(bench: Bench) -> None:
    calls = practised(bench)
    assert calls
    assert {call.tokenizer_sha256 for call in calls} == {None}


def test_what_a_config_says_of_a_policy_holds_for_the_version_it_is_pinned_to(
    bench: Bench, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").write_text(TOKENIZER)
    about = {"policy:lab": {"terms": "own weights", "tokenizer": str(other)}}
    calls = practised(bench, models=about)
    assert calls
    assert {call.terms for call in calls} == {"own weights"}
    assert {bool(call.tokenizer_sha256) for call in calls} == {True}
