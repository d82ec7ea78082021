"""What may be relied on: the names in `agentlab.__all__`, and that they cost nothing to import."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import agentlab

ROOT = Path(__file__).parents[2]
HEAVY = ("langgraph", "chromadb", "openai", "numpy", "sqlalchemy", "minigrid")

# Runs a statement, then says which modules it left loaded and the CPU seconds it took.
PROBE = """
import json, sys, time
start = time.process_time()
try:
    {statement}
except SystemExit as ended:
    assert not ended.code, ended.code
spent = time.process_time() - start
print()
print(json.dumps({{"modules": sorted(sys.modules), "seconds": spent}}))
"""
IMPORT = "import agentlab"
HELP = "sys.argv = ['agentlab', '--help']; from agentlab.cli.main import main; main()"


def probe(statement: str) -> tuple[set[str], float]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(statement=statement)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        # As for users: bytecode is kept after the first time.
        env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    return {name.partition(".")[0] for name in answer["modules"]}, answer["seconds"]


@pytest.mark.parametrize(("statement", "limit"), [(IMPORT, 0.3), (HELP, 0.6)])
def test_import_and_help_are_light(statement: str, limit: float) -> None:
    loaded: set[str] = set()
    times: list[float] = []
    # The best of five, in CPU time: the limit is on what we load, not on who else is busy.
    for _ in range(5):
        loaded, seconds = probe(statement)
        times.append(seconds)
        if seconds < limit:
            break
    assert loaded.isdisjoint(HEAVY), sorted(loaded.intersection(HEAVY))
    assert min(times) < limit


def test_the_probe_sees_what_is_loaded() -> None:
    loaded, _ = probe("import agentlab.protocols")
    assert "numpy" in loaded


def test_all_is_sorted_and_complete() -> None:
    assert agentlab.__all__ == sorted(agentlab.__all__)
    assert len(set(agentlab.__all__)) == len(agentlab.__all__)
    expected = {"Agent", "PracticeConfig", "__version__"}
    expected |= {f"{prefix}{name}" for prefix in ("", "a") for name in ("practice", "evaluate")}
    expected |= {"resume", "aresume"}
    assert set(agentlab.__all__) == expected
    assert set(agentlab.__all__) <= set(dir(agentlab))


@pytest.mark.parametrize("name", [n for n in agentlab.__all__ if n != "__version__"])
def test_public_names_load_and_are_documented(name: str) -> None:
    value = getattr(agentlab, name)
    assert value.__name__ == name
    assert inspect.getdoc(value)
    if name.startswith("a"):
        assert inspect.iscoroutinefunction(value)


@pytest.mark.parametrize("name", ["practice", "evaluate", "resume"])
def test_sync_and_async_take_the_same_arguments(name: str) -> None:
    sync, asynchronous = getattr(agentlab, name), getattr(agentlab, f"a{name}")
    assert inspect.signature(sync).parameters == inspect.signature(asynchronous).parameters


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'agentlab' has no attribute 'practise'"):
        _ = getattr(agentlab, "practise")  # noqa: B009 - pyright would refuse the plain form


def test_version_is_the_same_everywhere() -> None:
    assert version("agentlab-practice") == agentlab.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = [line.split("]")[0][4:] for line in changelog.splitlines() if line[:4] == "## ["]
    assert next(name for name in releases if name != "Unreleased") == agentlab.__version__


def test_extras_that_hints_name_exist() -> None:
    from agentlab.registry import EXTRAS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])
