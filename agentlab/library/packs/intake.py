"""Where a pack comes in: a zip file, a folder or a git address, to files in memory.

Every file is read once, and what was checked is what is used; nothing is written, unpacked or
checked out before every limit held. No link is followed and no program of the pack's is run.
What is returned has passed the limits alone: `folder.read` says whether it is a pack.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Literal, NamedTuple

from agentlab.library.packs.archive import read_archive
from agentlab.library.packs.limits import MAX_BYTES, MAX_FILES, check_files, check_path
from agentlab.library.packs.refusal import refuse
from agentlab.library.packs.repository import is_address, read_repository


class Intake(NamedTuple):
    """The files of a pack that has been read and lies within the limits."""

    kind: Literal["zip", "folder", "git"]
    files: dict[str, bytes]


def open_source(source: str | Path, *, ref: str | None = None) -> Intake:
    """Read a pack from where the user says it is.

    Args:
        source: path of a zip file or a folder, or an `https://` or `file://` address of a git
            repository. A path never means the network.
        ref: branch or tag of a repository; its default branch otherwise.

    Raises:
        PackRefusedError: names the file that breaks a limit, and which.
    """
    text = os.fspath(source)
    if isinstance(source, str) and is_address(text):
        kind, files = "git", read_repository(text, ref=ref)
    elif os.path.isdir(text):
        kind, files = "folder", read_folder(text)
    else:
        kind, files = "zip", read_archive(_read_file(text), name=os.path.basename(text))
    check_files(files)
    return Intake(kind, files)


def read_folder(path: str | Path) -> dict[str, bytes]:
    """The files of a folder, by path; each is opened once, without following links.

    Raises:
        PackRefusedError: a link, a special or executable file, or too much.
    """
    files: dict[str, bytes] = {}
    try:
        # The folder that the user named may be reached by links of the user's own.
        root = os.open(os.path.realpath(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise refuse(os.fspath(path), "source", f"cannot be opened: {error.strerror}") from None
    try:
        _walk(root, "", files)
    finally:
        os.close(root)
    return files


def _walk(folder: int, prefix: str, files: dict[str, bytes]) -> None:
    for name in sorted(os.listdir(folder)):
        path = f"{prefix}{name}"
        # Also bounds the depth, and with it the descriptors that are open at a time.
        check_path(path)
        if len(files) >= MAX_FILES:
            raise refuse(path, "too-many-files", f"is one more than {MAX_FILES} files")
        kind = stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        if kind == stat.S_IFDIR:
            inner = _open(path, name, folder, os.O_DIRECTORY)
            try:
                _walk(inner, f"{path}/", files)
            finally:
                os.close(inner)
        elif kind == stat.S_IFLNK:
            raise refuse(path, "link", "is a symbolic link")
        else:
            taken = sum(map(len, files.values()))
            files[path] = _take(path, _open(path, name, folder, 0), MAX_BYTES - taken)


def _open(path: str, name: str, folder: int | None, flags: int) -> int:
    try:
        # A pipe that took the file's place must not make the reader wait.
        flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        link = error.errno in (errno.ELOOP, errno.ENOTDIR)
        why = f"cannot be opened as itself: {error.strerror}"
        raise refuse(path, "link" if link else "special-file", why) from None


def _take(path: str, descriptor: int, limit: int) -> bytes:
    """The bytes of an open file that is a plain one; closes it."""
    with open(descriptor, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise refuse(path, "special-file", "is neither a plain file nor a folder")
        if state.st_nlink > 1:
            raise refuse(path, "link", "has a second name (a hard link)")
        if state.st_mode & 0o7111:
            raise refuse(path, "mode", "is executable; nothing in a pack may be")
        data = file.read(limit + 1)
        if len(data) > limit:
            raise refuse(path, "too-large", f"brings the pack over {MAX_BYTES // 1_000_000} MB")
        return data


def _read_file(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise refuse(path, "source", f"cannot be opened: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise refuse(path, "special-file", "is neither a zip file nor a folder")
        return file.read(MAX_BYTES + 1)
