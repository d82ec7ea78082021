"""The working folder of a server: filled, looked at, and put back, by differences in memory.

A tree maps a path below the folder to a file's bytes, or to None for a folder. After each look
every file that changed is given one fixed modification time, so that the next change shows even
where the clock has not moved on, and so that nothing a server reads of it depends on the hour.
Links are not followed and only regular files are read. Nothing is ever written outside.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import JsonValue

from agentlab.errors import EnvironmentFaultError
from agentlab.types import JsonObject, digest

Tree = Mapping[str, bytes | None]
EPOCH = 1_000_000_000 * 10**9
"""The modification time of every file, in nanoseconds."""
MOST_FILES = 2_000
MOST_BYTES = 16 * 1024 * 1024
"""What a working folder may hold in all."""
MOST_TEXT = 20_000
"""Characters of a file that the state tells."""


FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Folder:
    """One working folder, made in the temporary directory and removed by `remove`."""

    def __init__(self) -> None:
        self.path = os.path.realpath(tempfile.mkdtemp(prefix="agentlab-mcp-"))
        self.tree: dict[str, bytes | None] = {}
        self._stamps: dict[str, tuple[int, int, int]] = {}
        self._odd: list[str] = []
        """What is there and neither a file nor a folder; it is no part of the state."""
        atexit.register(self.remove)

    def remove(self) -> None:
        """Delete it with all that is in it."""
        atexit.unregister(self.remove)
        shutil.rmtree(self.path, ignore_errors=True)

    def look(self) -> Tree:
        """Read what changed since the last look.

        Raises:
            EnvironmentFaultError: it holds more than a working folder may.
        """
        seen: dict[str, os.stat_result] = {}
        try:
            _walk(self.path, "", seen)
        except OSError as error:
            raise EnvironmentFaultError(
                f"mcp: the working folder cannot be read: {error.strerror}."
            ) from error
        total = sum(found.st_size for found in seen.values() if stat.S_ISREG(found.st_mode))
        if total > MOST_BYTES:
            raise EnvironmentFaultError(
                f"mcp: the working folder holds {total:,} bytes; {MOST_BYTES:,} are allowed."
            )
        for path in [path for path in self.tree if path not in seen]:
            del self.tree[path]
            self._stamps.pop(path, None)
        self._odd = [
            path
            for path, found in seen.items()
            if not (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode))
        ]
        for path in self._odd:
            # A link, say: what was known of its place is no longer so.
            self.tree.pop(path, None)
            self._stamps.pop(path, None)
        for path, found in seen.items():
            if path in self._odd:
                continue
            if stat.S_ISDIR(found.st_mode):
                self.tree[path] = None
                self._stamps.pop(path, None)
            elif self._stamps.get(path) != _stamp(found) or self.tree.get(path) is None:
                self._read(path)
        return dict(self.tree)

    def _read(self, path: str) -> None:
        full = os.path.join(self.path, path)
        with contextlib.suppress(OSError):
            handle = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                self.tree[path] = file.read(MOST_BYTES)
            os.utime(full, ns=(EPOCH, EPOCH))
            self._stamps[path] = _stamp(os.stat(full, follow_symlinks=False))

    def put(self, tree: Tree) -> None:
        """Make the folder hold this and nothing else.

        Raises:
            EnvironmentFaultError: it cannot be written.
        """
        now = self.look()
        try:
            for path in self._odd:
                self._delete(path)
            gone = [
                path
                for path in now
                if path not in tree or (now[path] is None) != (tree[path] is None)
            ]
            for path in sorted(gone, reverse=True):
                self._delete(path)
            for path in sorted(tree):
                wanted = tree[path]
                if path in now and path not in gone and now[path] == wanted:
                    continue
                full = os.path.join(self.path, path)
                if wanted is None:
                    os.close(self._enter(path))
                    continue
                self._write(path, wanted)
                self._stamps[path] = _stamp(os.stat(full, follow_symlinks=False))
                self.tree[path] = wanted
        except OSError as error:
            raise EnvironmentFaultError(
                f"mcp: the working folder cannot be put back: {error.strerror}."
            ) from error
        self.tree = dict(tree)

    def _enter(self, path: str) -> int:
        """A handle on a folder below this one, made where it is missing; no link is followed."""
        here = os.open(self.path, FOLDER)
        for part in [part for part in path.split("/") if part]:
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=here)
                inner = os.open(part, FOLDER, dir_fd=here)
            finally:
                os.close(here)
            here = inner
        return here

    def _write(self, path: str, content: bytes) -> None:
        folder, _, name = path.rpartition("/")
        place = self._enter(folder)
        try:
            with contextlib.suppress(FileNotFoundError):
                mode = os.lstat(name, dir_fd=place).st_mode
                if not stat.S_ISREG(mode) or not mode & stat.S_IWUSR:
                    os.unlink(name, dir_fd=place)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(name, flags, 0o644, dir_fd=place), "wb") as file:
                file.write(content)
            os.utime(name, ns=(EPOCH, EPOCH), dir_fd=place, follow_symlinks=False)
        finally:
            os.close(place)

    def _delete(self, path: str) -> None:
        full = os.path.join(self.path, path)
        self._stamps.pop(path, None)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(full).st_mode):
                shutil.rmtree(full)
            else:
                os.unlink(full)


def _walk(root: str, below: str, seen: dict[str, os.stat_result]) -> None:
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            if len(seen) >= MOST_FILES:
                raise EnvironmentFaultError(
                    f"mcp: the working folder holds more than {MOST_FILES:,} files."
                )
            path = f"{below}/{entry.name}" if below else entry.name
            seen[path] = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(seen[path].st_mode):
                _walk(root, path, seen)


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def hidden(path: str) -> bool:
    """Whether a part of the path begins with a dot: kept, and no fact."""
    return any(part.startswith(".") for part in path.split("/"))


def within(path: str, places: Collection[str]) -> bool:
    """Whether the path is one of these, or below one."""
    return any(path == place or path.startswith(f"{place}/") for place in places)


def facts_of(tree: Tree, ignore: Collection[str] = ()) -> JsonObject:
    """A tree as facts: `files` with path and text, `folders` with their path."""
    files: list[JsonValue] = []
    folders: list[JsonValue] = []
    for path in sorted(tree):
        content = tree[path]
        if hidden(path) or within(path, ignore):
            continue
        if content is None:
            folders.append({"folder": path})
        else:
            files.append({"path": path, "text": text_of(content)})
    return {"files": files, "folders": folders}


def text_of(content: bytes) -> str:
    """A file's text; of another file, and of a long one, its size and digest."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return f"({len(content)} bytes that are no text, {digest(content.hex())[:12]})"
    if len(text) <= MOST_TEXT:
        return text
    return f"{text[:MOST_TEXT]}… ({len(text)} characters, {digest(text)[:12]})"


def unseen(tree: Tree, ignore: Collection[str] = ()) -> str:
    """A digest of what the facts leave out, for the key of a snapshot."""
    left = {
        path: (content or b"").hex()
        for path, content in tree.items()
        if hidden(path) and not within(path, ignore)
    }
    return digest(left)[:16] if left else ""


def read_template(path: str) -> Tree:
    """A folder of the user's own as a tree.

    Raises:
        EnvironmentFaultError: it holds too much, or cannot be read.
    """
    seen: dict[str, os.stat_result] = {}
    try:
        _walk(path, "", seen)
        return {
            name: None if stat.S_ISDIR(found.st_mode) else Path(path, name).read_bytes()
            for name, found in seen.items()
            if stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
        }
    except OSError as error:
        raise EnvironmentFaultError(f"mcp: {path!r} cannot be read: {error.strerror}.") from error
