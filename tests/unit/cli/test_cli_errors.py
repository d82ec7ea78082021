"""Bad input gets one sentence on stderr that names the fix, no traceback, and an exit code."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from agentlab.cli.main import cli
from agentlab.cli.options import Option
from agentlab.errors import (
    AgentLabError,
    MissingExtraError,
    NewerDatabaseError,
    RunInUseError,
    UnknownNameError,
    WorkspaceError,
)
from agentlab.types.report import SkillLine

Replace = Callable[..., None]


def _invoke(*arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(cli, arguments, env=variables)


def _sentence(result: Result, code: int) -> str:
    assert result.exit_code == code
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("practice", "courier", "--seed", "abc"), "'abc' is not a whole number"),
        (("evaluate", "courier", "--seed", "1.5"), "write for instance --seed 7"),
        (("practice", "courier", "--seed", "-1"), "-1 is not in the range"),
        (("practice", "courier", "--rounds", "0"), "--rounds"),
        (("practice", "courier", "--option", "view"), "write for instance --option view=full"),
        (("practice", "courier", "--budget-seconds", "0"), "'budget.seconds' cannot be 0.0"),
        (("practice", "courier", "--view", "sideways"), "'full', 'partial'"),
        (("practice", "courier", "--config", "absent.toml"), "absent.toml"),
        (("practice",), "`agentlab practice babyai`"),
        (("practice", "courier", "--sed", "1"), "--sed"),
        (("resume",), "RUN"),
        (("resume", "a", "b"), "unexpected extra argument"),
        (("praktice", "courier"), "praktice"),
        (("runs", "lost"), "lost"),
        (("--nonsense",), "--nonsense"),
        (("runs", "list", "--display", "loud"), "'rich', 'plain', 'none'"),
    ],
)
def test_asked_for_wrongly(arguments: tuple[str, ...], says: str) -> None:
    assert says in _sentence(_invoke(*arguments), 2)


def test_an_unknown_key_in_a_config_file_names_the_near_one(tmp_path: Path) -> None:
    file = tmp_path / "practice.toml"
    file.write_text("[budget]\natempts = 3\n", encoding="utf-8")
    says = _sentence(_invoke("practice", "courier", "--config", str(file)), 2)
    assert "'budget.atempts' is not an option. Did you mean 'attempts'?" in says


def test_a_variable_with_a_wrong_value() -> None:
    says = _sentence(_invoke("practice", "courier", AGENTLAB_PRACTICE_SEED="abc"), 2)
    assert "'abc' is not a whole number" in says


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UnknownNameError("environment", "babyay", ["babyai"]), 2, "Did you mean 'babyai'?"),
        (MissingExtraError("The environment 'babyai'", "babyai"), 2, "agentlab-practice[babyai]"),
        (WorkspaceError("The workspace\nis read-only."), 1, "The workspace is read-only."),
        (RunInUseError("Run x is in use."), 1, "Run x is in use."),
        (NewerDatabaseError("Written by a newer agentlab."), 1, "newer"),
        (AgentLabError("\x1b[31mred"), 1, r"\x1b[31mred"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "'/x': permission denied"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_each_failure_has_its_exit_code(
    replace_module: Replace, error: BaseException, code: int, says: str, as_json: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    replace_module("agentlab.analysis.runs", list_runs=fail)
    result = _invoke("runs", "list", *(["--json"] if as_json else []))
    assert says in _sentence(result, code)


def test_a_defect_keeps_its_traceback(replace_module: Replace) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    replace_module("agentlab.analysis.runs", list_runs=fail)
    assert isinstance(_invoke("runs", "list").exception, ZeroDivisionError)


def _options(command: click.Command, path: tuple[str, ...] = ()) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for parameter in command.params:
        if isinstance(parameter, Option):
            assert isinstance(parameter.envvar, list)
            found[" ".join((*path, parameter.opts[0]))] = list(parameter.envvar)
    if isinstance(command, click.Group):
        for name, part in command.commands.items():
            found |= _options(part, (*path, name))
    return found


def test_every_option_has_a_variable_of_its_own() -> None:
    variables = _options(cli)
    assert variables["practice --rounds"] == ["AGENTLAB_PRACTICE_ROUNDS"]
    assert variables["practice --config"] == ["AGENTLAB_PRACTICE_CONFIG"]
    assert variables["practice --option"] == ["AGENTLAB_PRACTICE_OPTION"]
    assert variables["runs list --json"] == ["AGENTLAB_RUNS_LIST_JSON"]
    assert variables["skills show --workspace"] == [
        "AGENTLAB_SKILLS_SHOW_WORKSPACE", "AGENTLAB_WORKSPACE",
    ]  # fmt: skip
    own = [names[0] for names in variables.values()]
    assert len(set(own)) == len(own)
    shared = {"AGENTLAB_WORKSPACE", "AGENTLAB_DISPLAY"}
    forbidden = {
        "AGENTLAB_EXP_ROOT", "AGENTLAB_DEBUG", "AGENTLAB_MODEL_URL", "AGENTLAB_MODEL_TOKEN",
        "AGENTLAB_USE_RETINA",
    }  # fmt: skip
    assert not forbidden & {name for names in variables.values() for name in names}
    assert not shared & set(own)


def test_the_workspace_variable_holds_for_every_command(
    replace_module: Replace, tmp_path: Path
) -> None:
    asked: list[Path] = []

    def note(workspace: Path) -> list[object]:
        asked.append(workspace)
        return []

    replace_module("agentlab.analysis.runs", list_runs=note)
    result = _invoke("runs", "list", AGENTLAB_WORKSPACE=str(tmp_path / "a"))
    assert result.stdout.splitlines()[-1] == "Next: agentlab practice babyai"
    _invoke(
        "runs", "list",
        AGENTLAB_WORKSPACE=str(tmp_path / "a"), AGENTLAB_RUNS_LIST_WORKSPACE=str(tmp_path / "b"),
    )  # fmt: skip
    _invoke(
        "runs", "list", "--workspace", str(tmp_path / "c"), AGENTLAB_WORKSPACE=str(tmp_path / "a")
    )
    assert asked == [tmp_path / "a", tmp_path / "b", tmp_path / "c"]


@pytest.mark.parametrize(
    ("places", "given", "asks"),
    [
        (("town",), (), "show carry"),
        (("town", "village"), (), "show carry --environment town"),
        (("town",), ("--environment", "town"), "show carry --environment town"),
    ],
)
def test_the_next_command_names_the_environment_where_it_must(
    replace_module: Replace, places: tuple[str, ...], given: tuple[str, ...], asks: str
) -> None:
    found = [
        SkillLine(name="carry", signature="carry()", summary="", status="active", environment=place)
        for place in places
    ]

    def listed(*_: object, **__: object) -> list[SkillLine]:
        return found

    replace_module("agentlab.library.catalogue", list_skills=listed)
    result = _invoke("skills", "list", *given)
    assert result.stdout.splitlines()[-1] == f"Next: agentlab skills {asks}"
