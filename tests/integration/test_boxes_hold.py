"""The probes on every box that this machine has, as root and as another user.

Each combination is a process of its own (`boxes_harness`), which watches the outside while the
probes run; all of them run at once. The same probes without walls get through, which shows that
they can.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import cast

import pytest

from agentlab.sandbox.interpreter import base_executable
from tests.integration.boxes_harness import CONFORMANCE, PROBES

ROOT = Path(__file__).parents[2]
OTHER = 65534
BOXES = ("bubblewrap", "landlock")
USERS = ("present", "readable", "other")
"""Who runs the agent; `readable` is the present user, root, with an interpreter that anyone may
read, for which the box is built in another way."""
GETS_THROUGH = (
    "read_passwd",
    "read_secret",
    "write_outside",
    "symlink",
    "tcp",
    "udp",
    "abstract_socket",
    "subprocess",
    "raw_calls",
    "signal_victim",
    "signal_parent",
    "many_files",
)
"""What a plain subprocess does not hold, whoever runs it."""

Answer = dict[str, tuple[bool, str]]


def start(python: str, user: str, *arguments: str) -> subprocess.Popen[str]:
    uid = OTHER if user == "other" else None
    path = [str(ROOT), *sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})]
    return subprocess.Popen(
        [python, *arguments],
        cwd=ROOT,
        env={
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": "/nonexistent" if uid else os.path.expanduser("~"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
    )


@cache
def python_for(user: str) -> str | None:
    """An interpreter of this version with which the user can import the package."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (base_executable(), f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            with start(python, user, "-c", "import tests.integration.boxes_harness") as process:
                process.communicate(timeout=60)
        except OSError:
            continue
        if process.returncode == 0:
            return python
    return None


@cache
def answers() -> dict[tuple[str, str], Answer | str]:
    """What every combination found, or why it could not be run."""
    wanted = [(box, user) for box in BOXES for user in USERS] + [("unsafe-local", "present")]
    found: dict[tuple[str, str], Answer | str] = {}
    running: dict[tuple[str, str], subprocess.Popen[str]] = {}
    for box, user in wanted:
        if user != "present" and os.geteuid() != 0:
            found[box, user] = "only root can become another user"
        elif (python := python_for("present" if user == "present" else "other")) is None:
            found[box, user] = f"no interpreter here can be read by the user {OTHER}"
        elif user == "readable" and python == python_for("present"):
            found[box, user] = "the present interpreter is one that anyone may read"
        else:
            module = ("-m", "tests.integration.boxes_harness", box)
            running[box, user] = start(python, user, *module)
    for key, process in running.items():
        output, errors = process.communicate(timeout=110)
        assert process.returncode == 0, errors
        answer = json.loads(output)
        found[key] = answer.get("unavailable") or cast("Answer", answer)
    return found


@pytest.mark.parametrize("probe", [*PROBES, CONFORMANCE])
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("box", BOXES)
def test_the_box_holds(box: str, user: str, probe: str) -> None:
    answer = answers()[box, user]
    if isinstance(answer, str):
        pytest.skip(answer)
    held, seen = answer[probe]
    assert held, seen


def test_the_probes_get_through_where_there_are_no_walls() -> None:
    answer = answers()["unsafe-local", "present"]
    assert isinstance(answer, dict), answer
    held = [name for name in GETS_THROUGH if answer[name][0]]
    assert not held, {name: answer[name] for name in held}
