"""Skill code in a plain subprocess with limits. It is NOT a security boundary.

The child has an empty environment, a temporary working directory, a session of its own and
limits on memory, processor time, files and wall clock, so that a mistake in skill code ends
in an error and not in a hanging or swollen agent. It can still read files and open sockets.
So it takes only code that search made out of our own tool calls; code that a model, a pack or
a person wrote is refused, and needs a box. `unsafe_local` lifts that for people who ask for
it, under another name, so that every result can be labelled.
"""

from __future__ import annotations

import platform
import shutil
import signal
import sys
import tempfile
from functools import partial

from agentlab.sandbox.box import CHILD, Confinement, Started, child_command
from agentlab.sandbox.interpreter import ENVIRONMENT, FLAGS
from agentlab.sandbox.process import LocalProcess
from agentlab.sandbox.protocol import RuntimeLimits
from agentlab.sandbox.runtime import BoxRuntime

__all__ = ["CHILD", "ENVIRONMENT", "FLAGS", "PlainBox", "SubprocessRuntime"]


class PlainBox:
    """Starts a child with limits and no walls; implements `box.Box`."""

    def __init__(self, *, unsafe_local: bool = False) -> None:
        self.takes_foreign_code = unsafe_local
        self.name = "unsafe-local" if unsafe_local else "subprocess"

    def version(self) -> str:
        """The version of Python."""
        return platform.python_version()

    def unavailable(self) -> str | None:
        """Never: where this runs, it can start itself, or says so when it is asked to."""
        return None

    def start(self, limits: RuntimeLimits) -> Started:
        """Start a child in a temporary directory, which goes when the child does."""
        directory = tempfile.mkdtemp(prefix="agentlab-skill-")
        # Not a kill: the child still has its directory to remove when the agent was killed.
        confinement = Confinement(drop=False, parent_signal=signal.SIGTERM)
        return LocalProcess(
            child_command(sys.executable, limits, confinement, directory),
            environment=ENVIRONMENT,
            directory=directory,
            release=partial(shutil.rmtree, directory, ignore_errors=True),
        )


class SubprocessRuntime(BoxRuntime):
    """Runs skill code that search made; implements `protocols.SkillRuntime`.

    One child serves every call until `close`, another every check. A child that was killed or
    died is replaced at the next call. Opening other skills keeps the child.
    """

    def __init__(self, limits: RuntimeLimits | None = None) -> None:
        super().__init__(PlainBox(), limits, spares=0, keep=True)
