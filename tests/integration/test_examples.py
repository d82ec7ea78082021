"""Every example runs, as a script in a process of its own, in its quickest form."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agentlab.environments.web.chromium import INSTALL, find_chromium
from agentlab.records import Records, Workspace
from agentlab.testing.model_server import ModelServer
from agentlab.testing.rules import load_rule
from tests.stocking import stock

REQUIRE_BROWSER = os.environ.get("REQUIRE_BROWSER")
EXAMPLES = Path(__file__).parents[2] / "examples"
QUICK = ("--environment", "courier", "--tasks", "4")
IN_A_BROWSER = ("miniwob_pages.py",)
"""Run by `tests/browser`, where a missing browser is told."""

pytestmark = pytest.mark.timeout(300)  # each is a process with workers of its own


@pytest.fixture(scope="module")
def practised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace after the first example, and what that printed."""
    workspace = tmp_path_factory.mktemp("examples") / "workspace"
    return workspace, run("01_practice.py", workspace)


def run(name: str, workspace: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env={
            **os.environ,
            "AGENTLAB_WORKSPACE": str(workspace),
            "PYTHONPATH": str(EXAMPLES.parent),
            "TMPDIR": str(workspace.parent),
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ELSEWHERE = {"drift.py": "browser/test_store_drift.py"}
"""Examples that need more than is there for all tests, and where they are run."""


def test_every_example_is_run_here() -> None:
    tests = Path(__file__).parents[1]
    for path in EXAMPLES.glob("*.py"):
        file = tests / ELSEWHERE.get(path.name, "integration/test_examples.py")
        assert f'"{path.name}"' in file.read_text(encoding="utf-8")


def test_practice(practised: tuple[Path, str]) -> None:
    _, said = practised
    assert said.startswith("40 attempts, ")
    assert "with the library 0." in said


def test_evaluate(practised: tuple[Path, str]) -> None:
    said = run("02_evaluate.py", practised[0])
    assert re.search(r"success [01]\.\d\d, n=20", said)
    assert "more than without: " in said


def test_agent(practised: tuple[Path, str]) -> None:
    said = run("03_agent.py", practised[0])
    assert len(re.findall(r"(not )?done in \d+ tool calls", said)) == 3


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the shipped pack was verified already, and serves."""
    place = tmp_path_factory.mktemp("stocked")
    stock(place / "workspace", place / "keys")
    return place / "workspace"


def test_numbered_examples_are_short() -> None:
    for path in EXAMPLES.glob("[0-9][0-9]_*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 40, path.name
        assert '\nif __name__ == "__main__":' in text, path.name


def test_the_first_lines_of_the_readme(stocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    section = text[text.index("\n## In your own application\n") :]
    block = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert block is not None
    script = stocked.parent / "app.py"
    script.write_text(block[1], encoding="utf-8")
    monkeypatch.setenv("AGENTLAB_KEYS", str(stocked.parent / "keys"))
    said = run(str(script), stocked)
    assert said.startswith("serves ('at', 'delivered', 'holding', 'unlocked') refused {}\n")
    assert len(re.findall(r"(?m) (?:not )?done \(.*\)$", said)) == 3
    assert re.search(r" done \('\w+'", said), "no skill of the pack was used"


def test_langgraph(stocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTLAB_KEYS", str(stocked.parent / "keys"))
    said = run("10_langgraph.py", stocked)
    assert re.findall(r"(?m): (done|not done)$", said) == ["done", "done"]
    assert len(re.findall(r"(?m)^  found \w+", said)) == 2


@pytest.mark.parametrize("name", ["11_openai.py", "12_pydantic_ai.py"])
def test_other_peoples_loops(name: str, stocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is a script behind a real endpoint; the skills, the box and the world are real."""
    with ModelServer(load_rule("courier")) as server:
        monkeypatch.setenv("AGENTLAB_KEYS", str(stocked.parent / "keys"))
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_MODEL", "rules")
        said = run(name, stocked)
        offered = {tool.name for tool in server.requests[0].tools}
    assert re.search(r"(?m): done$", said)
    with Records.open(Workspace.open(stocked)) as records:
        run_id = records.runs.ids()[-1]
        [row] = records.attempts.all(run_id)
        used = [records.items.skill(each).item.name for each in row.skills_used]
    assert row.kind == "production" and row.success is True
    assert used and set(used) <= offered


def test_tenants(practised: tuple[Path, str]) -> None:
    said = run("04_tenants.py", practised[0])
    assert said.startswith("AttemptBegun\n") and "AttemptEnded" in said
    assert re.search(r"learnt from \d of 4 attempts of acme/ann", said)
    assert re.search(r"\d+ candidates, admitted: ", said)
    assert "others were offered " in said


def test_curves(practised: tuple[Path, str]) -> None:
    said = run("curves.py", practised[0], *QUICK, "--budget", "300")
    assert "courier, 4 held-out tasks, up to 300 tool calls" in said
    for cost in ("tool calls", "primitive steps", "CPU seconds", "wall seconds"):
        assert f"all tasks, by {cost}" in said
    for arm in ("library", "empty library", "flat", "oracle", "library, charged"):
        assert re.search(rf"(?m)^ *{arm} +4 ", said)
    assert re.search(r" 300  [+-]\d\.\d\d \(.*\), n=4", said)


def test_ablations(tmp_path: Path) -> None:
    said = run("ablations.py", tmp_path, *QUICK, "--quick", "--tool-calls", "100")
    for name in ("full", "no library", "no admission", "uniform curriculum"):
        assert re.search(rf"(?m)^ +{name} +4  \d\.\d\d \(\d\.\d\d to \d\.\d\d\)", said)
    assert list(tmp_path.iterdir()) == []


def test_three_seeds(tmp_path: Path) -> None:
    arguments = ("--seeds", "5", "--quick", "--tool-calls", "100")
    said = run("three_seeds.py", tmp_path, *QUICK, *arguments)
    heading, rule, row = said.strip().splitlines()
    assert heading.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| 5 | 4 | ")


def test_planted(tmp_path: Path) -> None:
    said = run("planted.py", tmp_path, "--seeds", "--simulations", "4", "--rounds", "6")
    assert re.search(r"(?m)^harmful, -0.35 of 0.50 +\d+% +\d+% to \d+% +4 ", said)
    assert re.search(r"(?m)^useful, \+0.40 on 0.40 +0% ", said)


def test_packs(tmp_path: Path) -> None:
    arguments = ("--skills", "8", "--each", "4", "--derived", "3", "--poisoned", "1")
    said = run("packs.py", tmp_path, *arguments)
    assert "retired 4 of it and 3 of 3 derived" in said
    assert "honest skill serves" in said
    assert re.search(r"poisoned skills that serve: 0 of 1 \(0.000, 0.000 to 0.\d+\)", said)


def test_transfer(tmp_path: Path) -> None:
    arguments = ("--rounds", "2", "--attempts", "30", "--tool-calls", "40", "--trials", "2")
    said = run("transfer.py", tmp_path, *QUICK, *arguments)
    assert "exported again: the same bytes" in said
    assert re.search(r"difference +[+-]\d\.\d\d \(.*\), paired, n=4", said)


@pytest.mark.skipif(
    not REQUIRE_BROWSER and find_chromium() is None, reason=f"no Chromium: run `{INSTALL}`"
)
def test_store(tmp_path: Path) -> None:
    few = ("--rounds", "1", "--attempts", "1", "--kinds", "viewing", "--tasks", "2")
    said = run("store.py", tmp_path, *few, "--tool-calls", "4", "--concurrency", "1")
    assert said.startswith("practice: 1 attempts, 0 skills")
    assert re.search(r"difference [+-]\d\.\d\d \(.*\), paired", said)
    assert "let it practise more" in said


def test_rebuild_packs(tmp_path: Path) -> None:
    words = ("courier", "--quick", "--out", str(tmp_path / "packs"))
    said = run("rebuild_packs.py", tmp_path, *words)
    assert re.search(r"(?m)^agentlab/courier 1\.0\.0 [0-9a-f]{64}$", said)
    assert (tmp_path / "packs" / "courier" / "pack.json").is_file()


def test_calibrate_judge(practised: tuple[Path, str]) -> None:
    said = run("calibrate_judge.py", practised[0])
    assert re.search(r"kappa -?\d\.\d\d \(.*, n=\d+\)", said)


def test_mcp_server(tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    few = ("--attempts", "8", "--proposals", "8", "--heldout", "4", "--index", "exact")
    said = run("mcp_server.py", tmp_path / "workspace", *few, "--rounds", "1")
    assert said.startswith("agentlab practice 'mcp:") and "serve {folder}' --model search" in said
    assert "8 attempts; tasks 8 proposed, 8 admitted" in said
    assert re.search(r"(?m)^ *empty library +\d+% .* 4$", said)


def test_tools_todo(tmp_path: Path) -> None:
    few = ("--rounds", "1", "--attempts", "8", "--proposals", "8", "--heldout", "4")
    few += ("--tool-calls", "60", "--heldout-tool-calls", "60", "--index", "exact")
    tools = "tools:" + str(EXAMPLES / "tools_todo.py")
    done = subprocess.run(
        [sys.executable, "-m", "agentlab", "practice", tools, "--model", "search", *few],
        env={**os.environ, "AGENTLAB_WORKSPACE": str(tmp_path / "workspace")},
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "8 attempts; tasks 8 proposed, 8 admitted" in done.stdout
    assert re.search(r"(?m)^ *empty library +\d+% .* 4$", done.stdout)
