"""Starts the local model server under the Python that has torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from agentlab.training.trainers.interpreter import TO_SERVE, train_python

SERVER = Path(__file__).parent / "local_server"
ALONE = {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Threads that wait must not spin beside others, and nothing is downloaded."""


def command(folder: Path, options: Sequence[str] = ()) -> list[str]:
    """The command line that serves a folder.

    Args:
        folder: with a model as transformers saves one.
        options: as those of `agentlab serve-local`.

    Raises:
        ConfigError: there is no Python with torch.
    """
    return [train_python(TO_SERVE).path, str(SERVER), str(folder), *options]


def environment() -> dict[str, str]:
    """The environment variables for it: ours, without what leads Python to our packages."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**ALONE, **kept}


def serve_in_place(folder: Path, options: Sequence[str] = ()) -> NoReturn:
    """Become the server: signals and the exit code are then its own.

    Raises:
        ConfigError: there is no Python with torch.
    """
    line = command(folder, options)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(line[0], line, environment())
