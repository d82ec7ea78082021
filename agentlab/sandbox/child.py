"""The process that runs skill code: a standalone program, started by a box.

It imports nothing of agentlab and little of the standard library, so that it starts in
milliseconds and holds nothing worth reaching. It limits itself, moves the protocol off the
standard streams (what skill code prints is dropped), and serves one call at a time; see
`sandbox.protocol` for the lines. It must not be imported by the host.
"""

from __future__ import annotations

import builtins
import json
import math
import os
import sys
import time

TYPE_CHECKING = False  # `typing` itself would be a third of the time to start
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

try:
    import resource as _resource

    resource: ModuleType | None = _resource
except ImportError:  # not a POSIX system: the host's wall clock limit remains
    resource = None

BUILTINS = dict(vars(builtins))
DEEPEST = 24
"""Skills within skills."""
MOST_CODES = 1024
"""Compiled sources kept."""
REFUSED = "Raised by `env.<tool>(…)` when the environment refused the call."


class Stopped(BaseException):
    """Raised by `env.<tool>(…)` when the episode is over; every further call raises it too."""


class Box:
    """One child's state: its pipes, what is open, what is compiled."""

    def __init__(self, incoming: int, outgoing: int, limits: dict[str, float]) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.limits = limits
        self.buffer = b""
        self.skills: dict[str, str] = {}
        self.tools: frozenset[str] = frozenset()
        self.codes: dict[str, CodeType] = {}
        self.cpu_allowed = 0

    def read(self) -> dict[str, Any]:
        """The next line; the process ends where there is none."""
        while True:
            line, newline, rest = self.buffer.partition(b"\n")
            if newline:
                self.buffer = rest
                return json.loads(line)
            chunk = os.read(self.incoming, 1 << 16)
            if not chunk:
                leave()
            self.buffer += chunk

    def write(self, message: dict[str, object]) -> None:
        """Send one line."""
        line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        if len(line) > self.limits["message_bytes"]:
            raise ValueError(f"a message of {len(line)} bytes is too long")
        view = memoryview(line)
        while view:
            view = view[os.write(self.outgoing, view) :]

    def function(self, source: str, name: str, **given: object) -> Any:
        """The named function of a source, in a namespace of its own with these names in it."""
        code = self.codes.get(source)
        if code is None:
            if len(self.codes) >= MOST_CODES:
                self.codes.clear()
            code = self.codes[source] = compile(source, f"<{name}>", "exec", dont_inherit=True)
        namespace: dict[str, object] = {
            "__builtins__": dict(BUILTINS),
            "__name__": "skill",
            **given,
        }
        exec(code, namespace)
        function = namespace.get(name)
        if not callable(function):
            raise NameError(f"the source defines no function {name!r}")
        return function

    def serve(self, message: dict[str, Any]) -> bool:
        """Answer one message; False when this process should end."""
        kind = message["kind"]
        if kind == "open":
            self.skills = message["skills"]
            self.tools = frozenset(message["tools"])
            return True
        self.allow_cpu(once=message["once"])
        error, last = "", False
        try:
            if kind == "call":
                episode = Episode(self)
                value = episode.run(Env(episode), message["name"], message["arguments"])
            else:
                function = self.function(message["source"], message["function"])
                value = function(**message["arguments"])
            self.write({"kind": "returned", "value": value})
            return True
        except MemoryError:
            error, last = "MemoryError: it used too much memory", True
        except Stopped:
            error = "stopped"
        except BaseException as raised:  # skill code may raise anything, SystemExit included
            error = describe(raised)
        self.write({"kind": "raised", "error": error, "last": last})
        return not last

    def allow_cpu(self, *, once: bool) -> None:
        """Give the coming call its processor time; the system counts the whole process.

        Where no other call will follow, code cannot raise the limit again.
        """
        if resource is None:
            return
        soft = math.ceil(time.process_time() + self.limits["cpu_seconds"])
        if soft != self.cpu_allowed or once:
            self.cpu_allowed = soft
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            if once and (hard == resource.RLIM_INFINITY or hard > soft):
                hard = soft + 1
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


class Episode:
    """One call from the host: whether it was stopped, and how deep skills are nested."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.depth = 0
        self.stopped = False
        # A class can be written to, so the next call must not find this one.
        self.refused = type("ToolRefused", (Exception,), {"__doc__": REFUSED})

    def act(self, tool: str, arguments: dict[str, object]) -> dict[str, object]:
        """Ask the host for a tool call and wait for what it did."""
        if self.stopped:
            raise Stopped
        self.box.write({"kind": "act", "tool": tool, "arguments": arguments})
        answer = self.box.read()
        if answer["kind"] != "did":
            self.stopped = True
            raise Stopped
        if not answer["ok"]:
            raise self.refused(answer["text"])
        return {"text": answer["text"], "ok": True}

    def run(self, env: Env, name: str, arguments: dict[str, object]) -> object:
        """Call an opened skill in a namespace of its own."""
        if self.depth >= DEEPEST:
            raise RecursionError(f"skills are nested more than {DEEPEST} deep")
        self.depth += 1
        try:
            source = self.box.skills[name]
            return self.box.function(source, name, ToolRefused=self.refused)(env, **arguments)
        finally:
            self.depth -= 1


class Env:
    """What skill code sees: the tools as functions of keyword arguments, and `skills`."""

    __slots__ = ("_episode", "skills")

    def __init__(self, episode: Episode) -> None:
        self._episode = episode
        self.skills = Skills(self, episode)

    def __getattr__(self, name: str) -> object:
        episode = self._episode
        if name not in episode.box.tools:
            raise AttributeError(f"there is no tool named {name!r}")

        def tool(**arguments: object) -> dict[str, object]:
            return episode.act(name, arguments)

        return tool


class Skills:
    """`env.skills.<other>(…)`: the other opened skills, on the same `env`."""

    __slots__ = ("_env", "_episode")

    def __init__(self, env: Env, episode: Episode) -> None:
        self._env = env
        self._episode = episode

    def __getattr__(self, name: str) -> object:
        env, episode = self._env, self._episode
        if name not in episode.box.skills:
            raise AttributeError(f"there is no skill named {name!r}")

        def skill(**arguments: object) -> object:
            return episode.run(env, name, arguments)

        return skill


def describe(raised: BaseException) -> str:
    """The exception in one line; its text may itself raise."""
    name = type(raised).__name__
    try:
        text = str(raised)[:1000]
        text.encode()
    except BaseException:  # __str__ is skill code too
        text = ""
    return f"{name}: {text}" if text else name


def limit(limits: dict[str, float]) -> None:
    """Give up what skill code does not need; a limit that the system lacks is left out."""
    if resource is None:
        return
    for name, value in (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_AS", int(limits["memory_bytes"])),
        ("RLIMIT_FSIZE", int(limits["file_bytes"])),
        ("RLIMIT_NOFILE", int(limits["open_files"])),
        ("RLIMIT_NPROC", 0),
    ):
        try:
            _, hard = resource.getrlimit(getattr(resource, name))
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(getattr(resource, name), (most, most))
        except (AttributeError, OSError, ValueError):
            continue


DIRECTORY: list[str] = []
"""What this process has to remove, where a box gave it a directory."""


def leave(*_: object) -> None:
    """End this process, with its directory; the host may be gone and unable to."""
    for top in DIRECTORY:
        try:
            for path, directories, files in os.walk(top, topdown=False):
                for name in files:
                    os.unlink(os.path.join(path, name))
                for name in directories:
                    full = os.path.join(path, name)
                    (os.unlink if os.path.islink(full) else os.rmdir)(full)
            os.rmdir(top)
        except OSError:
            break
    os._exit(0)


def main() -> None:
    """Serve until the host closes the pipe."""
    limits: dict[str, float] = json.loads(sys.argv[1])
    DIRECTORY[:] = sys.argv[2:3]
    if DIRECTORY:
        import signal

        signal.signal(signal.SIGTERM, leave)
    incoming, outgoing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
    limit(limits)
    sys.argv[:] = [""]
    box = Box(incoming, outgoing, limits)
    box.write({"kind": "ready"})
    try:
        while box.serve(box.read()):
            pass
    finally:  # the host may have gone while a line was on its way to it
        leave()


if __name__ == "__main__":
    main()
