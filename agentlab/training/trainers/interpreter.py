"""The trainers' Python: an environment of its own, because trainers want versions of their own.

It is the one that AGENTLAB_TRAIN_PYTHON names, else `.venv-train` of the project in the current
folder, else this Python, if it has torch and trl.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, cast

from agentlab.errors import ConfigError

VARIABLE = "AGENTLAB_TRAIN_PYTHON"
FOLDER = ".venv-train"
MAKE = (
    f"make it with `make trainers`, or name a Python that has torch and trl in {VARIABLE} "
    "(see requirements/train.txt)"
)
_ASKED = ("torch", "trl", "transformers", "peft", "datasets", "accelerate")
_ASK = (
    "import json\nfrom importlib.metadata import PackageNotFoundError, version\nfound = {}\n"
    f"for name in {_ASKED!r}:\n    try:\n        found[name] = version(name)\n"
    "    except PackageNotFoundError:\n        found[name] = None\nprint(json.dumps(found))"
)
PATIENCE = 60.0
"""Seconds that a Python may take to say what it has."""


class TrainPython(NamedTuple):
    """A Python to train with."""

    path: str
    said_by: str
    """What named it, in words."""


def find_python() -> TrainPython | None:
    """The trainers' Python; None where there is none. It is not started.

    Raises:
        ConfigError: the variable names no file that can be run.
    """
    named = os.environ.get(VARIABLE, "")
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise ConfigError(f"{VARIABLE} names {named!r}, which is no Python; {MAKE}.")
        return TrainPython(named, VARIABLE)
    folder = Path.cwd() / FOLDER / "bin" / "python"
    if os.access(folder, os.X_OK):
        return TrainPython(str(folder), FOLDER)
    if find_spec("torch") is not None and find_spec("trl") is not None:
        return TrainPython(sys.executable, "this Python")
    return None


def train_python() -> TrainPython:
    """The trainers' Python.

    Raises:
        ConfigError: there is none; says how to make it.
    """
    found = find_python()
    if found is None:
        raise ConfigError(f"There is no Python to train with; {MAKE}.")
    return found


def versions(python: TrainPython) -> dict[str, str | None]:
    """What it has of the libraries that trainers need, by name; empty where it does not start."""
    try:
        done = subprocess.run(
            [python.path, "-I", "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        return cast("dict[str, str | None]", json.loads(done.stdout))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return {}
