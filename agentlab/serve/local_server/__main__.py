"""Runs the server from its folder, `python agentlab/serve/local_server`, under any Python.

The trainers' Python has no agentlab, and putting this one's packages on its path would mix two
environments. So the packages above these files are made here as bare names for their folders:
what they would import is not imported, and the server's own files are found.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def name_packages() -> None:
    """Make `agentlab`, `agentlab.serve` and `agentlab.models` importable as mere folders."""
    top = Path(__file__).resolve().parents[2]
    for name, folder in (
        ("agentlab", top),
        ("agentlab.serve", top / "serve"),
        ("agentlab.models", top / "models"),
    ):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package


if __name__ == "__main__":
    # This folder's own files must not be found under names of their own.
    sys.path.pop(0)
    name_packages()
    from agentlab.serve.local_server.starting import main

    main()
