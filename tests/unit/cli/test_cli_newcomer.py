"""What somebody reads who is here for the first time and writes what seems right."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agentlab.cli.main import cli
from agentlab.records import Records, Workspace


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments], env={"AGENTLAB_DISPLAY": "plain"})


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("examples/todo.py", "write 'tools:examples/todo.py' for the Python functions in it"),
        ("http://127.0.0.1:9/x", "write 'web:http://127.0.0.1:9/x' for the web site there"),
        ("todo", "There is no environment named 'todo'."),
    ],
)  # fmt: skip
def test_a_file_or_an_address_is_told_how_it_is_named(
    tmp_path: Path, named: str, says: str
) -> None:
    result = invoke("practice", named, "--workspace", str(tmp_path / "ws"))
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert says in line
    assert not (tmp_path / "ws").exists()


def test_a_password_in_an_address_is_not_repeated(tmp_path: Path) -> None:
    named = "http://me:pass-1234-word@127.0.0.1/"
    result = invoke("practice", named, "--workspace", str(tmp_path / "ws"))
    assert result.exit_code == 2 and "pass-1234-word" not in result.output


def test_a_server_that_is_none_is_told_in_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    place = tmp_path / "ws"
    result = invoke("practice", "mcp:no-such-program --x", "--workspace", str(place))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "there is no program 'no-such-program': install it, or give its path" in line
    assert not place.exists()


def test_environments_that_need_more_than_a_name_say_what() -> None:
    told = invoke("envs", "list").stdout
    for words in (
        "tools:<module or path.py>", "mcp:<command or URL>", "web:<URL>", "miniwob:<page>",
        "to try things out", "small web shop of our own",
    ):  # fmt: skip
        assert words in told
    assert told.splitlines()[-1].startswith("Next: agentlab envs check ")


@pytest.mark.parametrize(
    ("flags", "says", "following"),
    [
        ((), "The library holds no skill; practice", "practice babyai"),
        (("--environment", "courier"), "no skill for courier; practice", "practice courier"),
        (("--environment", "tools-todo"), "no skill for tools-todo", "envs list"),
        (("--status", "retired"), "no retired skill; practice", "practice babyai"),
    ],
)
def test_an_empty_library_says_what_fills_it(
    tmp_path: Path, flags: tuple[str, ...], says: str, following: str
) -> None:
    pytest.importorskip("minigrid")
    with Records.open(Workspace.open(tmp_path / "ws")):
        pass
    result = invoke("skills", "list", *flags, "--workspace", str(tmp_path / "ws"))
    assert says in result.stdout
    assert result.stdout.splitlines()[-1].startswith(f"Next: agentlab {following}")
