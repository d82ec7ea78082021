"""The plugin of `examples/plugin`, installed and practised in as its page says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from typing import get_args

import pytest

from agentlab.registry import Kind

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "examples" / "plugin"
PAGE = (PLUGIN / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.timeout(300)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment in which the plugin is installed beside this checkout's agentlab."""
    place = tmp_path_factory.mktemp("plugin")
    venv.create(place / "venv", with_pip=False)
    [site] = place.glob("venv/lib/python*/site-packages")
    # What is installed here is seen there, and of it this checkout's own agentlab.
    paths = f"{ROOT}\n{sysconfig.get_path('purelib')}\n"
    (site / "dependencies.pth").write_text(paths, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--python", str(place / "venv/bin/python"), "install"]
    offline = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]
    run([*command, *offline, str(PLUGIN)], place)
    return place


def run(command: list[str], place: Path) -> str:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "AGENTLAB_WORKSPACE")}
    done = subprocess.run(
        command, cwd=place, env=kept, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def agentlab(line: str, place: Path) -> str:
    """A line of the page, by the Python in which the plugin is."""
    program, *words = shlex.split(line)
    assert program == "agentlab"
    return run([str(place / "venv/bin/python"), "-m", "agentlab", *words], place)


def test_the_page_quotes_what_the_package_says() -> None:
    text = (PLUGIN / "pyproject.toml").read_text(encoding="utf-8")
    (quoted,) = blocks("toml")
    assert quoted in text
    points = tomllib.loads(text)["project"]["entry-points"]["agentlab"]
    kinds = set(re.findall(r"(?m)^\| `(\w+)` \|", PAGE))
    assert set(get_args(Kind)) <= kinds
    assert {name.partition("/")[0] for name in points} <= kinds
    for linked in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (PLUGIN / linked).is_file(), linked


def test_what_the_page_says_is_what_happens(place: Path) -> None:
    install, practise, export = blocks("console")
    assert install.splitlines()[0] == "pip install ./examples/plugin"
    said = [agentlab(line, place) for line in install.splitlines()[1:]]
    assert "lamps" in said[0] and "lamps keeps every promise that was checked." in said[1]

    practised, listed = (agentlab(line, place) for line in practise.splitlines())
    assert "Learnt 1 skill:" in practised and "go, then uncover, then switch" in practised
    assert re.search(r"(?m)^ *lit\w*\(lamp: lamp\) +active", listed)
    [run_id] = os.listdir(place / ".agentlab/runs")
    config = json.loads((place / ".agentlab/runs" / run_id / "config.json").read_text())
    roles = {name: config[name] for name in ("proposer", "curriculum", "evaluator", "curator")}
    assert roles == {
        "proposer": "lamps",
        "curriculum": "least-tried",
        "evaluator": "tidy",
        "curator": "briefest",
    }
    assert config["executor"] == "frugal"

    played, exported = export.splitlines()
    said_run = re.search(r"Run (\S+) finished", agentlab(played, place))
    assert said_run is not None
    agentlab(exported.replace("RUN", said_run[1]), place)
    rows = [json.loads(line) for line in (place / "plans/data.jsonl").read_text().splitlines()]
    assert len(rows) == 4 and all(row["solved"] for row in rows)
    assert [[call["name"] for call in row["calls"]] for row in rows] == [
        ["go", "uncover", "switch"]
    ] * 4
