"""The probes of a box, run by one process as one user, with the outside watched.

    python -m tests.integration.boxes_harness BOX

prints one JSON object: for each probe whether it was held, and what was seen. A process of its
own, so that the same probes run as root and as another user. `BREACH` in a probe's answer is
what got through as seen from inside; `World.breaches` adds what was seen from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from agentlab.errors import AgentLabError
from agentlab.sandbox import BoxRuntime, RuntimeLimits, open_runtime
from agentlab.testing.runtime_conformance import TOOLS, Recorder, check_runtime, searched_skill
from agentlab.types import JsonObject

LIMITS = RuntimeLimits(seconds=15.0, cpu_seconds=3.0, memory_bytes=256 << 20, stop_seconds=0.1)
QUICK = RuntimeLimits(seconds=0.5, cpu_seconds=3.0, memory_bytes=256 << 20, stop_seconds=0.1)

CONFORMANCE = "conformance"
"""The name under which the public suite for runtimes is reported."""
PRELUDE = """
import os
breaches = []
def attempt(what, action):
    try:
        got = action()
    except (OSError, MemoryError, AttributeError, ImportError) as error:
        return None
    breaches.append([what, str(got)[:80]])
    return got
"""


class Probe(NamedTuple):
    """One thing that skill code must not be able to do."""

    body: str
    """Adds to `breaches`; its answer is that list."""
    may_end: bool = False
    """Being stopped by a limit is how it is held."""
    quick: bool = False
    """Needs the wall clock to end it."""


RAW = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
def raw(number, *arguments):
    ctypes.set_errno(0)
    got = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments))
    if got < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return got
arm = os.uname().machine == "aarch64"
"""

PROBES: dict[str, Probe] = {
    "read_passwd": Probe("attempt('passwd', lambda: open('/etc/passwd').read())"),
    "read_secret": Probe("attempt('secret', lambda: open(world['secret']).read())"),
    "list_root": Probe(
        "names = attempt('list', lambda: os.listdir(os.path.dirname(world['secret'])))\n"
        "top = set()\n"
        "try: top = set(os.listdir('/'))\n"
        "except OSError: pass\n"
        "if top & {'etc', 'home', 'var', 'tmp', 'proc', 'sys'}: breaches.append(sorted(top))"
    ),
    "read_installed_packages": Probe(
        "import sys\n"
        "for path in sys.path:\n"
        "    for name in ('site-packages', 'dist-packages'):\n"
        "        where = os.path.join(path, name, 'README.txt')\n"
        "        attempt(where, lambda: open(where).read())"
    ),
    "write_outside": Probe(
        "attempt('write', lambda: open(world['outside'] + '/written', 'w').write('x'))\n"
        "attempt('mode', lambda: os.chmod(world['secret'], 0o777))\n"
        "attempt('times', lambda: os.utime(world['secret'], (1, 1)))\n"
        "attempt('owner', lambda: os.chown(world['secret'], os.getuid(), -1))\n"
        "attempt('name', lambda: os.setxattr(world['secret'], 'user.x', b'x'))\n"
        "attempt('shorten', lambda: os.truncate(world['secret'], 0))\n"
        "attempt('remove', lambda: os.unlink(world['secret']))"
    ),
    "symlink": Probe(
        "try: os.symlink(world['secret'], 'link')\n"
        "except OSError: pass\n"
        "attempt('link', lambda: open('link').read())\n"
        "attempt('planted', lambda: os.symlink(world['secret'], world['outside'] + '/link'))"
    ),
    "environment": Probe(
        "import ctypes\n"
        "for name in os.environ:\n"
        "    if name not in ('PYTHONHASHSEED', 'LC_CTYPE', 'PWD'): breaches.append(name)\n"
        "attempt('getenv', lambda: {}[1] if os.getenv('AGENTLAB_PROBE_SECRET') else open('/-'))"
    ),
    "proc": Probe(
        "import glob\n"
        "for path in (glob.glob('/proc/[0-9]*/environ')\n"
        "             + [f'/proc/{world[\"parent\"]}/environ', '/proc/self/environ']):\n"
        "    attempt(path, lambda: open(path, 'rb').read())"
    ),
    "inherited_descriptors": Probe(
        "for number in range(5, 256):\n    attempt(number, lambda: os.fstat(number))"
    ),
    "tcp": Probe(
        "import socket\n"
        "attempt('tcp', lambda: socket.create_connection(('127.0.0.1', world['tcp']), timeout=1))"
    ),
    "udp": Probe(
        "import socket\n"
        "def send():\n"
        "    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:\n"
        "        return s.sendto(b'x', ('127.0.0.1', world['udp']))\n"
        "attempt('udp', send)"
    ),
    "abstract_socket": Probe(
        "import socket\n"
        "def connect():\n"
        "    with socket.socket(socket.AF_UNIX) as s:\n"
        "        s.connect('\\0' + world['abstract'])\n"
        "attempt('abstract', connect)"
    ),
    "subprocess": Probe(
        "import subprocess, sys\n"
        "attempt('run', lambda: subprocess.run([sys.executable, '-c', 'pass'], check=True))\n"
        "attempt('exec', lambda: os.execv(sys.executable, [sys.executable, '-c', 'pass']))\n"
        "attempt('spawn', lambda: os.posix_spawn(sys.executable, ['python', '-c', ''], {}))"
    ),
    "ctypes_system": Probe(
        "import ctypes\nif ctypes.CDLL(None).system(b'exit 3') == 3 << 8: breaches.append('system')"
    ),
    "raw_calls": Probe(
        RAW + "buffer = ctypes.create_string_buffer(256)\n"
        "at = ctypes.addressof(buffer)\n"
        "calls = {\n"
        "    'unshare': (97 if arm else 272, 0x10000000),\n"
        "    'ptrace': (117 if arm else 101, 16, world['victim'], 0, 0),\n"
        "    'bpf': (280 if arm else 321, 0, at, 128),\n"
        "    'io_uring': (425, 4, at),\n"
        "    'keyctl': (219 if arm else 250, 0, -3, 1),\n"
        "    'perf': (241 if arm else 298, at, 0, -1, -1, 0),\n"
        "    'userfaultfd': (282 if arm else 323, 1),\n"
        "    'mount': (40 if arm else 165, at, at, at, 4096, 0),\n"
        "    'memfd': (279 if arm else 319, at, 0),\n"
        "    'process_vm_readv': (270 if arm else 310, world['victim'], at, 1, at, 1, 0),\n"
        "    'prlimit': (261 if arm else 302, world['parent'], 7, 0, at),\n"
        "    'setns': (268 if arm else 308, 0, 0),\n"
        "    'clone3': (435, at, 88),\n"
        "    'pidfd_open': (434, world['victim'], 0),\n"
        "    'seccomp': (277 if arm else 317, 2, 0, 0),\n"
        "}\n"
        "for name, (number, *rest) in calls.items():\n"
        "    try: breaches.append([name, raw(number, *rest)])\n"
        "    except OSError as error:\n"
        "        if error.errno not in (1, 38): breaches.append([name, error.errno])"
    ),
    "namespace_clone": Probe(
        RAW + "for flag in (0x10000000, 0x20000, 0x40000000):\n"
        "    attempt(hex(flag), lambda: raw(220 if arm else 56, flag | 17, 0, 0, 0, 0))"
    ),
    "terminal_input": Probe(
        "import fcntl\n"
        "for number in (0x5412, 0x541C, 0x8901):\n"
        "    for descriptor in (0, 3, 4):\n"
        "        attempt(hex(number), lambda: fcntl.ioctl(descriptor, number, b'x' * 8))\n"
        "attempt('owner', lambda: fcntl.fcntl(4, 8, world['victim']))"
    ),
    "signal_victim": Probe(
        "for number in (0, 10, 9): attempt(number, lambda: os.kill(world['victim'], number))"
    ),
    "signal_parent": Probe(
        "for target in (os.getppid(), world['parent']):\n"
        "    for number in (0, 10): attempt(target, lambda: os.kill(target, number))\n"
        "attempt('everyone', lambda: os.kill(-1, 0))"
    ),
    "fork_bomb": Probe(
        "started = 0\n"
        "for _ in range(120):\n"
        "    try: process = os.fork()\n"
        "    except OSError: break\n"
        "    if process == 0:\n"
        "        import time\n"
        "        time.sleep(5)\n"
        "        os._exit(0)\n"
        "    started += 1\n"
        "if started > 32: breaches.append(started)"
    ),
    "daemon": Probe(
        "def away():\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            import time\n"
        "            time.sleep(2)\n"
        "            open(world['outside'] + '/daemon', 'w').close()\n"
        "        os._exit(0)\n"
        "try: away()\n"
        "except OSError: pass"
    ),
    "reserve_memory": Probe("attempt('10 GB', lambda: len(bytearray(10 << 30)))", may_end=True),
    "touch_memory": Probe(
        "kept = []\n"
        "def touch():\n"
        "    for _ in range(40): kept.append(bytearray(b'x') * (30 << 20))\n"
        "    return len(kept)\n"
        "attempt('1.2 GB', touch)",
        may_end=True,
    ),
    "big_file": Probe(
        "def write():\n"
        "    with open('big', 'wb') as file:\n"
        "        for _ in range(300): file.write(bytes(1 << 20))\n"
        "attempt('300 MB', write)",
        may_end=True,
    ),
    "many_files": Probe(
        "def write():\n"
        "    for number in range(300):\n"
        "        with open(f'part{number}', 'wb') as file: file.write(bytes(1 << 19))\n"
        "attempt('150 MB', write)",
        may_end=True,
    ),
    "standard_output": Probe(
        "import sys\n"
        "for _ in range(200):\n"
        "    sys.stdout.write('x' * (1 << 20))\n"
        "    os.write(1, b'x' * (1 << 20))"
    ),
    "pipe_flood": Probe(
        "for _ in range(200):\n    os.write(4, b'x' * (1 << 20))\nbreaches.append('all read')",
        may_end=True,
    ),
    "endless_loop": Probe("while True: pass", may_end=True, quick=True),
    "sleep": Probe("import time\ntime.sleep(60)", may_end=True, quick=True),
    "outlive_parent": Probe(RAW + "attempt('death signal', lambda: raw(157, 1, 0, 0, 0, 0))"),
}


@dataclass
class World:
    """What lies outside, and whether anything reached it."""

    directory: Path
    listeners: dict[str, socket.socket] = field(default_factory=dict[str, socket.socket])
    victim: subprocess.Popen[bytes] | None = None
    signals: int = 0

    def document(self) -> JsonObject:
        """What a probe is told."""
        assert self.victim is not None
        return {
            "secret": str(self.directory / "secret"),
            "outside": str(self.directory),
            "victim": self.victim.pid,
            "parent": os.getpid(),
            "tcp": int(self.listeners["tcp"].getsockname()[1]),
            "udp": int(self.listeners["udp"].getsockname()[1]),
            "abstract": self.directory.name,
        }

    def breaches(self) -> list[str]:
        """What can be seen from here."""
        found: list[str] = []
        if {path.name for path in self.directory.iterdir()} != {"secret"}:
            found.append(f"files: {sorted(path.name for path in self.directory.iterdir())}")
        else:
            secret = (self.directory / "secret").stat()
            if (secret.st_mode & 0o777, secret.st_size) != (0o644, 6) or secret.st_mtime < 2:
                found.append("the secret was changed")
        for name, listener in self.listeners.items():
            with contextlib.suppress(OSError):
                _ = listener.recv(10) if name == "udp" else listener.accept()
                found.append(f"{name} was reached")
        if self.victim is None or self.victim.poll() is not None:
            found.append("the victim was signalled")
        if self.signals:
            found.append("the parent was signalled")
        return found


@contextlib.contextmanager
def world() -> Any:
    """Build it, and take it away again."""
    with (
        tempfile.TemporaryDirectory(prefix="agentlab-harness-") as directory,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as abstract,
        subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as victim,
    ):
        place = Path(directory)
        place.chmod(0o777)
        (place / "secret").write_text("secret")
        (place / "secret").chmod(0o644)
        udp.bind(("127.0.0.1", 0))
        abstract.bind("\0" + place.name)
        abstract.listen(4)
        for listener in (tcp, udp, abstract):
            listener.setblocking(False)
        around = World(place, {"tcp": tcp, "udp": udp, "abstract": abstract}, victim)

        def note(*_: object) -> None:
            around.signals += 1

        signal.signal(signal.SIGUSR1, note)
        try:
            yield around
        finally:
            victim.kill()


async def probe(runtime: BoxRuntime, name: str, around: World) -> tuple[bool, str]:
    """Whether one probe was held, and what was seen."""
    known = json.dumps(around.document())
    lines = [f"world = {known}", *PRELUDE.splitlines(), *PROBES[name].body.splitlines()]
    body = "".join(f"    {line}\n" for line in [*lines, "return breaches"])
    skill = searched_skill("act", f"def act(env):\n{body}")
    skill = skill.model_copy(update={"origin": "import"})
    await runtime.open([skill], TOOLS)
    recorder = Recorder()
    got = await runtime.call("act", {}, recorder)
    if name == "daemon":
        await runtime.close()
        await asyncio.sleep(2.5)
    outside = around.breaches()
    seen = f"value {got.value!r:.300}, error {got.error!r:.300}, outside {outside}"
    inside = got.value == [] if got.completed else PROBES[name].may_end
    return inside and not outside and not recorder.calls, seen


async def run(box: str) -> JsonObject:
    """Every probe on a box."""
    os.environ["AGENTLAB_PROBE_SECRET"] = "canary"
    answer: JsonObject = {}
    runtimes = {
        False: open_runtime(box, limits=LIMITS),
        True: open_runtime(box, limits=QUICK),
    }
    try:
        for name, what in PROBES.items():
            with world() as around:
                held, seen = await probe(runtimes[what.quick], name, around)
            answer[name] = [held, seen]
    finally:
        for runtime in runtimes.values():
            await runtime.close()
    report = await check_runtime(lambda: open_runtime(box, limits=QUICK))
    answer[CONFORMANCE] = [report.passed, str(report.failures)]
    return answer


def main() -> None:
    """Print what was found, or why the box cannot be used."""
    try:
        found = asyncio.run(run(sys.argv[1]))
    except AgentLabError as error:
        print(json.dumps({"unavailable": str(error)}))
    else:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
