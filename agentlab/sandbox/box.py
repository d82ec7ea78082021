"""The seam between a runtime and what keeps skill code in: how one child is started.

A `Box` starts a child that speaks the line protocol over two pipes, and knows how to end it
with everything that it started. It says nothing about skills; the conversation and its checks
are the runtime's and the same for every box.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from agentlab.sandbox.interpreter import FLAGS
from agentlab.sandbox.protocol import RuntimeLimits

CHILD = Path(__file__).with_name("child.py")
CONFINE = Path(__file__).with_name("confine.py")


class Started(Protocol):
    """A child that was started; whether it is ready it says itself, in the line protocol."""

    @property
    def reading(self) -> int:
        """The descriptor on which the child's lines arrive."""
        ...

    @property
    def writing(self) -> int:
        """The descriptor to which lines for the child are written; it does not block."""
        ...

    @property
    def cpu_seconds(self) -> float:
        """Processor time so far, of everything in the box; 0 where nobody tells."""
        ...

    def attach(self) -> None:
        """Called once, when the child is ready and before it gets any code."""
        ...

    def exit_status(self) -> int | None:
        """How it ended, waiting at most a second; negative for a signal, None if unknown."""
        ...

    def stop(self) -> None:
        """Have it and all that it started ended at once, without waiting for it."""
        ...

    def kill(self) -> None:
        """End it and all that it started, and remove what it left. Safe to call twice."""
        ...


class Box(Protocol):
    """A way to keep skill code in."""

    @property
    def name(self) -> str:
        """What a result is labelled with."""
        ...

    @property
    def takes_foreign_code(self) -> bool:
        """Whether code that search did not make may run here."""
        ...

    def version(self) -> str:
        """What does the keeping, for people; empty where it is not there."""
        ...

    def unavailable(self) -> str | None:
        """Why no child can be started on this machine, as a sentence with the fix, or None."""
        ...

    def start(self, limits: RuntimeLimits) -> Started:
        """Start a child without waiting until it is ready.

        Raises:
            SkillFaultError: it cannot be started.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """What a child gives up by itself before it runs skill code; see `confine.py`."""

    drop: bool = True
    """Give up every capability."""
    uid: int | None = None
    """The user to become."""
    parent_signal: int = 9
    """Sent to the child by the kernel when the thread that started it has ended."""
    landlock: int = 0
    """The ABI to use, or 0."""
    paths: tuple[tuple[str, int], ...] = ()
    """What stays reachable under Landlock, with the rights."""
    filter: bytes = b""


@cache
def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def child_command(
    executable: str, limits: RuntimeLimits, confinement: Confinement, *more: str
) -> list[str]:
    """The command that runs the child, with its source in it: a box need show no file of ours."""
    spec = asdict(confinement) | {"filter": b64encode(confinement.filter).decode()}
    return [*bare_command(executable, CONFINE), json.dumps(spec), *child_arguments(limits, *more)]


def child_arguments(limits: RuntimeLimits, *more: str) -> list[str]:
    """The source of the child and its own arguments."""
    return [_source(CHILD), json.dumps(asdict(limits)), *more]


def bare_command(executable: str, program: Path, arguments: Sequence[str] = ()) -> list[str]:
    """An isolated interpreter with a program of ours on its command line."""
    return [executable, *FLAGS, "-c", _source(program), *arguments]
