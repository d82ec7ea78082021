"""Whether a Chroma directory can be read, found out in another process.

A damaged directory can end the process that opens it (a segmentation fault is no exception), so
this is asked first when there is doubt. The child must show that it can count, list every id,
read every vector and find a sample of them by search. It repairs nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

_SAMPLE = 256
_NEAR = 0.999
_PACKAGE = Path(__file__).resolve().parents[3]


def ids_digest(ids: Iterable[str]) -> str:
    """What stands for a set of ids, given sorted."""
    return hashlib.sha256("\0".join(ids).encode()).hexdigest()


def find_fault(
    directory: Path, *, collection: str, dimension: int, ids: list[str], seconds: float = 0.0
) -> str | None:
    """What is wrong with a directory that should hold exactly these ids, or None.

    Args:
        directory: of a `ChromaIndex` that no process has open.
        collection: its name.
        dimension: of its vectors.
        ids: all ids that it should hold, sorted.
        seconds: how long the check may take; 0 means 30 and a second for each 500 items.
    """
    command = [sys.executable, "-m", __name__, str(directory), collection, str(dimension)]
    path = os.pathsep.join(filter(None, (str(_PACKAGE), os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [*command, ids_digest(ids)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds or 30.0 + len(ids) / 500,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "reading it did not end in time"
    except OSError as error:
        return f"it could not be checked: {error.strerror}"
    if done.returncode < 0:
        return f"reading it ended the process ({signal.Signals(-done.returncode).name})"
    try:
        verdict = json.loads(done.stdout.decode().splitlines()[-1])
        fault = verdict["fault"]
    except (ValueError, LookupError, TypeError):
        return f"the check ended with status {done.returncode} and no verdict"
    return None if fault is None else str(fault)


def _examine(directory: Path, collection: str, dimension: int, digest: str) -> str | None:
    from agentlab.errors import IndexFaultError
    from agentlab.library.index.chroma import ChromaIndex

    try:
        index = ChromaIndex(directory, collection=collection, dimension=dimension)
        held = list(index.ids())
        if len(held) != len(index) or ids_digest(held) != digest:
            return f"it holds other items than it should ({len(held)} of them)"
        known, vectors = index.read(held)
        if sorted(known) != held or not np.isfinite(vectors).all():
            return "some of its vectors cannot be read"
        step = max(1, len(known) // _SAMPLE)
        for vector in vectors[::step]:
            if vector.any() and index.search(vector, 1)[0].similarity < _NEAR:
                return "a vector that it holds is not found by search"
        index.close()
    except (IndexFaultError, ValueError) as error:
        return str(error)
    return None


def main(arguments: list[str]) -> int:
    """Examine a directory and print `{"fault": null}` or `{"fault": "…"}`."""
    directory, collection, dimension, digest = arguments
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    fault = _examine(Path(directory), collection, int(dimension), digest)
    sys.stdout.write(json.dumps({"fault": fault}) + "\n")
    return 0 if fault is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
