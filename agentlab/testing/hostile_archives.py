"""Zip files that no importer should take: what is wrong is in the archive, not in the pack.

Each is built byte by byte, since the libraries that write zip files will not write most of
these. They are data; nothing here unpacks one.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from agentlab.library.packs.limits import MAX_FILES
from agentlab.library.packs.refusal import Reason


class HostileArchive(NamedTuple):
    """An archive, and the word for which it must be refused."""

    name: str
    reason: Reason
    data: bytes


class Member(NamedTuple):
    """One entry of an archive, and whatever lies about it. None says the truth."""

    name: str | bytes
    content: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    deflate: bool = False
    flags: int = 0x0800
    method: int | None = None
    extra: bytes = b""
    comment: bytes = b""
    system: int = 3
    size: int | None = None
    """In both headers."""
    crc: int | None = None
    local_name: bytes | None = None
    local_size: int | None = None
    offset: int | None = None
    after: bytes = b""
    """Bytes between this entry and the next."""


def pack_members(members: list[Member], *, before: bytes = b"", comment: bytes = b"") -> bytes:
    """A zip file of exactly these members."""
    body, directory = before, b""
    for member in members:
        name = member.name if isinstance(member.name, bytes) else member.name.encode()
        packed = _deflate(member.content) if member.deflate else member.content
        method = member.method if member.method is not None else 8 * member.deflate
        size = len(member.content) if member.size is None else member.size
        crc = zlib.crc32(member.content) if member.crc is None else member.crc
        offset = len(body) if member.offset is None else member.offset
        local_name = name if member.local_name is None else member.local_name
        local_size = size if member.local_size is None else member.local_size
        time = (0, 0x21)
        body += struct.pack(
            "<4s5H3L2H",
            *(b"PK\x03\x04", 20, member.flags, method, *time),
            *(crc, len(packed), local_size, len(local_name), len(member.extra)),
        )
        body += local_name + member.extra + packed + member.after
        directory += struct.pack(
            "<4s6H3L5H2L",
            *(b"PK\x01\x02", member.system << 8 | 20, 20, member.flags, method, *time),
            *(crc, len(packed), size, len(name), len(member.extra), len(member.comment)),
            *(0, 0, member.mode << 16, offset),
        )
        directory += name + member.extra + member.comment
    count = len(members)
    end = (b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), len(comment))
    return body + directory + struct.pack("<4s4H2LH", *end) + comment


def hostile_archives(files: Mapping[str, bytes]) -> list[HostileArchive]:
    """Every hostile archive, made from the files of a good pack."""
    good = [Member(path, files[path]) for path in sorted(files)]
    found = [*_slips(good), *_bombs(good), *_kinds(good), *_lies(good), *_envelopes(good)]
    return found


def _slips(good: list[Member]) -> Iterator[HostileArchive]:
    paths: tuple[tuple[str, str | bytes, Reason], ...] = (
        ("parent", "../evil.py", "path"),
        ("deep-parent", "skills/../../evil.py", "path"),
        ("trailing-parent", "skills/..", "path"),
        ("absolute", "/etc/passwd", "path"),
        ("double-slash", "skills//evil.md", "path"),
        ("dot", "./pack2.json", "path"),
        ("backslash", "..\\evil.py", "path"),
        ("drive", "C:/evil.py", "path"),
        ("drive-relative", "c:evil.py", "path"),
        ("unc", "//host/share/evil", "path"),
        ("stream", "README.md:evil", "path"),
        ("zero-byte", "README.md\0.py", "path"),
        ("empty", "", "path"),
        ("reserved", "skills/fetch-thing/references/con.md", "path"),
        ("trailing-dot", "skills/fetch-thing/references/a.", "path"),
        ("trailing-space", "skills/fetch-thing/references/a.md ", "path"),
        ("git-hook", "skills/fetch-thing/references/.git/x.md", "path"),
        ("too-deep", "skills/fetch-thing/references/a/b/c/d/e/f/g.md", "path"),
        ("too-long", f"skills/fetch-thing/references/{'a' * 300}.md", "path"),
        ("zero-width-name", "skills/fetch-thing/references/a\u200b.md", "hidden-text"),
        ("right-to-left-name", "skills/fetch-thing/references/a\u202edm.md", "hidden-text"),
        ("newline-name", "skills/fetch-thing/references/a\r.md", "hidden-text"),
        ("decomposed-name", "skills/fetch-thing/references/e\u0301.md", "path"),
        ("not-utf8-name", b"skills/fetch-thing/references/\xff.md", "encoding"),
    )
    for name, path, reason in paths:
        yield HostileArchive(f"slip-{name}", reason, pack_members([*good, Member(path, b"x\n")]))
    yield HostileArchive(
        "slip-folder", "path", pack_members([*good, Member("../evil/", b"", stat.S_IFDIR | 0o755)])
    )
    cp437 = Member(b"skills/fetch-thing/references/\x82.md", b"x\n", flags=0)
    yield HostileArchive("slip-old-encoding", "encoding", pack_members([*good, cp437]))


def _bombs(good: list[Member]) -> Iterator[HostileArchive]:
    place = "skills/fetch-thing/references/"
    zeros = Member(f"{place}a.txt", b"0" * 5_000_000, deflate=True)
    yield HostileArchive("bomb-ratio", "ratio", pack_members([*good, zeros]))
    mixed = b"".join(b"%d\n" % (number * 7919 % 100_003) for number in range(450_000))
    large = [Member(f"{place}{number}.txt", mixed * 2, deflate=True) for number in range(5)]
    yield HostileArchive("bomb-total", "too-large", pack_members([*good, *large]))
    stored = Member(f"{place}a.txt", b"a" * 20_000_001)
    yield HostileArchive("bomb-archive", "too-large", pack_members([*good, stored]))
    claimed = Member(f"{place}a.txt", b"a" * 300_000, deflate=True, size=20_000)
    yield HostileArchive("bomb-small-claim", "header-mismatch", pack_members([*good, claimed]))
    huge = Member(f"{place}a.txt", b"a", size=0xFFFFFFFE)
    yield HostileArchive("bomb-huge-claim", "too-large", pack_members([*good, huge]))
    many = [Member(f"{place}{number}.txt") for number in range(MAX_FILES + 1)]
    yield HostileArchive("bomb-many-files", "too-many-files", pack_members(many))
    # One body of data that two entries share: how a small file unpacks to a huge one.
    shared = [Member(f"{place}a.txt", b"x" * 99), Member(f"{place}b.txt", b"x" * 99)]
    shared[1] = shared[1]._replace(offset=0)
    yield HostileArchive("bomb-overlap", "archive", pack_members(shared))
    inner = pack_members(good)
    for name in ("more.zip", "more.txt", "more.md"):
        nested = Member(f"{place}{name}", inner)
        yield HostileArchive(f"nested-{name}", "nested-archive", pack_members([*good, nested]))
    for name, start in (
        ("gzip", b"\x1f\x8b\x08\0"),
        ("bzip2", b"BZh91AY"),
        ("xz", b"\xfd7zXZ\0"),
        ("tar", b"a" * 257 + b"ustar\x0000"),
    ):
        nested = Member(f"{place}data.txt", start)
        yield HostileArchive(f"nested-{name}", "nested-archive", pack_members([*good, nested]))


def _kinds(good: list[Member]) -> Iterator[HostileArchive]:
    place = "skills/fetch-thing/references/a.md"
    link = Member(place, b"/etc/passwd", stat.S_IFLNK | 0o777)
    yield HostileArchive("symlink", "link", pack_members([*good, link]))
    foreign = link._replace(system=0)
    yield HostileArchive("symlink-of-dos", "link", pack_members([*good, foreign]))
    replaced = [m if m.name != "README.md" else m._replace(mode=link.mode) for m in good]
    yield HostileArchive("symlink-in-place", "link", pack_members(replaced))
    for name, kind in (
        ("fifo", stat.S_IFIFO),
        ("socket", stat.S_IFSOCK),
        ("device", stat.S_IFCHR),
        ("block-device", stat.S_IFBLK),
        ("folder-as-file", stat.S_IFDIR),
    ):
        member = Member(place, b"", kind | 0o644)
        yield HostileArchive(name, "special-file", pack_members([*good, member]))
    for name, mode in (("executable", 0o755), ("group-executable", 0o654), ("set-uid", 0o4644)):
        member = Member(place, b"x\n", stat.S_IFREG | mode)
        yield HostileArchive(name, "mode", pack_members([*good, member]))
    code = [
        m if not str(m.name).endswith(".py") else m._replace(mode=stat.S_IFREG | 0o755)
        for m in good
    ]
    yield HostileArchive("executable-code", "mode", pack_members(code))
    for name, flags in (("encrypted", 0x0801), ("strongly-encrypted", 0x0841), ("masked", 0x2800)):
        yield HostileArchive(
            name, "encrypted", pack_members([*good, Member(place, b"x\n", flags=flags)])
        )


def _lies(good: list[Member]) -> Iterator[HostileArchive]:
    place = "skills/fetch-thing/references/a.md"
    changes: tuple[tuple[str, Reason, Member], ...] = (
        ("lie-local-name", "header-mismatch", Member(place, b"x\n", local_name=b"../evil.py")),
        ("lie-local-size", "header-mismatch", Member(place, b"x\n", local_size=1)),
        ("lie-stored-size", "header-mismatch", Member(place, b"x\n", size=1)),
        ("lie-small-size", "header-mismatch", Member(place, b"x" * 500, deflate=True, size=400)),
        ("lie-large-size", "header-mismatch", Member(place, b"x" * 500, deflate=True, size=501)),
        ("lie-checksum", "changed-file", Member(place, b"x\n", crc=1)),
        ("lie-deflated", "archive", Member(place, b"\xff\xff\xff\xff", method=8)),
        ("lie-method", "archive", Member(place, b"x\n", method=14)),
        ("lie-descriptor", "archive", Member(place, b"x\n", flags=0x0808)),
        ("lie-folder-content", "archive", Member(f"{place}/", b"x\n", stat.S_IFDIR | 0o755)),
        ("lie-offset", "archive", Member(place, b"x\n", offset=3)),
        ("lie-far-offset", "archive", Member(place, b"x\n", offset=0xFFFFFF)),
        ("lie-gap", "archive", Member(place, b"x\n", after=b"hidden")),
        ("lie-comment", "archive", Member(place, b"x\n", comment=b"hidden")),
        ("lie-extra-broken", "archive", Member(place, b"x\n", extra=b"\x01")),
        (
            "lie-second-name",
            "header-mismatch",
            Member(place, b"x\n", extra=struct.pack("<HHBL", 0x7075, 9, 1, 0) + b"evil"),
        ),
        (
            "lie-second-size",
            "header-mismatch",
            Member(place, b"x\n", extra=struct.pack("<HHQ", 1, 8, 9)),
        ),
    )
    for name, reason, member in changes:
        yield HostileArchive(name, reason, pack_members([*good, member]))
    twice = [*good, Member("README.md", b"Another.\n")]
    yield HostileArchive("duplicate-entry", "duplicate-entry", pack_members(twice))
    twice = [*good, Member("pack.json", b"{}\n")]
    yield HostileArchive("duplicate-manifest", "duplicate-entry", pack_members(twice))
    for name, path in (
        ("case", "readme.MD"),
        ("folder-case", "Skills/fetch-thing/references/a.md"),
        ("sharp-s", "skills/fetch-thing/references/stra\u00dfe.md"),
        ("ligature", "skills/fetch-thing/references/\ufb01le.md"),
        ("full-width", "skills/fetch-thing/references/\uff46ile.md"),
        ("file-and-folder", "README.md/a.md"),
    ):
        others = [
            Member("skills/fetch-thing/references/strasse.md", b"x\n"),
            Member("skills/fetch-thing/references/file.md", b"x\n"),
        ]
        yield HostileArchive(
            f"collision-{name}", "collision", pack_members([*good, *others, Member(path, b"x\n")])
        )


def _envelopes(good: list[Member]) -> Iterator[HostileArchive]:
    """Archives that are wrong as a whole."""
    data = pack_members(good)
    yield HostileArchive("archive-prefix", "archive", pack_members(good, before=b"#!/bin/sh\n"))
    yield HostileArchive("archive-shifted", "archive", b"MZ" + data)
    yield HostileArchive("archive-comment", "archive", pack_members(good, comment=b"hidden"))
    yield HostileArchive("archive-suffix", "archive", data + b"hidden")
    yield HostileArchive("archive-two", "archive", data + data)
    yield HostileArchive("archive-cut", "archive", data[:-30])
    yield HostileArchive("archive-empty", "archive", b"")
    yield HostileArchive("archive-tar", "archive", b"a" * 257 + b"ustar\x0000" + b"\0" * 700)
    end = len(data) - 22
    fewer = bytearray(data)
    struct.pack_into("<2H", fewer, end + 8, len(good) - 1, len(good) - 1)
    yield HostileArchive("archive-counts-fewer", "archive", bytes(fewer))
    more = bytearray(data)
    struct.pack_into("<2H", more, end + 8, len(good) + 1, len(good) + 1)
    yield HostileArchive("archive-counts-more", "archive", bytes(more))
    disks = bytearray(data)
    struct.pack_into("<2H", disks, end + 4, 1, 1)
    yield HostileArchive("archive-disks", "archive", bytes(disks))


def _deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()
