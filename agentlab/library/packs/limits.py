"""What the files of a pack may be: how many, how large, how named, and holding what.

Pure rules over names and bytes, the same for a zip, a folder, a repository and our own export,
so that nothing is exported that could not be imported. They say nothing about meaning: a file
that passes here may still lie.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from agentlab.library.packs.refusal import refuse

MAX_BYTES = 20_000_000
"""Of an archive, and of all files together once they are unpacked."""
MAX_FILES = 2_000
MAX_RATIO = 100
"""Unpacked size over packed size, of each file and of all together."""
MAX_PATH = 240
"""Bytes of a path."""
MAX_DEPTH = 8
"""Parts of a path."""

PACK = "pack.json"
PACK_ENVELOPE = "pack.dsse.json"
README = "README.md"
NOTES = "memory/notes.jsonl"
SKILL_DOCUMENT = "SKILL.md"
CODE = "scripts/skill.py"
EFFECT = "scripts/effect.py"
CASES = "tests/cases.jsonl"
MANIFEST = ".agentlab/manifest.json"
MANIFEST_ENVELOPE = ".agentlab/manifest.dsse.json"
EVIDENCE = ".agentlab/evidence.json"

_IN_SKILL = (SKILL_DOCUMENT, CODE, EFFECT, CASES, MANIFEST, MANIFEST_ENVELOPE, EVIDENCE)
_PLACES = re.compile(
    "|".join(
        (
            *map(re.escape, (PACK, PACK_ENVELOPE, README, NOTES)),
            r"LICENSES/[A-Za-z0-9.+-]+\.txt",
            rf"skills/[^/]+/(?:{'|'.join(map(re.escape, _IN_SKILL))})",
            r"skills/[^/]+/references/(?:[^/]+/)*[^/]+\.(?:md|txt|json|jsonl|csv)",
        )
    )
)
_FOLDER = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_RESERVED = re.compile(r"(?i)(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")

_ARCHIVES = (
    *(b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!"),
    *(b"\x28\xb5\x2f\xfd", b"MSCF", b"!<arch>"),
)
_ARCHIVE_NAMES = re.compile(
    r"(?i).*\.(?:zip|whl|jar|egg|tar|t?gz|t?bz2?|t?xz|zst|7z|rar|cab|iso|deb|rpm)"
)
_BINARIES = (b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"\0asm", b"%PDF")
_BINARY_NAMES = re.compile(
    r"(?i).*\.(?:pkl|pickle|joblib|npy|npz|pt|pth|so|dll|dylib|exe|pyc|pyo|pyd|o|a|bin|wasm|class)"
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")

_UNSEEN = re.compile(
    "["
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\ue000-\uf8ff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff"
    "]"
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters (category Cc), tab and newline apart."""


def unseen(text: str) -> str | None:
    """The first character that a reader would not see as it is, such as `U+200B`, or None.

    Zero-width, bidirectional, tag and private-use characters, variation selectors, fillers,
    and control characters other than tab and newline. A carriage return counts: it hides the
    line before it in a terminal.
    """
    match = _UNSEEN.search(text) or _CONTROL.search(text)
    return None if match is None else f"U+{ord(match[0]):04X}"


def is_folder_name(name: str) -> bool:
    """Whether a skill's folder may be called that: stricter than Agent Skills, ASCII only."""
    return len(name) <= 64 and _FOLDER.fullmatch(name) is not None


def check_path(path: str) -> None:
    """Refuse a path that is not a plain relative one.

    Raises:
        PackRefusedError: it leaves the pack, or is one that some system reads in another way.
    """
    parts = path.split("/")
    try:
        size = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        raise refuse(path, "encoding", "has a name that is not UTF-8") from None
    if not path or path.startswith("/") or "\\" in path or ":" in path or "\0" in path:
        raise refuse(path, "path", "is not a relative path with forward slashes")
    if any(part in ("", ".", "..") for part in parts):
        raise refuse(path, "path", "has an empty part, '.' or '..' in its path")
    if (hidden := unseen(path)) is not None:
        raise refuse(path, "hidden-text", f"has the unseen character {hidden} in its name")
    if not unicodedata.is_normalized("NFC", path):
        raise refuse(path, "path", "has a name that is not in Unicode normal form C")
    if any(
        part != part.strip() or part.endswith(".") or _RESERVED.fullmatch(part) for part in parts
    ):
        raise refuse(path, "path", "has a name that not every system can keep")
    if any(part.casefold() == ".git" for part in parts):
        raise refuse(path, "path", "is part of a repository; import that by its file:// address")
    if size > MAX_PATH or len(parts) > MAX_DEPTH:
        raise refuse(path, "path", f"is longer than {MAX_PATH} bytes or {MAX_DEPTH} parts")


def check_names(paths: Iterable[str]) -> None:
    """Refuse paths that are bad or that fall together on another file system.

    A path that ends in a slash is that of a folder, which may be named beside its files.

    Raises:
        PackRefusedError: a path is bad, or two differ only in case or in Unicode form.
    """
    seen: dict[str, str] = {}
    files: set[str] = set()
    folders: set[str] = set()
    named: set[str] = set()
    for number, entry in enumerate(paths, 1):
        path = entry.removesuffix("/")
        if number > MAX_FILES:
            raise refuse(path, "too-many-files", f"is file number {number}; {MAX_FILES} may be")
        check_path(path)
        if entry in named:
            raise refuse(path, "duplicate-entry", "is there twice")
        named.add(entry)
        (files if entry == path else folders).add(path)
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            part = "/".join(parts[:end])
            folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", part).casefold())
            if seen.setdefault(folded, part) != part:
                raise refuse(path, "collision", f"falls together with {seen[folded]!a}")
            if end < len(parts):
                folders.add(part)
    for path in sorted(files & folders):
        raise refuse(path, "collision", "is a file and a folder")


def check_text(path: str, data: bytes) -> None:
    """Refuse anything but plain text in the place that the format gives it.

    Raises:
        PackRefusedError: an archive, a pickle, a binary, hidden text, or out of place.
    """
    if _ARCHIVE_NAMES.fullmatch(path) or data.startswith(_ARCHIVES) or data[257:262] == b"ustar":
        raise refuse(path, "nested-archive", "is an archive inside the pack")
    if _BINARY_NAMES.fullmatch(path) or data.startswith(_BINARIES) or _PICKLE.match(data):
        raise refuse(path, "binary", "is a binary or pickled file; a pack holds text only")
    if b"\0" in data:
        raise refuse(path, "binary", "holds a zero byte; a pack holds text only")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse(path, "encoding", f"is not UTF-8 at byte {error.start}") from None
    if (hidden := unseen(text)) is not None:
        line = text[: _offset(text, hidden)].count("\n") + 1
        raise refuse(path, "hidden-text", f"has the unseen character {hidden} in line {line}")
    if not _PLACES.fullmatch(path):
        raise refuse(path, "layout", "has no place in the format agentlab.pack/1")
    parts = path.split("/")
    if parts[0] == "skills" and not is_folder_name(parts[1]):
        raise refuse(
            path, "name", "is in a folder that is not named in a-z, 0-9 and single hyphens"
        )


def check_files(files: Mapping[str, bytes]) -> None:
    """Refuse a set of files that a pack may not be.

    Raises:
        PackRefusedError: names the first file at fault, in the order of paths.
    """
    check_names(sorted(files))
    total = 0
    for path in sorted(files):
        total += len(files[path])
        if total > MAX_BYTES:
            raise refuse(path, "too-large", f"brings the pack over {MAX_BYTES // 1_000_000} MB")
        check_text(path, files[path])


def _offset(text: str, hidden: str) -> int:
    return text.index(chr(int(hidden[2:], 16)))
