"""What may be relied on: the names in `agentlab.__all__`, and that they cost nothing to import."""

from __future__ import annotations

import asyncio
import doctest
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import agentlab
from tests.stocking import stock

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


MODULES = frozenset({"errors", "events", "graph", "protocols", "testing", "types"})
"""Public modules for those who extend agentlab."""
NAMED = {
    "agentlab": agentlab,
    "agentlab.graph": agentlab.graph,
    "agentlab.testing": agentlab.testing,
}
PUBLIC = [
    (home, name)
    for home, module in NAMED.items()
    for name in module.__all__
    if name != "__version__" and name not in MODULES
]


@pytest.mark.parametrize("home", NAMED)
def test_all_is_sorted_and_each_name_is_there_once(home: str) -> None:
    names = NAMED[home].__all__
    assert list(names) == sorted(names) and len(set(names)) == len(names)
    for name in names:
        getattr(NAMED[home], name)


def test_all_is_complete() -> None:
    expected = {f"{prefix}{name}" for prefix in ("", "a") for name in ("practice", "evaluate")}
    expected |= {"resume", "aresume", "add_pack", "__version__"}
    expected |= {"Agent", "RunResult", "Library", "CallResult", "OpenAITool", "PackAdded"}
    expected |= {"AttemptEnded", "LearningReport"}
    expected |= {"PracticeConfig", "PracticeReport", "EvaluationReport"}
    expected |= {"Task", "Skill", "Scope", "Score", "ToolCall", "ToolSpec"}
    expected |= {"AgentLabError", "UsageError"}
    assert set(agentlab.__all__) == expected | MODULES
    assert set(agentlab.__all__) <= set(dir(agentlab))


@pytest.mark.parametrize("module", ["errors", "events", "protocols"])
def test_modules_for_extenders_name_all_that_is_theirs(module: str) -> None:
    """Every class of theirs says what it is, and is in `__all__`.

    `protocols` has none: it is one page, which is the list.
    """
    found: ModuleType = getattr(agentlab, module)
    own = {
        name
        for name, value in vars(found).items()
        if inspect.isclass(value) and value.__module__ == found.__name__ and name[0] != "_"
    }
    named = getattr(found, "__all__", sorted(own))
    assert own <= set(named) and list(named) == sorted(named)
    for name in own:
        assert inspect.getdoc(getattr(found, name)), name


@pytest.mark.parametrize(("home", "name"), PUBLIC)
def test_public_names_load_and_are_documented(home: str, name: str) -> None:
    value = getattr(NAMED[home], name)
    assert value.__name__ == name
    said = inspect.getdoc(value)
    assert said
    assert "Example:" in said, f"{name} has no example"
    if name in ("apractice", "aevaluate", "aresume"):
        assert inspect.iscoroutinefunction(value)
    if inspect.isfunction(value):
        taken = [n for n in inspect.signature(value).parameters if n not in ("args", "kwargs")]
        told = said + (inspect.getdoc(getattr(NAMED[home], name.removeprefix("a"), value)) or "")
        assert all(re.search(rf"(?m)^ *\**{each}:", told) for each in taken), f"{name}: {taken}"


@pytest.mark.parametrize(("home", "name"), PUBLIC)
def test_their_quick_examples_run(
    home: str, name: str, stocked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = getattr(NAMED[home], name)
    source = inspect.getdoc(value) or ""
    monkeypatch.setenv("AGENTLAB_WORKSPACE", str(stocked / "workspace"))
    monkeypatch.setenv("AGENTLAB_KEYS", str(stocked / "keys"))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    known = {"agentlab": agentlab, "asyncio": asyncio, name: value}
    test = doctest.DocTestParser().get_doctest(source, known, f"{home}.{name}", None, 0)
    told: list[str] = []
    doctest.DocTestRunner(optionflags=flags).run(test, out=told.append)
    assert not told, "".join(told)


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which a shipped pack serves: what the examples take for granted."""
    place = tmp_path_factory.mktemp("stocked")
    stock(place / "workspace", place / "keys")
    return place


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
