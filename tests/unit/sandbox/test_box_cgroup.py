"""A control group holds what a user's own limits do not: root's processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agentlab.sandbox.cgroup import PROCESSES, Cgroup

FORK = """
import os, sys
sys.stdin.readline()
started = 0
reading, writing = os.pipe()
for _ in range(100):
    try:
        process = os.fork()
    except OSError:
        break
    if process == 0:
        os.setsid()
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    started += 1
print(started, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def group() -> Cgroup:
    made = Cgroup.make(256 << 20)
    if made is None:
        pytest.skip("this user can make no control group")
    return made


def test_a_group_limits_and_ends_what_left_its_session(group: Cgroup) -> None:
    directories = list(group.directories)
    if not any((directory / "pids.max").exists() for directory in directories):
        group.remove()
        pytest.skip("no control group here limits processes")
    with subprocess.Popen(
        [sys.executable, "-S", "-c", FORK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        group.add([process.pid])
        process.stdin.write("\n")
        process.stdin.flush()
        assert int(process.stdout.readline()) == PROCESSES - 1
        assert len(group.processes()) == PROCESSES
        group.kill()
        process.wait()
    group.remove()
    assert not any(directory.exists() for directory in directories)


def test_a_group_says_what_memory_it_has(group: Cgroup) -> None:
    limits = [
        (directory / name).read_text().strip()
        for directory in group.directories
        for name in ("memory.max", "memory.limit_in_bytes")
        if (directory / name).exists()
    ]
    group.remove()
    if not limits:
        pytest.skip("no control group here limits memory")
    assert limits == [str(256 << 20)]


def test_a_process_that_is_gone_is_passed_over(group: Cgroup) -> None:
    group.add([2**22 + 1])
    assert group.processes() == []
    group.remove()
    group.remove()
