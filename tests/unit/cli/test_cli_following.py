"""Every line "Next:" is a command that the command line takes as it is printed."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agentlab.cli
from agentlab.cli.following import evaluation_of, followed
from agentlab.cli.main import cli
from agentlab.config import load_config

FOLDER = Path(agentlab.cli.__file__).parent
VALUES: dict[str, list[str]] = {
    "--workspace": ["a place", "ws"],
    "--config": ["run.toml"],
    "--model": ["openai:m", "search"],
    "--base-url": ["http://127.0.0.1:9/v1"],
    "--executor": ["react"],
    "--option": ["a=1", 'state={"x": "y z"}'],
    "--view": ["full"],
    "--toolset": ["objects"],
    "--index": ["exact"],
    "--embedder": ["lexical"],
    "--box": ["landlock"],
    "--unsafe-local": [],
    "--seed": ["3"],
    "--tasks": ["5"],
    "--budget-tokens": ["9000"],
    "--baseline": [],
    "--ref": ["main"],
}
ARGUMENTS = {"ENV": "courier", "[ENV]": "courier"}


def command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words name, and what is left of them."""
    found: click.Command = cli
    while words and isinstance(found, click.Group) and words[0] in found.commands:
        found = found.commands[words[0]]
        words = words[1:]
    return found, words


def parsed(words: list[str]) -> click.Context:
    """The words read as the command line reads them.

    Raises:
        click.ClickException: it does not take them.
    """
    found, rest = command(words)
    assert not isinstance(found, click.Group), words
    return found.make_context("agentlab", list(rest))


def calls() -> list[tuple[str, list[ast.expr]]]:
    """Every `output.next(…)` of the command line, with what is given to it."""
    found: list[tuple[str, list[ast.expr]]] = []
    for file in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr == "next" and ast.unparse(node.func.value) == "output":
                    found.append((f"{file.name}:{node.lineno}", node.args))
    return found


def test_each_place_names_a_command_that_there_is() -> None:
    seen = 0
    for where, arguments in calls():
        words = [a.value for a in arguments if isinstance(a, ast.Constant)]
        if not isinstance(arguments[0], ast.Constant):
            continue  # made by `evaluation_of`, or one of a few words; see the tests below
        found, rest = command([str(word) for word in words])
        assert not (isinstance(found, click.Group) and len(words) == len(arguments)), where
        flags = {flag for param in found.params for flag in param.opts} | {"--help"}
        assert {word for word in rest if word.startswith("--")} <= flags, where
        assert not [word for word in rest if word.isupper()], where  # a placeholder
        seen += 1
    assert seen > 30


@st.composite
def asked(draw: st.DrawFn) -> list[str]:
    """A command about an environment, with some options that it takes."""
    name = draw(st.sampled_from(["practice", "evaluate", "envs check"]))
    found, _ = command(name.split())
    takes = {flag for param in found.params for flag in param.opts}
    words = [*name.split(), "courier"]
    for flag in draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=8)):
        if flag in takes:
            words += [flag, draw(st.sampled_from(VALUES[flag]))] if VALUES[flag] else [flag]
    return words


@given(asked(), st.sampled_from(["practice", "evaluate", "skills show", "runs list", "resume"]))
def test_what_was_said_is_said_again_where_it_is_taken(words: list[str], target: str) -> None:
    context = parsed(words)
    with context:
        line = followed(context, [*target.split(), "courier"])
    again = parsed(shlex.split(shlex.join(line))) if target != "runs list" else None
    assert line[: len(target.split())] == target.split()
    if again is None:
        return
    same = words[0] == target
    for name in ("workspace", "pairs", "view", "model", "base_url", "box", "unsafe_local"):
        if name in context.params and name in again.params:
            assert again.params[name] == context.params[name]
    for name in ("seed", "tasks", "budget_tokens"):  # another command means another thing by them
        if name in context.params and name in again.params:
            assert again.params[name] == (context.params[name] if same else None)


def test_a_variable_of_this_command_alone_is_said_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGENTLAB_PRACTICE_MODEL", "openai:m")
    monkeypatch.setenv("AGENTLAB_WORKSPACE", "/somewhere")
    context = parsed(["practice", "courier"])
    line = followed(context, ["evaluate", "courier"])
    assert line == ["evaluate", "courier", "--model", "openai:m"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, []),
        ({"seed": 4, "rounds": 2}, []),
        (
            {
                "model": "openai:m", "endpoint.base_url": "http://127.0.0.1:9/v1",
                "environment_options.size": 3, "environment_options.word": "two words",
                "index": "exact", "box": "unsafe-local",
            },
            ["--model", "openai:m", "--executor", "react", "--evaluator", "judge", "--index",
             "exact", "--base-url", "http://127.0.0.1:9/v1", "--unsafe-local", "--option",
             "size=3", "--option", 'word="two words"'],
        ),
    ],
)  # fmt: skip
def test_an_evaluation_is_asked_for_as_its_run_was(
    options: dict[str, Any], words: list[str]
) -> None:
    config = load_config(None, environment="courier", **options)
    line = evaluation_of(config.model_dump(mode="json"))
    assert sorted(line) == sorted(["evaluate", "courier", "--baseline", *words])
    context = parsed(line)
    assert context.params["environment"] == "courier"
    if options.get("environment_options.size"):
        assert context.params["pairs"] == ("size=3", 'word="two words"')


def test_what_no_command_line_can_say_is_not_said() -> None:
    config = load_config(None, environment="courier", **{"roles.proposer.model": "openai:m"})
    assert evaluation_of(config.model_dump(mode="json")) == []
