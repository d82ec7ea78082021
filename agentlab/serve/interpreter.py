"""Which Python has torch: the trainers' own, since agentlab's needs none."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from agentlab.errors import ConfigError

VARIABLE = "AGENTLAB_TRAIN_PYTHON"
FOLDER = Path(".venv-train")
NEEDED = ("torch", "transformers")


def find_python(*, needed: Sequence[str] = NEEDED, start: Path | None = None) -> Path:
    """The trainers' Python: as the variable says, else of this project, else this one.

    Args:
        needed: packages that this Python must have to be taken.
        start: a folder of the project, by default the current one.

    Raises:
        ConfigError: there is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise ConfigError(f"{VARIABLE} names {named!r}, which is no file; name a Python.")
        return Path(named)
    here = (start or Path.cwd()).absolute()
    for folder in (here, *here.parents):
        python = folder / FOLDER / "bin" / "python"
        if python.is_file():
            return python
    if all(importlib.util.find_spec(name) is not None for name in needed):
        return Path(sys.executable)
    raise ConfigError(
        "No Python with torch was found; install agentlab-practice[serve] into a folder "
        f"{FOLDER}, or name one with {VARIABLE}."
    )
