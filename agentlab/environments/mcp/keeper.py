"""Runs one server and ends it, with all that it started, as soon as its owner is gone.

Started as a script of its own, before the server: `keeper.py OWNER FOLDER COMMAND…`. The server
has the keeper's stdin and stdout. When the other end of stdin is closed, which the kernel does
even for an owner that was killed, the server is given a moment to end by itself; then its process
group, and whatever else of it is left, is killed. The working folder is removed where the owner
died and cannot do it. Uses the standard library alone, and nothing of agentlab.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time

GRACE = 0.5
"""Seconds that a server has to end once its stdin is closed."""
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER: orphans below this process become its children."""


def main() -> int:
    """Run the command; its exit code, or 0 where it was ended."""
    owner, folder, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    ended, told = os.pipe()
    os.set_blocking(told, False)
    # A handler is needed for the signal to be written to the pipe at all.
    signal.signal(signal.SIGCHLD, wake)
    signal.set_wakeup_fd(told)
    try:
        server = subprocess.Popen(command, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    # Only now: what ignores a signal hands that on to what it starts.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    poll = select.poll()
    poll.register(0, select.POLLRDHUP)
    poll.register(ended, select.POLLIN)
    while server.poll() is None:
        ready = [handle for handle, _ in poll.poll()]
        if ended in ready:
            os.read(ended, 4096)
        if 0 in ready:
            break
    os.close(0)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(GRACE)
    sweep(server.pid)
    if folder and os.getppid() != owner:
        shutil.rmtree(folder, ignore_errors=True)
    return server.returncode or 0


def wake(number: int, frame: object) -> None:
    """Do nothing: being called is enough."""


def sweep(group: int) -> None:
    """Kill the server's group and, until none is left, every process below this one."""
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGKILL)
    for _ in range(200):
        for child in children():
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.005)
            continue
        return


def children() -> list[int]:
    """The processes whose parent is this one; empty where the kernel does not tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as listed:
            return [int(word) for word in listed.read().split()]
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
