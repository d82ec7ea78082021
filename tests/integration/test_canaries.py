"""A library verified again: against the same environment, a changed one, and a repaired one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agentlab.cli.main import cli
from agentlab.envs.courier.environment import Courier
from agentlab.events import Event, SkillMoved
from agentlab.graph.canaries import verify_library
from agentlab.graph.practice import toolset_name
from agentlab.library.approval import decide
from agentlab.library.waiting import list_waiting
from agentlab.records import Records, Workspace
from agentlab.types import Clause, EnvironmentRef, JsonObject, Parameter, Skill, skill_id
from agentlab.types.report import CanaryReport

NOW = EnvironmentRef(name="courier")
CHANGED = EnvironmentRef(name="courier", options={"interface": "b"})
ITEM = Parameter(name="item", type="item", requires={"cargo": True})
CHEST = Parameter(name="container", type="container", requires={"container": True, "locked": False})
DELIVERED = (
    "def check(initial, final, *, item, container):\n"
    "    return {'item': item, 'container': container} in final['delivered']\n"
)


def _skill(
    name: str, parameters: tuple[Parameter, ...], body: str, check: str, **more: Any
) -> Skill:
    takes = "".join(f", {p.name}: dict" for p in parameters)
    doc = '    """Do it.\n\n    Precondition: none.\n    Effect: it is so.\n    """\n'
    source = f"def {name}(env, *{takes}):\n{doc}{body}"
    clause = Clause(
        predicate=more.pop("predicate", name), arguments={p.name: p.name for p in parameters}
    )
    return Skill.model_validate(
        {
            "id": skill_id("courier", name, 1, source),
            "name": name,
            "environment": "courier",
            "toolset": toolset_name(Courier().tools),
            "source": source,
            "parameters": parameters,
            "achieves": clause,
            "summary": f"{name}.",
            "effect_source": check,
            "effect": ("it is so",),
            "tools": ("walk", "take", "put_in"),
            **more,
        }
    )


LIBRARY = (
    _skill(
        "at",
        (Parameter(name="place", type="place"),),
        "    env.walk(to=place)\n",
        "def check(initial, final, *, place):\n    return final['at'] == place\n",
        tools=("walk",),
    ),
    _skill(
        "holding",
        (ITEM,),
        "    env.walk(to=item)\n    env.take(item=item)\n",
        "def check(initial, final, *, item):\n    return final['holding'] == item\n",
        tools=("walk", "take"),
    ),
    _skill(
        "delivered",
        (ITEM, CHEST),
        "    env.walk(to=item)\n    env.take(item=item)\n"
        "    env.walk(to=container)\n    env.put_in(container=container)\n",
        DELIVERED,
    ),
    _skill(
        "delivered_by_call",
        (ITEM, CHEST),
        "    env.skills.holding(item=item)\n"
        "    env.walk(to=container)\n    env.put_in(container=container)\n",
        DELIVERED,
        predicate="delivered",
        tools=("walk", "put_in"),
        skills=("holding",),
    ),
)


@pytest.fixture
def workspace(tmp_path: Path, library: Path) -> Path:
    shutil.copytree(library, tmp_path / "ws")
    return tmp_path / "ws"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("library")
    with Records.open(Workspace.open(place)) as records:
        for skill in LIBRARY:
            records.items.save_skill(skill, status="active")
    return place


class Log:
    def __init__(self) -> None:
        self.moves: list[tuple[str, str, str]] = []

    def notify(self, event: Event) -> None:
        if isinstance(event, SkillMoved):
            self.moves.append((event.name, event.before, event.after))


def outcomes(report: CanaryReport) -> dict[str, tuple[str, int]]:
    return {line.name: (line.outcome, line.version) for line in report.skills}


def served(workspace: Path) -> dict[str, int]:
    with Records.open(Workspace.open(workspace)) as records:
        rows = records.items.skills(environment="courier", status="active")
        return {row.item.name: row.item.version for row in rows}


def test_what_holds_stays_and_nothing_is_decided(workspace: Path) -> None:
    log = Log()
    report = verify_library(workspace, NOW, observers=(log,))
    assert outcomes(report) == {skill.name: ("holds", 1) for skill in LIBRARY}
    names = [line.name for line in report.skills]
    assert names.index("holding") < names.index("delivered_by_call"), "callees first"
    assert all(line.replays >= 5 for line in report.skills)
    assert log.moves == []
    assert report.broken == ()
    assert served(workspace) == {skill.name: 1 for skill in LIBRARY}


def test_a_changed_interface_and_back(workspace: Path) -> None:
    """What broke is out at once, mended where that can be done, and verified before it serves."""
    log = Log()
    report = verify_library(workspace, CHANGED, observers=(log,))
    found = outcomes(report)
    assert found["at"] == ("holds", 1)
    assert found["holding"] == ("mended", 2)
    assert found["delivered"] == ("mended", 2)
    assert found["delivered_by_call"][0] == "holds", "it calls what was mended before it"
    assert ("holding", "active", "quarantined") in log.moves, "out before it is mended"
    assert ("holding", "quarantined", "retired") in log.moves
    assert log.moves.index(("holding", "verified", "active")) > 0
    with Records.open(Workspace.open(workspace)) as records:
        (mended,) = [
            row.item
            for row in records.items.skills(environment="courier", name="holding", status="active")
        ]
        assert "take" not in mended.source
        assert mended.parent == LIBRARY[1].id
        history = records.items.history(mended.id)
        assert [move.after for move in history[-3:]] == ["quarantined", "verified", "active"]
        assert history[-1].evidence["replays"]

    back = outcomes(verify_library(workspace, NOW))
    assert back["holding"][0] == "demoted", "without the step it does nothing there"
    assert back["delivered_by_call"][0] == "demoted", "a caller goes with its callee"
    assert served(workspace).keys() == {"at"}

    again = verify_library(workspace, NOW, names=("holding", "delivered"), restore=True)
    assert outcomes(again)["holding"] == ("restored", 1)
    assert outcomes(again)["delivered"] == ("restored", 1)
    rest = verify_library(workspace, NOW, names=("delivered_by_call",))
    assert outcomes(rest)["delivered_by_call"] == ("restored", 1)
    assert served(workspace) == {skill.name: 1 for skill in LIBRARY}


def test_a_mended_version_waits_where_people_let_in_what_serves(workspace: Path) -> None:
    with Records.open(Workspace.open(workspace)) as records:
        config: JsonObject = {"environment": "courier", "admission": {"approval": "human"}}
        records.runs.create("courier-0", config=config, versions={}, seed=0)
    report = verify_library(workspace, CHANGED, names=["holding"])
    (line,) = report.skills
    assert line.outcome == "demoted" and "version 2 mends it and waits" in line.reason
    (held,) = list_waiting(workspace)
    assert (held.name, held.version, held.supersedes) == ("holding", 2, (LIBRARY[1].id,))
    with Records.open(Workspace.open(workspace)) as records:
        assert "holding" not in {r.item.name for r in records.items.skills(status="active")}
        done = decide(
            records, held.id, "approve", digest=held.digest, reason="it steps aside", by="ada"
        )
        assert done.status == "active"
        assert records.items.skill(LIBRARY[1].id).reason == "superseded: by version 2 of 'holding'"


def test_the_command_exits_with_1_where_something_stays_broken(workspace: Path) -> None:
    odd = LIBRARY[0].model_copy(
        update={"effect_source": "def check(initial, final, *, place):\n    return True\n"}
    )
    with Records.open(Workspace.open(workspace)) as records:
        records.items.remove_skill("at", environment="courier", reason="replaced")
        source = odd.source.replace("def at(", "def at_once(")
        changes = {
            "name": "at_once",
            "source": source,
            "id": skill_id("courier", "at_once", 1, source),
        }
        records.items.save_skill(odd.model_copy(update=changes), status="active")
    words = ["skills", "verify", "at_once", "--env", "courier", "--workspace", str(workspace)]
    result = CliRunner().invoke(cli, [*words, "--json"])
    assert result.exit_code == 1, result.stderr
    (line,) = json.loads(result.stdout)["skills"]
    assert line["outcome"] == "demoted"
    assert line["reason"].startswith("controls: ") or "effect" in line["reason"]
    said = CliRunner().invoke(cli, words)
    assert said.exit_code == 1
    assert "still out" in said.stdout
    assert said.stdout.splitlines()[-1].startswith("Next: agentlab skills show at_once")


@pytest.mark.parametrize(
    ("words", "because"),
    [
        (("holdin",), "There is no skill to verify named 'holdin'. Did you mean 'holding'?"),
        (("--restore",), "name the skills that it is to take back"),
    ],
)
def test_what_is_asked_wrongly(workspace: Path, words: tuple[str, ...], because: str) -> None:
    command = ["skills", "verify", *words, "--env", "courier", "--workspace", str(workspace)]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2
    assert because in " ".join(result.stderr.split())
