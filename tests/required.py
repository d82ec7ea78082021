"""Parts that a machine may lack: what needs one is skipped there, and fails where it is required.

The checks of the project set both variables. A skip then means that something was never looked at,
so each place that misses a part asks here and skips nothing by itself.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NoReturn

import pytest

from agentlab.errors import ConfigError
from agentlab.training.trainers.interpreter import VARIABLE, train_python

Required = Literal["REQUIRE_BROWSER", "REQUIRE_TRAINERS"]
ROOT = Path(__file__).parents[1]
NAMED = os.environ.get(VARIABLE)
"""Looked for before each test takes the variables of this project away."""
PACKAGES = (
    *("torch", "transformers", "trl", "peft", "datasets", "accelerate"),
    *("fastapi", "uvicorn", "jinja2"),
)
"""What `make trainers` brings and the tests of training and serving import."""
_ASK = (
    "from importlib.util import find_spec\n"
    f"print(*(name for name in {PACKAGES!r} if find_spec(name) is None))"
)


def lacking(why: str, required: Required) -> NoReturn:
    """Skip for want of a part, or fail where the variable says that it must be there."""
    if os.environ.get(required):
        pytest.fail(why)
    pytest.skip(why, allow_module_level=True)


def installed(package: str, required: Required) -> None:
    """Return where a package is installed; else skip or fail, as `lacking` does."""
    if find_spec(package) is None:
        lacking(f"{package} is not installed; to install it: make install", required)


def trainers_python() -> Path:
    """The trainers' Python, with all that `make trainers` brings; else as `lacking` does."""
    python, why = _python(NAMED)
    if python is None:
        lacking(f"no trainers' environment: {why}; to make it: make trainers", "REQUIRE_TRAINERS")
    return python


@cache
def _python(named: str | None) -> tuple[Path | None, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE, raising=False)
        if named:
            patch.setenv(VARIABLE, named)
        try:
            found = train_python(PACKAGES, start=ROOT).path
        except ConfigError as error:
            return None, str(error)
    # Looked up and not imported: torch alone takes seconds to import.
    done = subprocess.run([found, "-c", _ASK], capture_output=True, text=True, check=False)
    if done.returncode:
        return None, f"{found} cannot be started"
    lacks = done.stdout.split()
    return (None, f"{found} lacks {', '.join(lacks)}") if lacks else (Path(found), "")
