"""Reading a pack out of a git repository, without ever checking it out.

Objects are fetched one commit deep and read as bytes, so no hook, filter, attribute, large-file
pointer or submodule of the repository has an effect. Only `https` and `file` addresses are
taken, the rest of git's transports can start programs. The user's own git configuration is
left out, and with it every stored password.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from agentlab.library.packs.limits import MAX_BYTES, MAX_FILES, check_names
from agentlab.library.packs.refusal import refuse

FETCH_SECONDS = 120.0
"""How long git may take to fetch."""
_FETCH_BLOCKS = 8 * MAX_BYTES // 512
"""Largest file that git may write, in the shell's blocks of 512 bytes."""

# How this machine reaches the network, where the user named an address in it.
_PASSED_ON = (
    *("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"),
)

_ADDRESS = re.compile(r"(?i)[a-z][a-z0-9+.-]*:.*|[^/]+@[^/]+:.*", re.DOTALL)
_HTTPS = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/[A-Za-z0-9._~/%+-]+")
_FILE = re.compile(r"file:///[^\x00-\x1f\x7f?#]+")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")


class _Blob(NamedTuple):
    path: str
    name: str
    size: int


def is_address(source: str) -> bool:
    """Whether a source is meant as an address rather than as a path, good or bad."""
    return _ADDRESS.fullmatch(source) is not None


def read_repository(address: str, *, ref: str | None = None) -> dict[str, bytes]:
    """The files of a repository's commit, by path.

    Raises:
        PackRefusedError: the address is not one that is allowed, git failed, or an entry is a
            link, a submodule, executable or too much.
    """
    https = _HTTPS.fullmatch(address) is not None
    if not https and not _FILE.fullmatch(address):
        raise refuse(address, "source", "is neither an https:// nor a file:// address of git")
    if ref is not None and (not _REF.fullmatch(ref) or ".." in ref):
        raise refuse(ref, "source", "is not the name of a branch or tag")
    with tempfile.TemporaryDirectory(prefix="agentlab-pack-") as folder:
        wanted = ["--branch", ref] if ref is not None else []
        _git(
            folder,
            *("clone", "--quiet", "--bare", "--depth", "1", "--single-branch", "--no-tags"),
            *("--no-local", "--template=", *wanted, "--", address, "pack.git"),
            protocol="https" if https else "file",
            address=address,
        )
        inside = str(Path(folder) / "pack.git")
        listed = _git(inside, "ls-tree", "-r", "-z", "--long", "HEAD", address=address)
        blobs = _blobs(listed)
        names = "".join(f"{blob.name}\n" for blob in blobs).encode()
        content = _git(inside, "cat-file", "--batch", stdin=names, address=address)
    return _split(blobs, content)


def _blobs(listed: bytes) -> list[_Blob]:
    """The plain files of a tree, checked by mode, name, number and size."""
    found: list[_Blob] = []
    for row in listed.split(b"\0")[:-1]:
        about, _, raw = row.partition(b"\t")
        mode, kind, name, size = about.decode("ascii").split()
        path = raw.decode("utf-8", "backslashreplace")
        if mode == "120000":
            raise refuse(path, "link", "is a symbolic link")
        if kind != "blob":
            raise refuse(path, "special-file", "is a submodule")
        if mode != "100644":
            raise refuse(path, "mode", "is executable; nothing in a pack may be")
        found.append(_Blob(path, name, int(size)))
        if len(found) > MAX_FILES:
            raise refuse(path, "too-many-files", f"is one more than {MAX_FILES} files")
    check_names(blob.path for blob in found)
    if sum(blob.size for blob in found) > MAX_BYTES:
        raise refuse(found[-1].path, "too-large", f"is in a tree of over {MAX_BYTES // 10**6} MB")
    return found


def _split(blobs: list[_Blob], content: bytes) -> dict[str, bytes]:
    """The output of `cat-file --batch`, cut by the sizes that the tree states."""
    files: dict[str, bytes] = {}
    position = 0
    for blob in blobs:
        header = f"{blob.name} blob {blob.size}\n".encode()
        start = position + len(header)
        end = start + blob.size
        if content[position:start] != header or content[end : end + 1] != b"\n":
            raise refuse(blob.path, "source", "could not be read from the repository")
        files[blob.path] = content[start:end]
        position = end + 1
    return files


def _git(
    folder: str, *arguments: str, address: str, protocol: str = "none", stdin: bytes = b""
) -> bytes:
    """The output of a git command that knows nothing of the user and may write little."""
    command = ["/bin/sh", "-c", f'ulimit -f {_FETCH_BLOCKS}; exec git "$@"', "git"]
    command += ["-c", "core.hooksPath=/dev/null", "-c", "transfer.fsckObjects=true", *arguments]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": folder,
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": protocol,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }
    try:
        # Of its own session, so that what it started to fetch with can be ended with it.
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise refuse(address, "source", f"needs git, which does not start: {error}") from None
    with process:
        try:
            output, errors = process.communicate(stdin, timeout=FETCH_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise refuse(address, "source", f"took git over {FETCH_SECONDS:.0f} s") from None
    if process.returncode:
        said = errors.decode("utf-8", "replace").strip().splitlines()
        why = ascii(said[-1][:200]) if said else f"exit code {process.returncode}"
        raise refuse(address, "source", f"cannot be fetched by git: {why}")
    return output
