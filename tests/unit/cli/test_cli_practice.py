"""What is printed around a run. The run itself is a canned report here: see the real ones in
`test_cli_commands`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agentlab.cli.main import cli
from agentlab.cli.options import gather_options
from agentlab.cli.practice import practice as practice_command
from agentlab.cli.practice import preflight
from agentlab.config import PracticeConfig, load_config
from agentlab.events import Event
from agentlab.protocols import Observer
from agentlab.types.report import PracticeReport

Replace = Callable[..., None]


class CannedRun:
    """Feeds events to the observers, then reports."""

    def __init__(
        self, report: PracticeReport, events: Sequence[Event] = (), *, interrupted: bool = False
    ) -> None:
        self.report = report
        self.events = events
        self.interrupted = interrupted
        self.config: PracticeConfig | None = None
        self.workspace: Path | None = None

    def __call__(
        self, config: PracticeConfig, *, workspace: Path, observers: Sequence[Observer]
    ) -> PracticeReport:
        self.config, self.workspace = config, workspace
        print("a library writes to stdout")
        for event in self.events:
            for observer in observers:
                observer.notify(event)
        if self.interrupted:
            raise KeyboardInterrupt
        return self.report


def _invoke(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(cli, arguments, env=variables)


def test_json_is_one_document_on_stdout_and_nothing_else(
    replace_module: Replace, practice_report: PracticeReport, run_events: tuple[Event, ...]
) -> None:
    replace_module("agentlab.runner", practice=CannedRun(practice_report, run_events))
    result = _invoke("practice", "courier", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document == practice_report.model_dump(mode="json")
    assert {"run_id", "run_dir", "attempts", "tasks", "skills", "heldout"} <= document.keys()
    assert document["tasks"].keys() == {"proposed", "admitted", "rejected"}
    assert document["tasks"]["rejected"] == {"duplicate": 2, "reserved seed": 2}
    assert document["skills"].keys() == {"admitted", "rejected", "retired", "waiting"}
    heldout = document["heldout"]
    assert heldout["interval"] == [0.66, 0.82]
    assert heldout["baseline"].keys() >= {"success_rate", "n", "interval"}
    assert heldout["difference"] == {"value": 0.5, "interval": [0.4, 0.6], "n": 120}
    assert heldout["skills_used"] == ["deliver"]
    assert heldout["steps"] == 12.5
    assert "a library writes to stdout" in result.stderr
    assert "Round 2 of 2" not in result.stdout
    assert "Round 2 of 5" in result.stderr


def test_the_end_compares_then_lists_skills_then_names_the_next_command(
    replace_module: Replace, practice_report: PracticeReport, run_events: tuple[Event, ...]
) -> None:
    replace_module("agentlab.runner", practice=CannedRun(practice_report, run_events))
    result = _invoke("practice", "courier")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    rows = {line.split("  ")[1]: line.split() for line in lines if line.startswith("  ")}
    assert rows["with the library"][-5:] == ["75%", "66%", "to", "82%", "120"]
    assert rows["empty library"][-5:] == ["25%", "18%", "to", "34%", "120"]
    assert rows["difference"][-5:] == ["+0.50", "+0.40", "to", "+0.60", "120"]
    assert "  failed" not in result.stdout
    assert any("the rates are Wilson's, that of the difference resamples tasks" in x for x in lines)
    assert "A success takes 12 steps in the mean (10 to 15, n=90)." in lines
    comparison = next(i for i, line in enumerate(lines) if "held-out tasks" in line)
    skill = lines.index("  deliver(letter: object, house: object)")
    assert comparison < skill < len(lines) - 1
    assert lines[skill + 1].strip() == "Bring a letter to a house."
    assert lines[-1] == "Next: agentlab skills show deliver"
    assert "Round 2 of 5 done" in result.stderr


def test_attempts_that_failed_are_told_where_there_are_any(
    replace_module: Replace, practice_report: PracticeReport
) -> None:
    heldout = practice_report.heldout
    assert heldout is not None
    assert heldout.baseline is not None
    baseline = heldout.baseline.model_copy(update={"failed": 3})
    changed = heldout.model_copy(update={"baseline": baseline})
    report = practice_report.model_copy(update={"heldout": changed})
    replace_module("agentlab.runner", practice=CannedRun(report))
    lines = _invoke("practice", "courier").stdout.splitlines()
    rows = {line.split("  ")[1]: line.split() for line in lines if line.startswith("  ")}
    assert next(line for line in lines if "95% interval" in line).split()[-2:] == ["n", "failed"]
    assert rows["with the library"][-2:] == ["120", "0"]
    assert rows["empty library"][-2:] == ["120", "3"]
    assert rows["difference"][-1] == "120"


def test_the_next_command_keeps_the_workspace_that_was_named(
    replace_module: Replace, practice_report: PracticeReport, tmp_path: Path
) -> None:
    run = CannedRun(practice_report)
    replace_module("agentlab.runner", practice=run)
    place = tmp_path / "my work"
    result = _invoke("practice", "courier", "--workspace", str(place))
    assert result.stdout.splitlines()[-1].endswith(f"show deliver --workspace '{place}'")
    assert run.workspace == place


def test_display_none_shows_the_result_alone(
    replace_module: Replace, practice_report: PracticeReport, run_events: tuple[Event, ...]
) -> None:
    replace_module("agentlab.runner", practice=CannedRun(practice_report, run_events))
    result = _invoke("practice", "courier", "--display", "none")
    assert result.stderr == ""
    assert "Next: " in result.stdout


def test_file_then_variables_then_flags(
    replace_module: Replace, practice_report: PracticeReport, tmp_path: Path
) -> None:
    run = CannedRun(practice_report)
    replace_module("agentlab.runner", practice=run)
    file = tmp_path / "practice.toml"
    file.write_text(
        'environment = "courier"\nrounds = 2\nattempts = 3\nseed = 4\n'
        "[environment_options]\nsize = 3\n[budget]\nattempts = 9\n",
        encoding="utf-8",
    )
    result = _invoke(
        "practice", "--config", str(file), "--seed", "7", "--budget-seconds", "30",
        "--view", "partial", "--option", "depth=2", "--option", "word=plain",
        "--no-admission", "--no-compose",
        AGENTLAB_PRACTICE_ATTEMPTS="5", AGENTLAB_PRACTICE_SEED="6",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    config = run.config
    assert config is not None
    assert (config.environment, config.rounds, config.attempts, config.seed) == ("courier", 2, 5, 7)
    assert (config.budget.attempts, config.budget.seconds) == (9, 30)
    assert config.environment_options == {
        "size": 3, "view": "partial", "depth": 2, "word": "plain",
    }  # fmt: skip
    assert not config.admission.enabled
    assert not config.compose


def test_the_defaults_in_the_help_are_those_of_the_config() -> None:
    defaults = PracticeConfig().model_dump()
    told = 0
    for parameter in practice_command.params:
        text = getattr(parameter, "help", None) or ""
        if parameter.name in defaults and "[default: " in text:
            said = text.partition("[default: ")[2].partition("]")[0]
            assert said == str(defaults[parameter.name])
            told += 1
    assert told == 17


def test_ctrl_c_names_the_command_that_goes_on(
    replace_module: Replace, practice_report: PracticeReport, run_events: tuple[Event, ...]
) -> None:
    run = CannedRun(practice_report, run_events[:9], interrupted=True)
    replace_module("agentlab.runner", practice=run)
    result = _invoke("practice", "courier", "--json")
    assert result.exit_code == 130
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last == f"Error: Interrupted; `agentlab resume {practice_report.run_id}` goes on."


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [("stopped", "interrupted", 130), ("failed", "", 1), ("stopped", "budget: attempts", 0)],
)
def test_a_run_that_stopped_says_how_to_go_on(
    replace_module: Replace, practice_report: PracticeReport, status: str, reason: str, code: int
) -> None:
    changed = {"status": status, "reason": reason}
    report = PracticeReport.model_validate(practice_report.model_dump() | changed)
    replace_module("agentlab.runner", practice=CannedRun(report))
    result = _invoke("practice", "courier")
    assert result.exit_code == code
    assert result.stdout.splitlines()[-1] == f"Next: agentlab resume {report.run_id}"
    as_json = _invoke("practice", "courier", "--json")
    assert as_json.exit_code == code
    assert json.loads(as_json.stdout)["status"] == status


def test_environment_options_are_json_or_words() -> None:
    gathered: dict[str, Any] = dict(
        gather_options(["a=1", "b=true", "c=x=y", 'd=["e"]', "f="], view="full", toolset="objects")
    )
    assert gathered == {
        "a": 1, "b": True, "c": "x=y", "d": ["e"], "f": "", "view": "full", "toolset": "objects",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "At most 500 attempts in 5 rounds, each of up to 600 tool calls, then 120 held-out "
             "tasks with and without the library. No budget is set."),
        ({"heldout": 0, "budget.attempts": 70}, "At most 500 attempts in 5 rounds, each of up to "
         "600 tool calls. The budget (70 attempts) pays for at most 70 attempts."),
        ({"heldout": 0, "rounds": 1, "budget.steps": 4000, "budget.usd": 2.5}, "At most 100 "
         "attempts in 1 round, each of up to 600 tool calls. The budget (4,000 steps, 2.5 usd) "
         "pays for at most 20 attempts."),
    ],
)  # fmt: skip
def test_what_a_budget_pays_for_is_said_before(options: dict[str, Any], said: str) -> None:
    assert preflight(load_config(None, **options)) == said
