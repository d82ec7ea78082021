"""A machine without a browser: said before anything is begun, and not needed to look at skills."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from agentlab.cli.main import cli
from agentlab.environments.registration import make_environment
from agentlab.environments.web.chromium import VARIABLE
from agentlab.types import EnvironmentRef


@pytest.mark.parametrize("name", ["store", "miniwob:click-test"])
def test_without_a_browser_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(VARIABLE, "no-such-browser")
    assert make_environment(EnvironmentRef(name=name)).tools
    place = tmp_path / "workspace"
    for words in (
        ["practice", name, "--workspace", str(place)],
        ["evaluate", name, "--workspace", str(place)],
        ["envs", "check", name],
    ):
        found = CliRunner().invoke(cli, words)
        assert found.exit_code == 2, found.output
        assert f"{VARIABLE} names 'no-such-browser'" in found.stderr
        assert "apt-get install chromium" in found.stderr
    assert not place.exists()
