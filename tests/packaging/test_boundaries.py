"""Boundaries that import-linter cannot state: one file for each foreign client, and roles that
know no object, tool or environment by name (what learns on one environment learns on any)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "agentlab"
ROLES = ("proposers", "curricula", "executors", "evaluators", "curators")

ENVIRONMENTS = ("babyai", "minigrid", "gymnasium", "courier", "miniwob", "burrow")
THINGS = (
    "ball",
    "balls",
    "door",
    "doors",
    "parcel",
    "parcels",
    "lantern",
    "basket",
    "crate",
    "cabinet",
)
COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
TOOLS = (
    *("go_to", "goto", "pick_up", "pickup", "put_next", "putnext", "put_down", "put_next_to"),
    *("open_door", "read_sign", "toggle", "turn_left", "turn_right", "move_forward", "go_forward"),
)
NAMED = re.compile(
    rf"(?i)(?<![a-z])({'|'.join((*ENVIRONMENTS, *THINGS, *COLOURS, *TOOLS))})(?![a-z])"
)
# Words that code and its documentation use in another sense: a sort key, the box that code
# runs in, the records' store. As data, in a string that is no docstring, they can only be the
# objects, and the shop that is an environment.
AMBIGUOUS = re.compile(
    r"(?i)(?<![a-z])(keys?|box|boxes|rooms?|grid|carrying|locked|store)(?![a-z])"
)


def role_files() -> list[Path]:
    return [path for role in ROLES for path in sorted((PACKAGE / role).rglob("*.py"))]


def strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string constant that is not a docstring, with its line."""
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in documentation:
                yield node.lineno, node.value


def declared_names() -> set[str]:
    """Tools and predicates that the environments in this package declare."""
    found: set[str] = set()
    for path in [*(PACKAGE / "environments").rglob("*.py"), *(PACKAGE / "envs").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in ("ToolSpec", "ClauseTemplate"):
                    found |= {
                        word.value.value
                        for word in node.keywords
                        if word.arg in ("name", "predicate")
                        and isinstance(word.value, ast.Constant)
                        and isinstance(word.value.value, str)
                    }
    return found


def names_found(source: str) -> list[str]:
    found = [
        f"{number}: {match[0]}"
        for number, line in enumerate(source.splitlines(), start=1)
        for match in NAMED.finditer(line)
    ]
    for number, text in strings(ast.parse(source)):
        found += [f"{number}: {match[0]}" for match in AMBIGUOUS.finditer(text)]
    return found


def test_there_are_roles_to_look_at() -> None:
    assert {path.relative_to(PACKAGE).parts[0] for path in role_files()} == set(ROLES)


@pytest.mark.parametrize("path", role_files(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_roles_name_no_object_tool_or_environment(path: Path) -> None:
    assert names_found(path.read_text(encoding="utf-8")) == []


def test_roles_compare_with_no_declared_tool_or_predicate() -> None:
    declared = declared_names()
    assert {"go_to", "pick_up", "delivered"} <= declared
    for path in role_files():
        used = {text for _, text in strings(ast.parse(path.read_text(encoding="utf-8")))}
        assert used.isdisjoint(declared), (path.name, used & declared)


@pytest.mark.parametrize(
    "source",
    [
        "if name == 'go_to': pass",
        "is_door = kind == 1",
        "# as in BabyAI",
        "# as in the burrow",
        "if name.startswith('miniwob:'): pass",
        "if environment == 'store': pass",
        "wanted = {'kind': 'key'}",
        "text = f'the box {name}'",
        "def act(env):\n    '''Opens the doors.'''",
    ],
)
def test_the_search_finds_names(source: str) -> None:
    assert names_found(source)


@pytest.mark.parametrize(
    "source",
    [
        "sorted(items, key=len)",
        "def f():\n    '''Runs in a box.'''",
        "stored = credit + 1",
        "# by its store",
    ],
)
def test_the_search_passes_other_senses(source: str) -> None:
    assert names_found(source) == []


def importers(client: str) -> set[str]:
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            if any(module.partition(".")[0] == client for module in modules):
                found.add(path.relative_to(PACKAGE).as_posix())
    return found


@pytest.mark.parametrize("client", ["chromadb", "openai", "playwright"])
def test_one_file_imports_each_client(client: str) -> None:
    assert len(importers(client)) <= 1


def test_the_vector_database_is_imported_somewhere() -> None:
    assert importers("chromadb") == {"library/index/chroma.py"}


BELOW = frozenset(
    f"agentlab.{name}"
    for name in "envs environments registry protocols events config statistics types errors".split()
)
"""What an environment that ships may import. import-linter does not follow the link by which
`envs/` lies in the package, so its place among the layers is held here."""


def test_shipped_environments_import_only_from_below() -> None:
    paths = sorted((PACKAGE / "envs").rglob("*.py"))
    assert paths, "the link from the package to envs/ is missing"
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("agentlab"):
                assert ".".join((node.module or "").split(".")[:2]) in BELOW, (
                    f"{path}: {node.module}"
                )
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("agentlab") for alias in node.names), path
