"""The trainers' Python: an environment of its own, because trainers want versions of their own.

It is the one that AGENTLAB_TRAIN_PYTHON names, else `.venv-train` of the current folder or one
above it, else this Python, if it has what is needed. Whatever loads weights runs in it: trainers,
and the server that `agentlab serve-local` starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
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
TO_TRAIN = ("torch", "trl")
TO_SERVE = ("torch", "transformers")
PATIENCE = 60.0
"""Seconds that a Python may take to say what it has."""


class TrainPython(NamedTuple):
    """A Python to train with."""

    path: str
    said_by: str
    """What named it, in words."""


def find_python(
    needed: Sequence[str] = TO_TRAIN, *, start: Path | None = None
) -> TrainPython | None:
    """The trainers' Python; None where there is none. It is not started.

    Args:
        needed: packages that this Python must have to be taken.
        start: a folder of the project, by default the current one.

    Raises:
        ConfigError: the variable names no file that can be run.
    """
    named = os.environ.get(VARIABLE, "")
    if named:
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise ConfigError(f"{VARIABLE} names {named!r}, which is no Python; {MAKE}.")
        return TrainPython(named, VARIABLE)
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        python = folder / FOLDER / "bin" / "python"
        if os.access(python, os.X_OK):
            return TrainPython(str(python), FOLDER)
    if all(find_spec(name) is not None for name in needed):
        return TrainPython(sys.executable, "this Python")
    return None


def train_python(needed: Sequence[str] = TO_TRAIN, *, start: Path | None = None) -> TrainPython:
    """As `find_python`, where there must be one.

    Raises:
        ConfigError: there is none; says how to make it.
    """
    found = find_python(needed, start=start)
    if found is None:
        raise ConfigError(f"There is no Python with {' and '.join(needed)}; {MAKE}.")
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
