"""`agentlab evaluators`: the list, and a judge measured from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agentlab.cli.evaluators import FLOOR, evaluators
from agentlab.config import PracticeConfig, load_config
from agentlab.graph.judges import judge_refusal
from agentlab.graph.seats import open_seats
from agentlab.records import Records, Workspace
from agentlab.records.calibrations import KAPPA_FLOOR, Calibrations
from tests.unit.analysis.test_calibration import keep
from tests.unit.records.samples import RUN, opened

RULE = "scripted:tests.unit.analysis.test_calibration:reader"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("judged") / "ws"
    with opened(place) as records:
        for number in range(24):
            keep(records, number, 10 * number, number % 2 == 0)
        keep(records, 50, 9, True, split="heldout")
    return place


def called(*arguments: str) -> Result:
    return CliRunner().invoke(evaluators, list(arguments))


def test_the_floor_is_the_records() -> None:
    assert FLOOR == KAPPA_FLOOR


def test_the_list(tmp_path: Path) -> None:
    done = called("list", "--workspace", str(tmp_path / "none"), "--display", "plain")
    assert done.exit_code == 0, done.output
    for name in ("judge", "jury", "verifier"):
        assert f"  {name} " in done.output
    assert done.output.splitlines()[-1].startswith("Next: agentlab evaluators calibrate judge")
    assert not (tmp_path / "none").exists()


def test_a_judge_is_measured(workspace: Path) -> None:
    words = ("calibrate", "judge", "--model", RULE, "--workspace", str(workspace))
    done = called(*words, "--run", RUN, "--heldout", "--display", "plain")
    assert done.exit_code == 0, done.output
    assert "judge in town, against the verifier" in done.output
    assert re.search(r"kappa +1\.00 +0\.72 to 1\.00 +24 +agreement beyond chance", done.output)
    assert re.search(r"precision +100% +76% to 100% +12 ", done.output)
    assert "judge in town, on held-out tasks, reported only" in done.output
    assert "24 attempts at 24 tasks: both say success 12, the judge alone 0" in done.output
    assert "may admit items and label exports in this environment" in done.output
    assert "Next: agentlab practice town --model scripted:" in done.output
    listed = called("list", "--workspace", str(workspace), "--display", "plain")
    assert "1.00 (0.72 to 1.00)" in listed.output


def test_the_document(workspace: Path) -> None:
    words = ("calibrate", "judge", "--model", RULE, "--workspace", str(workspace), "--json")
    done = called(*words, "--samples", "1", "--limit", "4", "--floor", "0.9")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["figures"]["attempts"] == 4
    assert found["identity"]["samples"] == 1
    assert found["allowed"] is False
    assert "below the floor 0.90" in found["why_not"]
    listed = json.loads(called("list", "--workspace", str(workspace), "--json").stdout)
    assert {each["name"] for each in listed["evaluators"]} >= {"judge", "jury", "verifier"}
    assert found["judge"] in [each["judge"] for each in listed["calibrations"]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("judge",), "Missing option '--model'"),
        (("jugde", "--model", RULE), "Did you mean 'judge'"),
        (("verifier", "--model", RULE), "is what judges are measured by"),
        (("judge", "--model", "opnai:x"), "no kind of model named 'opnai'"),
        (("judge", "--model", RULE, "--run", "none"), "There is no run named 'none'"),
        (("judge", "--model", RULE, "--limit", "0"), "0 is not in the range"),
    ],
)
def test_what_was_asked_for_wrongly(workspace: Path, words: tuple[str, ...], says: str) -> None:
    done = called("calibrate", *words, "--workspace", str(workspace))
    assert done.exit_code == 2
    assert says in done.output
    assert "Traceback" not in done.output


CONFIGURED = f"""
environment = "town"
model = "{RULE}"
judge_floor = 0.5

[roles.evaluator]
temperature = 0.2
max_tokens = 900

[roles.stronger]
model = "{RULE}"
temperature = 0.9
"""


def test_a_run_accepts_the_judge_that_its_config_describes(workspace: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(CONFIGURED)
    config = load_config(path)
    place = Workspace.open(workspace)
    with opened(workspace) as records:
        assert "never measured" in (refusal_in(config, records) or "")
    # The same models, drawn from in another way, are another judge.
    plain = called("calibrate", "judge", "--model", RULE, "--stronger", RULE, *at(workspace))
    other = called(
        "calibrate", "judge", *at(workspace), "--config", str(path), "--temperature", "0.3"
    )
    assert plain.exit_code == other.exit_code == 0, plain.output + other.output
    with opened(workspace) as records:
        assert "never measured" in (refusal_in(config, records) or "")
    done = called("calibrate", "judge", "--config", str(path), *at(workspace), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["floor"] == 0.5
    assert found["identity"]["temperature"] == 0.2
    assert found["identity"]["max_tokens"] == 900
    assert Calibrations(place).get(found["judge"], "town") is not None
    with opened(workspace) as records:
        assert refusal_in(config, records) is None
    # A jury takes no temperature of its own, and its models obey the role's all the same.
    jury = called("calibrate", "jury", "--config", str(path), *at(workspace), "--json")
    assert jury.exit_code == 0, jury.output
    said = json.loads(jury.stdout)["identity"]
    assert said["sampling"]["evaluator"] == {"temperature": 0.2, "max_tokens": 900}
    assert said["sampling"]["stronger"] == {"temperature": 0.9}


def test_flags_say_what_a_config_says(workspace: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f'model = "{RULE}"\n[roles.evaluator]\ntemperature = 0.4\nmax_tokens = 800\n')
    flags = ("--model", RULE, "--temperature", "0.4", "--max-tokens", "800")
    digests = {
        json.loads(called("calibrate", "judge", *words, *at(workspace), "--json").stdout)["judge"]
        for words in (flags, ("--config", str(path)))
    }
    assert len(digests) == 1
    shown = called("calibrate", "judge", *flags, *at(workspace), "--display", "plain")
    assert "evaluator.temperature = 0.4, evaluator.max_tokens = 800" in shown.output


def test_a_config_without_a_judge(workspace: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('model = "search"\n')
    done = called("calibrate", "judge", "--config", str(path), *at(workspace))
    assert done.exit_code == 2
    assert "names no chat model that judges" in done.output


def at(workspace: Path) -> tuple[str, ...]:
    return ("--workspace", str(workspace), "--limit", "24")


def refusal_in(config: PracticeConfig, records: Records) -> str | None:
    """What a run of the config would say of its judge."""
    seats = open_seats(config)
    assert seats is not None
    return judge_refusal(config, seats, records.workspace)
