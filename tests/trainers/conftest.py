"""The trainers' Python, where there is one, and a tiny model to train."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.trainers.tiny_model import write_model

ROOT = Path(__file__).parents[2]
NAMED = os.environ.get("AGENTLAB_TRAIN_PYTHON")
PYTHON = Path(NAMED) if NAMED else ROOT / ".venv-train" / "bin" / "python"
"""Looked for before each test takes the variables of this project away."""


@pytest.fixture(scope="module")
def module_python() -> Path:
    """The trainers' Python, which the tests of it are skipped without."""
    if not os.access(PYTHON, os.X_OK):
        why = "there is no trainers' environment; to make it: make trainers"
        if os.environ.get("REQUIRE_TRAINERS"):
            pytest.fail(why)
        pytest.skip(why)
    return PYTHON


@pytest.fixture
def train_python(module_python: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, named for the commands that look for it."""
    monkeypatch.setenv("AGENTLAB_TRAIN_PYTHON", str(module_python))
    return module_python


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model."""
    return write_model(tmp_path_factory.mktemp("models") / "base")
