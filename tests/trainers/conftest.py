"""The trainers' Python, where there is one, and a tiny model to train."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.required import trainers_python
from tests.trainers.tiny_model import write_model


@pytest.fixture(scope="module")
def module_python() -> Path:
    """The trainers' Python, which the tests of it are skipped without."""
    return trainers_python()


@pytest.fixture
def train_python(module_python: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, named for the commands that look for it."""
    monkeypatch.setenv("AGENTLAB_TRAIN_PYTHON", str(module_python))
    return module_python


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model."""
    return write_model(tmp_path_factory.mktemp("models") / "base")
