"""A container as the box, through the `docker` command line; chosen by name.

The container has no network, no capability, a read-only root and ceilings on memory and
processes, and is removed when it ends. It costs about a second to start, an engine, and an
image that must already be there: nothing is pulled. The program may be another one that
understands the same words, such as podman.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
from functools import partial

from agentlab.sandbox.box import CHILD, Started, bare_command, child_arguments
from agentlab.sandbox.interpreter import ENVIRONMENT
from agentlab.sandbox.process import LocalProcess
from agentlab.sandbox.protocol import RuntimeLimits

IMAGE = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
USER = "65534:65534"
PROCESSES = 16
ANSWER_SECONDS = 10.0
_numbers = itertools.count()


class DockerBox:
    """Implements `box.Box` with a container.

    Args:
        image: has `python3`; it must be present.
        program: the command line client.
    """

    name = "docker"
    takes_foreign_code = True

    def __init__(self, image: str = IMAGE, program: str = "docker") -> None:
        self.image = image
        self.program = program

    def version(self) -> str:
        """The engine's version, empty where it does not answer."""
        return self._ask("version", "--format", "{{.Server.Version}}") or ""

    def unavailable(self) -> str | None:
        """Why no container can be started: no client, no engine, no image."""
        if shutil.which(self.program) is None:
            return f"The program {self.program!r} is not installed."
        if not self.version():
            return (
                f"The engine behind {self.program!r} does not answer; start it, and let this "
                "user use it."
            )
        if self._ask("image", "inspect", "--format", "{{.Id}}", self.image) is None:
            return (
                f"The image {self.image!r} is not there; bring it with `{self.program} pull "
                f"{self.image}`."
            )
        return None

    def command(self, limits: RuntimeLimits, name: str) -> list[str]:
        """The whole command line for a container of this name."""
        memory = str(limits.memory_bytes)
        files = 8 * limits.file_bytes
        words = [shutil.which(self.program) or self.program, "run", "--interactive", "--rm"]
        words += ["--name", name, "--pull", "never", "--log-driver", "none", "--init"]
        words += ["--network", "none", "--ipc", "none", "--read-only", "--cap-drop", "ALL"]
        words += ["--security-opt", "no-new-privileges", "--user", USER]
        words += ["--pids-limit", str(PROCESSES), "--memory", memory, "--memory-swap", memory]
        words += ["--ulimit", "core=0", "--ulimit", f"nofile={limits.open_files}"]
        words += ["--tmpfs", f"/box:rw,noexec,nosuid,nodev,mode=1777,size={files}"]
        words += ["--workdir", "/box"]
        for variable, value in ENVIRONMENT.items():
            words += ["--env", f"{variable}={value}"]
        words += ["--entrypoint", "python3", self.image]
        return words + bare_command("python3", CHILD, child_arguments(limits)[1:])[1:]

    def start(self, limits: RuntimeLimits) -> Started:
        """Start a container whose input and output are the pipes."""
        name = f"agentlab-{os.getpid()}-{next(_numbers)}"
        # The client finds its engine by these; the container sees nothing of them.
        kept = {
            key: value
            for key, value in os.environ.items()
            if key in {"HOME", "PATH", "XDG_RUNTIME_DIR"} or key.startswith("DOCKER_")
        }
        return LocalProcess(
            self.command(limits, name), environment=kept, release=partial(self._remove, name)
        )

    def _remove(self, name: str) -> None:
        """The client was killed; the container may still be at work."""
        with contextlib.suppress(OSError):
            subprocess.Popen(
                [self.program, "rm", "--force", name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ).wait()

    def _ask(self, *words: str) -> str | None:
        try:
            answer = subprocess.run(
                [self.program, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ANSWER_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip() or None
