"""Zip files: a strict reader over bytes, and a writer whose bytes depend on the files alone.

The reader accepts the plain core of the format and refuses the rest, because what two programs
read differently in one archive is how a checked file and a used file come to differ: entries
must lie end to end from the first byte to the directory, and each must say the same in both
places. Nothing is unpacked to disk. Compression is not used when writing, since its output
depends on the library's version; what identifies a pack is its manifest, not its archive.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from agentlab.library.packs.limits import MAX_BYTES, MAX_FILES, MAX_RATIO, check_names
from agentlab.library.packs.refusal import refuse

FIXED_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that the format can say."""

_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_DESCRIPTOR = 0x0008
_UTF8 = 0x0800
# The name once more, sizes beyond 4 GB, and encryption: each overrides what the header says.
_OVERRIDING = {0x7075: "a second name", 0x0001: "a second size", 0x9901: "encryption"}
_STORED, _DEFLATED = 0, 8


class _Entry(NamedTuple):
    """What the directory of an archive says of one file."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    mode: int
    offset: int


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """A zip of the files, in the order of their paths, the same bytes anywhere."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, FIXED_TIME)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, files[path])
    return buffer.getvalue()


def read_archive(data: bytes, *, name: str = "the archive") -> dict[str, bytes]:
    """The files of a zip, by path; folders are left out.

    Raises:
        PackRefusedError: the archive breaks a limit, is not plain, or contradicts itself.
    """
    if len(data) > MAX_BYTES:
        raise refuse(name, "too-large", f"is larger than {MAX_BYTES // 1_000_000} MB")
    entries, directory = _directory(name, data)
    check_names(entry.name for entry in entries)
    for entry in entries:
        _check_entry(entry)
    total = sum(entry.size for entry in entries)
    if total > MAX_BYTES:
        raise refuse(name, "too-large", f"unpacks to more than {MAX_BYTES // 1_000_000} MB")
    if total > MAX_RATIO * len(data):
        raise refuse(name, "ratio", f"unpacks to more than {MAX_RATIO} times its size")
    files: dict[str, bytes] = {}
    position = 0
    for entry in sorted(entries, key=lambda e: e.offset):
        if entry.offset != position:
            raise refuse(entry.name, "archive", "does not begin where the entry before it ends")
        start = _check_local(data, entry, directory)
        position = start + entry.packed
        if position > directory:
            raise refuse(entry.name, "archive", "reaches into the directory of the archive")
        content = _content(entry, data[start:position])
        if not entry.name.endswith("/"):
            files[entry.name] = content
    if position != directory:
        raise refuse(name, "archive", "holds bytes that belong to no file")
    return files


def _directory(name: str, data: bytes) -> tuple[list[_Entry], int]:
    """The entries as the directory lists them, and where it begins."""
    at = len(data) - _END.size
    if at < 0 or data[at : at + 4] != b"PK\x05\x06":
        raise refuse(name, "archive", "is not a zip file that ends with its directory")
    _, disk, first, here, count, size, start, comment = _END.unpack_from(data, at)
    if disk or first or here != count or comment or start + size != at:
        raise refuse(name, "archive", "has a directory that does not fill its place")
    if count > MAX_FILES:
        raise refuse(name, "too-many-files", f"holds {count} files; {MAX_FILES} may be")
    entries: list[_Entry] = []
    position = start
    for _ in range(count):
        if position + _ENTRY.size > at or data[position : position + 4] != b"PK\x01\x02":
            raise refuse(name, "archive", "has a directory that breaks off")
        entry, position = _read_entry(name, data, position, at)
        entries.append(entry)
    if position != at:
        raise refuse(name, "archive", "has more in its directory than it counts")
    return entries, start


def _read_entry(name: str, data: bytes, position: int, end: int) -> tuple[_Entry, int]:
    fields = _ENTRY.unpack_from(data, position)
    flags, method, crc, packed, size = fields[3], fields[4], *fields[7:10]
    length, extra, comment, disk, _, attributes, offset = fields[10:17]
    begin = position + _ENTRY.size
    after = begin + length + extra + comment
    if after > end:
        raise refuse(name, "archive", "has a directory that breaks off")
    raw = data[begin : begin + length]
    path = _decode_name(raw, flags)
    if comment or disk:
        raise refuse(path, "archive", "carries a comment or lies on another disk")
    _check_extra(path, data[begin + length : begin + length + extra])
    return _Entry(path, raw, flags, method, crc, packed, size, attributes >> 16, offset), after


def _decode_name(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        raise refuse(ascii(raw), "encoding", "has a name that is neither ASCII nor UTF-8") from None


def _check_extra(path: str, extra: bytes) -> None:
    while extra:
        if len(extra) < 4 or len(extra) < 4 + (size := struct.unpack_from("<H", extra, 2)[0]):
            raise refuse(path, "archive", "has an extra field that breaks off")
        (kind,) = struct.unpack_from("<H", extra)
        if kind in _OVERRIDING:
            raise refuse(path, "header-mismatch", f"has {_OVERRIDING[kind]} in an extra field")
        extra = extra[4 + size :]


def _check_entry(entry: _Entry) -> None:
    """Refuse what is no plain file or folder; the system that wrote it is not believed."""
    kind = stat.S_IFMT(entry.mode)
    folder = entry.name.endswith("/")
    if kind == stat.S_IFLNK:
        raise refuse(entry.name, "link", "is a symbolic link")
    if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
        raise refuse(entry.name, "special-file", "is neither a plain file nor a folder")
    if not folder and entry.mode & 0o7111:
        raise refuse(entry.name, "mode", "is executable; nothing in a pack may be")
    if entry.flags & _ENCRYPTED:
        raise refuse(entry.name, "encrypted", "is encrypted")
    if entry.flags & _DESCRIPTOR:
        raise refuse(entry.name, "archive", "states its size after its content; zip it again")
    if entry.method not in (_STORED, _DEFLATED):
        raise refuse(entry.name, "archive", f"is compressed by method {entry.method}, not deflate")
    if folder and entry.size:
        raise refuse(entry.name, "archive", "is a folder with content")
    if entry.size > MAX_BYTES:
        raise refuse(entry.name, "too-large", f"is larger than {MAX_BYTES // 1_000_000} MB")
    if entry.size > MAX_RATIO * max(entry.packed, 1):
        raise refuse(entry.name, "ratio", f"unpacks to more than {MAX_RATIO} times its size")


def _check_local(data: bytes, entry: _Entry, directory: int) -> int:
    """Where the content begins, once the header before it agrees with the directory."""
    if entry.offset + _LOCAL.size > directory or data[entry.offset :][:4] != b"PK\x03\x04":
        raise refuse(entry.name, "archive", "is not where the directory says")
    fields = _LOCAL.unpack_from(data, entry.offset)
    _, _, flags, method, _, _, crc, packed, size, length, extra = fields
    begin = entry.offset + _LOCAL.size
    said = (flags, method, crc, packed, size, data[begin : begin + length])
    if said != (entry.flags, entry.method, entry.crc, entry.packed, entry.size, entry.raw_name):
        raise refuse(entry.name, "header-mismatch", "is described in two ways in the archive")
    _check_extra(entry.name, data[begin + length : begin + length + extra])
    return begin + length + extra


def _content(entry: _Entry, packed: bytes) -> bytes:
    content = packed
    if entry.method == _DEFLATED:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # One byte more than declared is enough to know that the declaration lies.
            content = unpacker.decompress(packed, entry.size + 1)
        except zlib.error:
            raise refuse(entry.name, "archive", "cannot be unpacked") from None
        if not unpacker.eof or unpacker.unused_data:
            raise refuse(entry.name, "header-mismatch", "unpacks to another size than it states")
    if len(content) != entry.size:
        raise refuse(entry.name, "header-mismatch", "unpacks to another size than it states")
    if zlib.crc32(content) != entry.crc:
        raise refuse(entry.name, "changed-file", "does not have the checksum that it states")
    return content
