"""A skill run by itself: what it prints, what it exits with, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agentlab.cli.main import cli
from agentlab.envs.courier.environment import Courier
from agentlab.graph.practice import toolset_name
from agentlab.records import Records, Workspace
from agentlab.types import Clause, Parameter, Skill, skill_id

DOC = '    """Do it.\n\n    Precondition: none.\n    Effect: it is so.\n    """\n'
HOLDS = "def check(initial, final, *, item):\n    return final['holding'] == item\n"
FETCH = "    env.walk(to=item)\n    env.take(item=item)\n"


def a_skill(name: str, body: str, **changes: Any) -> Skill:
    source = f"def {name}(env, *, item: dict):\n{DOC}{body}"
    return Skill.model_validate(
        {
            "id": skill_id("courier", name, 1, source),
            "name": name,
            "environment": "courier",
            "toolset": toolset_name(Courier().tools),
            "source": source,
            "parameters": [Parameter(name="item", type="item", requires={"cargo": True})],
            "achieves": Clause(predicate="holding", arguments={"item": "item"}),
            "summary": f"{name}.",
            "effect_source": HOLDS,
            "effect": ("it is held",),
            "tools": ("walk", "take"),
            **changes,
        }
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with one skill that works and some that do not."""
    place = tmp_path_factory.mktemp("library")
    skills = [
        a_skill("fetch", FETCH),
        a_skill("idle", "    return None\n"),
        a_skill("broken", "    raise ValueError('it is broken')\n"),
        a_skill(
            "odd", FETCH, effect_source="def check(initial, final, *, item):\n    return 1 / 0\n"
        ),
        a_skill("barred", FETCH, precondition={"holding": {"present": True}}),
        a_skill("twice", "    env.skills.fetch(item=item)\n", skills=("fetch",), tools=()),
    ]
    with Records.open(Workspace.open(place)) as records:
        for skill in skills:
            records.items.save_skill(skill, status="active")
        records.items.save_skill(a_skill("waiting", FETCH + "    return 1\n"), status="quarantined")
    return place


def run(workspace: Path, name: str, *more: str) -> Result:
    words = ["skills", "run", name, "--env", "courier", "--workspace", str(workspace), *more]
    return CliRunner().invoke(cli, words)


@pytest.mark.parametrize("name", ["fetch", "twice"])
def test_one_that_works(workspace: Path, name: str) -> None:
    result = run(workspace, name, "--json", "--seed", "4")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["completed"]
    assert found["effect"] is True
    assert found["reason"] == ""
    assert found["tool_calls"] == 2
    assert found["changed"]["holding"] == found["arguments"]["item"]
    said = run(workspace, name, "--seed", "4")
    assert "It worked: the effect check passed after 2 tool calls" in said.stdout
    assert said.stdout.splitlines()[-1].startswith(
        f"Next: agentlab skills show {name} --environment courier --workspace"
    )


@pytest.mark.parametrize(
    ("name", "effect", "because"),
    [
        ("idle", False, "its effect check failed afterwards"),
        ("broken", False, "ValueError: it is broken"),
        ("odd", False, "ZeroDivisionError"),
        ("barred", None, 'its precondition {"holding": {"present": true}} fails here'),
    ],
)
def test_one_that_fails_exits_with_1_and_the_reason(
    workspace: Path, name: str, effect: bool | None, because: str
) -> None:
    result = run(workspace, name, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert because in found["reason"]
    assert found["effect"] is effect
    said = run(workspace, name)
    assert said.exit_code == 1
    assert "It did not work: " in said.stdout
    assert because in said.stdout


def test_arguments_are_json_or_words(workspace: Path) -> None:
    first = json.loads(run(workspace, "fetch", "--json").stdout)["arguments"]["item"]
    for written in (json.dumps(first), " ".join(first.values()), " ".join(first.values()).upper()):
        result = run(workspace, "fetch", "--json", "--arg", f"item={written}")
        assert json.loads(result.stdout)["arguments"]["item"] == first


@pytest.mark.parametrize(
    ("more", "because"),
    [
        (("--arg", "item=red dragon"), "There is no 'red dragon' for item in this start state; it"),
        (("--arg", "thing=x"), "There is no argument of fetch named 'thing'"),
        (("--arg", "item"), "'item' is not NAME=VALUE"),
        (("--arg", "item="), "'item=' is not NAME=VALUE"),
        (("--setup", "opne"), "There is no start state named 'opne'. Did you mean 'open'?"),
        (("--box", "landlock", "--unsafe-local"), "give one of them"),
    ],
)
def test_what_is_asked_wrongly_gets_a_sentence(
    workspace: Path, more: tuple[str, ...], because: str
) -> None:
    result = run(workspace, "fetch", *more)
    assert result.exit_code == 2
    assert because in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["fetsh", "waiting"])
def test_only_served_skills_run(workspace: Path, name: str) -> None:
    result = run(workspace, name)
    assert result.exit_code == 2
    assert f"There is no served skill named {name!r}" in result.stderr


def test_a_mistyped_workspace_is_not_made(tmp_path: Path) -> None:
    place = tmp_path / "none"
    assert run(place, "fetch").exit_code == 2
    assert not place.exists()


def test_without_a_box_the_result_says_so(workspace: Path) -> None:
    result = run(workspace, "fetch", "--unsafe-local", "--json")
    assert json.loads(result.stdout)["box"] == "unsafe-local"
