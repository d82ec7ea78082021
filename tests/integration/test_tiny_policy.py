"""Practice through the local server: what is recorded of a policy's calls can be trained on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

import agentlab
from agentlab.cli.main import cli
from agentlab.records import Records, Workspace
from agentlab.serve.starting import environment
from agentlab.training.rollouts import rollouts
from agentlab.training.tokens import behaviour_rows
from examples.tiny_policy.lucky import luck
from examples.tiny_policy.make import QUICK, digest_of, make
from examples.tiny_policy.measure import config_for, measure
from tests.integration.served_model import ROOT, Running, make_policy, serving
from tests.required import trainers_python

# Torch is imported several times, which takes long beside other work.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_policy(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def server(policy: Path) -> Generator[Running]:
    with serving(policy, "--name", "tiny") as running:
        yield running


@pytest.fixture(scope="module")
def practised(server: Running, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    workspace = tmp_path_factory.mktemp("practised") / "ws"
    config = config_for("tiny", server.url, temperature=1.0, seed=3).model_copy(
        update={
            "rounds": 1,
            "proposals": 60,
            "attempts": 8,
            "group": 4,
            "heldout": 0,
            "proposer": "grammar",
            "curator": "generalise",
            "insights": "none",
        }
    )
    return workspace, agentlab.practice(config, workspace=workspace).run_id


def test_every_call_is_recorded_with_ids_and_log_probabilities(
    practised: tuple[Path, str], policy: Path
) -> None:
    tokenizer = Tokenizer.from_file(str(policy / "tokenizer.json"))
    workspace, run = practised
    with Records.open(Workspace.open(workspace, create=False)) as records:
        found = list(rollouts(records, [run]))
    # Attempts whose first reply is an answer have no steps, and are left out.
    assert 4 <= len(found) <= 8 and len({rollout.group_id for rollout in found}) <= 2
    for rollout in found:
        for call in rollout.calls:
            assert call.prompt_token_ids and call.output_token_ids and call.log_probabilities
            assert len(call.output_token_ids) == len(call.log_probabilities)
            assert all(value <= 0 for value in call.log_probabilities)
            assert call.sampling["temperature"] == 1.0
            text = tokenizer.decode(list(call.prompt_token_ids), skip_special_tokens=False)
            assert rollout.task.instruction in text
        # The template only adds, and what was drawn is sent back as it was drawn wherever it was a
        # call that could be read: such a conversation is one row, with every drawn token in it.
        rows = behaviour_rows(rollout)
        if all(call.response["stop_reason"] == "tool_calls" for call in rollout.calls):
            assert len(rows.rows) == 1
    assert any(len(rollout.calls) > 2 for rollout in found)


def test_the_same_words_in_another_world_are_another_task(practised: tuple[Path, str]) -> None:
    """They are the environment's, and no model repeated itself."""
    workspace, run = practised
    with Records.open(Workspace.open(workspace, create=False)) as records:
        tasks = records.tasks.all(run, 0, admitted=True)
    assert len(tasks) == 60
    assert len({task.instruction for task in tasks}) < 50


def test_groups_are_exported_for_replay(practised: tuple[Path, str], tmp_path: Path) -> None:
    workspace, run = practised
    words = ["export", run, "--format", "trl-grpo-replay", "--out", str(tmp_path / "out")]
    words += ["--workspace", str(workspace), "--terms", "tiny=own", "--json"]
    found = CliRunner().invoke(cli, words)
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["rows"] > 0


def test_the_same_seed_measures_the_same(server: Running, tmp_path: Path) -> None:
    """Attempts run side by side and bring their own seeds, so order does not matter."""

    def once(name: str) -> list[Any]:
        rows = measure(["tiny"], server.url, workspace=tmp_path / name, tasks=6, split="dev")
        return [(row.drawn, row.report.success_rate, row.report.n) for row in rows]

    first = once("one")
    assert [n for _, _, n in first] == [6, 6, 6]
    assert once("two") == first


def test_a_policy_is_made_once_and_depends_on_what_made_it(policy: Path, tmp_path: Path) -> None:
    cache = policy.parent.parent / "policies"
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    again = make(tmp_path / "again", QUICK, cache=cache)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja"):
        assert (again / name).read_bytes() == (policy / name).read_bytes()
    names = {
        digest_of(recipe, versions)
        for recipe in (QUICK, QUICK._replace(seed=1), QUICK._replace(steps=9))
        for versions in ({"torch": "1"}, {"torch": "2"})
    }
    assert len(names) == 6


CHECKS = """
import sys
from pathlib import Path
from transformers import AutoTokenizer
from trl import chat_template_utils as checks
from examples.tiny_policy import vocabulary
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], local_files_only=True)
assert checks.has_generation_markers(tokenizer.chat_template)
assert checks.supports_tool_calling(tokenizer)
assert checks.is_chat_template_prefix_preserving(tokenizer)
assert checks.is_chat_template_stop_token_trained(tokenizer)
assert checks.get_training_chat_template(tokenizer) is None, "TRL would take another template"
for text in ("⟦Open the red chest.⟧", "Ünïcode 漢字 \\t  two  spaces\\n", '{"name": "go", "x": 1}'):
    assert tokenizer.decode(tokenizer.encode(text)) == text, text
"""


def test_the_template_is_one_that_trl_trains_with(policy: Path) -> None:
    interpreter = str(trainers_python())
    variables = {**environment(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    made = subprocess.run(
        [interpreter, "-c", CHECKS, str(policy)],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr


def test_what_luck_would_have_passed() -> None:
    won, lost, tie = (False, True), (True, False), (True, True)
    # Seven of eight: p = 9/256, which whoever reads p-values believes and the gate does not.
    early = [*[won] * 6, lost, won, *[tie] * 10, *[lost] * 6]
    found = luck(early, orders=400)
    assert found.first == (8, 7, 1, 9 / 256)
    assert (found.wins, found.losses) == (7, 7)
    assert 0 <= found.promoted < found.peeked < 40 and found.luckiest is not None
    assert luck([tie] * 20, orders=5).told.endswith("and the gate 0.0% (0.0% to 43.4%).")
