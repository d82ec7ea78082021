"""Who still asks a version of a policy: a shared lock for each user, an exclusive one to unload it.

A run is asked of one version from its beginning to its end, so a version that no longer serves is
taken off its server only when nobody holds it. The system drops the claim of a process that dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager

from agentlab.errors import WorkspaceError
from agentlab.records.files import open_lock, refuse_strangers
from agentlab.records.workspace import Workspace
from agentlab.types import derive_id

FOLDER = "leases"
TICK = 0.05


@contextmanager
def held(workspace: Workspace, adapters: Iterable[str]) -> Generator[None]:
    """Keep versions from being unloaded while the block runs; others may hold them as well.

    Raises:
        WorkspaceError: the workspace cannot be written, or holds a link that leaves it.
    """
    with ExitStack() as claims:
        for adapter in sorted({name for name in adapters if name}):
            handle = _open(workspace, adapter)
            claims.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


@contextmanager
def drained(workspace: Workspace, adapter: str, *, seconds: float) -> Generator[bool]:
    """Wait until nobody holds a version, and keep others out while the block runs.

    Args:
        workspace: where versions are held.
        adapter: the version.
        seconds: to wait; 0 looks once.

    Yields:
        Whether nobody holds it; where somebody still does, nothing is kept out.
    """
    handle = _open(workspace, adapter)
    until = time.monotonic() + seconds
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield True
                return
            if time.monotonic() >= until:
                yield False
                return
            time.sleep(TICK)
    finally:
        os.close(handle)


def _open(workspace: Workspace, adapter: str) -> int:
    folder = workspace.path / FOLDER
    try:
        refuse_strangers(workspace.path, folder)
        folder.mkdir(exist_ok=True)
        # Names of adapters come from folders of others, so the file's is derived.
        return open_lock(folder / f"{derive_id('lease', adapter)}.lock", longest=None)
    except OSError as error:
        raise WorkspaceError(
            f"The workspace's folder {str(folder)!r} cannot be written ({error.strerror}); make it "
            "writable, or choose another workspace with --workspace."
        ) from error
