"""The Chromium of this machine: where it is, how it is started, and what to say without one.

Nothing is downloaded, here or by playwright: a browser is found on the machine, or named by
`AGENTLAB_CHROMIUM`. It is started through `launcher.py`, so that it ends with whoever started
it, and with an environment that holds no secret of ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from agentlab.environments.web import launcher
from agentlab.errors import ConfigError

VARIABLE = "AGENTLAB_CHROMIUM"
SHELLS = ("/usr/lib/chromium/chromium-headless-shell", "chrome-headless-shell")
"""Chromium without windows, which takes half the time of the processors and less memory. Debian's
by its path: the program of that name on the path is a script that starts it as a child, which the
kernel would not end with whoever started the script."""
NAMES = (*SHELLS, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = "apt-get install chromium"
MISSING = (
    f"No Chromium was found on this machine; install one ({INSTALL}) or name yours with {VARIABLE}."
)
UNSEEN = ("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup")
"""What the address bar would suggest: pages of Chromium's own, which nobody sees, in a process for
each context that took 0.4 s of a processor, ten times what the process of a small page did."""
ARGUMENTS = (
    "--disable-gpu",
    f"--disable-features={','.join(UNSEEN)}",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--disable-quic",
    # One answer at a time, so that the proxy can tell how long each is that passes a tunnel.
    "--disable-http2",
    "--dns-prefetch-disable",
    "--no-pings",
    # Nothing is resolved or sent beside the proxy, were something to get past it.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)
HOMES = "agentlab-web-"
"""How the folders of browsers begin; then comes the process that made them."""
LONGEST = 60
"""Characters of a folder in which Chromium still starts: it makes a socket there whose path is some
45 longer, and the kernel takes 107."""
SHORT = ("/tmp", "/var/tmp")
PASSED = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "FONTCONFIG_PATH", "XDG_RUNTIME_DIR")
"""Variables that the browser may see."""


def find_chromium() -> str | None:
    """The program's path, or None."""
    named = os.environ.get(VARIABLE)
    if named:
        return shutil.which(named)
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def chromium() -> str:
    """The program's path.

    Raises:
        ConfigError: there is none; the text names the line that installs it.
    """
    found = find_chromium()
    if found is None:
        raise ConfigError(missing())
    return found


def missing() -> str:
    """What to say where no program was found."""
    named = os.environ.get(VARIABLE)
    if not named:
        return MISSING
    return (
        f"{VARIABLE} names {named!r}, which is no program that can be run; name another, or "
        f"install one ({INSTALL})."
    )


def version_of(program: str) -> str | None:
    """What the program says that it is, or None where it does not start."""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def arguments() -> list[str]:
    """What the browser is started with, beside what playwright adds."""
    # As root Chromium refuses to start with its own sandbox.
    alone = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    return [*ARGUMENTS, *alone]


def environment(home: Path) -> dict[str, str | float | bool]:
    """The variables of the browser's process: few, and a home of its own."""
    kept = {name: os.environ[name] for name in PASSED if name in os.environ}
    if "TMPDIR" in kept:
        kept["TMPDIR"] = str(temporary())
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home)}


def temporary() -> Path:
    """Where folders of browsers are made: among temporary files, unless that path is too long."""
    usual = Path(tempfile.gettempdir())
    if len(str(usual)) <= LONGEST:
        return usual
    return next((Path(each) for each in SHORT if os.access(each, os.W_OK | os.X_OK)), usual)


def make_home() -> Path:
    """A folder for this process's browser; those of processes that were killed are removed."""
    for old in temporary().glob(f"{HOMES}*"):
        owner, dash, _ = old.name.removeprefix(HOMES).partition("-")
        if dash and owner.isdecimal() and not _runs(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{HOMES}{os.getpid()}-", dir=temporary()))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # it is somebody else's
    return True


def write_launcher(folder: Path, program: str, megabytes: int) -> str:
    """A program in `folder` that starts the browser within a limit and ends it with its parent."""
    path = folder / "chromium"
    script = str(Path(launcher.__file__))
    parts = (sys.executable, "-I", "-S", script, str(megabytes), program)
    words = " ".join(map(_quoted, parts))
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    path.chmod(0o700)
    return str(path)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
