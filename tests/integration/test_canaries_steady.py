"""What a verification must not do: retire a good skill, serve a broken one, lose its way."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from agentlab import registry
from agentlab.cli.main import cli
from agentlab.graph import mending
from agentlab.graph.canaries import CANARY, verify_library
from agentlab.records import Records, Workspace
from agentlab.types import EnvironmentRef, Skill, skill_id
from tests.integration import shaky_courier
from tests.integration.test_canaries import LIBRARY

HOLDING = LIBRARY[1]


def library(place: Path, environment: str) -> Path:
    """A workspace that serves one skill, for that environment."""
    identity = skill_id(environment, HOLDING.name, 1, HOLDING.source)
    skill = HOLDING.model_copy(update={"environment": environment, "id": identity})
    with Records.open(Workspace.open(place / "ws")) as records:
        records.items.save_skill(skill, status="active")
    return place / "ws"


def now(workspace: Path, environment: str) -> list[tuple[int, str]]:
    """Version and status of what there is."""
    with Records.open(Workspace.open(workspace)) as records:
        rows = records.items.skills(environment=environment)
        return [(row.item.version, row.status) for row in rows]


@pytest.fixture
def shaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shaky_courier.register(tmp_path / "plugin")
    monkeypatch.syspath_prepend(str(tmp_path / "plugin"))  # pyright: ignore[reportUnknownMemberType]
    # Whoever asked for a plugin before in this process has their names already.
    registry._plugins.cache_clear()  # pyright: ignore[reportPrivateUsage]
    return library(tmp_path, "shaky")


def test_a_slow_moment_retires_nothing(shaky: Path) -> None:
    """Two calls time out, which admission would not forgive; the second look does."""
    report = verify_library(shaky, EnvironmentRef(name="shaky"))
    (line,) = report.skills
    assert line.outcome == "unsteady", line.reason
    assert "broke off in 2 of" in line.reason
    assert line.looked >= 6
    assert line.passed >= line.looked - 2
    assert report.found == ()
    assert report.broken == ()
    assert now(shaky, "shaky") == [(1, "active")]


def test_an_environment_that_is_gone_says_nothing_of_its_skills(shaky: Path) -> None:
    words = ["skills", "verify", "shaky", "--option", "gone=true", "--workspace", str(shaky)]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 1, "somebody must look"
    assert "unknown" in result.stdout
    assert "nobody answers there" in result.stdout
    assert now(shaky, "shaky") == [(1, "active")]


def test_what_is_broken_serves_no_longer_while_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verification that dies over the mending leaves nothing served that is known broken."""
    workspace = library(tmp_path, "courier")
    changed = EnvironmentRef(name="courier", options={"interface": "b"})

    async def dies(*_: object, **__: object) -> Skill:
        assert now(workspace, "courier") == [(1, "quarantined")]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mending, "hone", dies)
        with pytest.raises(KeyboardInterrupt):
            verify_library(workspace, changed)
    assert now(workspace, "courier") == [(1, "quarantined")]
    with Records.open(Workspace.open(workspace)) as records:
        (row,) = records.items.skills(environment="courier")
        assert row.reason.startswith(CANARY)
        evidence = records.items.history(row.item.id)[-1].evidence
        assert evidence["second_look"] == {"passed": 0, "n": 5}

    (line,) = verify_library(workspace, changed).skills
    assert (line.outcome, line.by) == ("mended", "replays")
    assert now(workspace, "courier") == [(1, "retired"), (2, "active")]


def test_without_honing_it_is_only_taken_out(tmp_path: Path) -> None:
    workspace = library(tmp_path, "courier")
    words = ["skills", "verify", "courier", "--option", "interface=b", "--hone", "none"]
    result = CliRunner().invoke(cli, [*words, "--workspace", str(workspace)])
    assert result.exit_code == 1
    assert "demoted" in result.stdout
    assert "Broken: 100% (21% to 100%, n=1) of what served" in result.stdout
    assert now(workspace, "courier") == [(1, "quarantined")]


def test_a_wrong_mender_is_told(tmp_path: Path) -> None:
    workspace = library(tmp_path, "courier")
    words = ["skills", "verify", "courier", "--hone", "magic", "--workspace", str(workspace)]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2
    assert "Nothing can be mended by 'magic'" in result.stderr
