"""What a machine lacks is skipped, and fails where it is required: no test skips it by itself."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests import required
from tests.required import Required, installed, lacking, trainers_python

TESTS = Path(__file__).parents[1]
HERE = Path(required.__file__)
VARIABLES: tuple[Required, ...] = ("REQUIRE_BROWSER", "REQUIRE_TRAINERS")
PARTS = ("playwright", "miniwob", "trl", "trainers", "chromium")
"""What the two variables require, as a reason or a package's name spells it."""


def skips_of_a_part(path: Path) -> list[int]:
    """Lines in which a test skips for want of a part that a variable can require."""
    found: list[int] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("skip", "importorskip"):
                said = ast.unparse(node).lower()
                if any(part in said for part in PARTS):
                    found.append(node.lineno)
    return found


def test_no_test_skips_a_part_by_itself() -> None:
    looked = [path for path in TESTS.rglob("*.py") if path not in (HERE, Path(__file__))]
    found = {path.name: lines for path in looked if (lines := skips_of_a_part(path))}
    assert found == {}


@pytest.mark.parametrize("variable", VARIABLES)
def test_what_is_lacking_is_skipped_unless_it_is_required(
    variable: Required, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such part"):
        lacking("no such part", variable)
    monkeypatch.setenv(variable, "1")
    with pytest.raises(pytest.fail.Exception, match="no such part"):
        lacking("no such part", variable)
    with pytest.raises(pytest.fail.Exception, match="make install"):
        installed("no_such_package", variable)
    installed("pytest", variable)


def test_a_python_without_trl_is_no_trainers_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    monkeypatch.setattr(required, "NAMED", str(bare))
    monkeypatch.setenv("REQUIRE_TRAINERS", "1")
    with pytest.raises(pytest.fail.Exception, match=r"lacks .*trl.*; to make it: make trainers"):
        trainers_python()
