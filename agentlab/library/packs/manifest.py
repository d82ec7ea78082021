"""What a pack says of itself: `pack.json`, and for each skill `.agentlab/manifest.json`.

The models are the format `agentlab.pack/1`; a field more or less is another format. Everything
in them is what its author claims. Digests of files are what the signature vouches for, and a
digest of a manifest is that of its file, so that `sha256sum pack.json` shows it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from agentlab.library.packs.canonical import encode_model, sha256
from agentlab.types.base import Frozen, JsonObject

FORMAT = "agentlab.pack/1"

_PART = "[a-z0-9]+(?:[._-][a-z0-9]+)*"
_NUMBER = "(?:0|[1-9][0-9]{0,8})"
PackId = Annotated[str, StringConstraints(pattern=f"^{_PART}/{_PART}$", max_length=100)]
"""`owner/name`, ASCII."""
SkillId = Annotated[str, StringConstraints(pattern=f"^{_PART}/{_PART}$", max_length=165)]
"""The pack's id, a dot, and the skill's folder: `owner/name.pick-up`."""
Version = Annotated[str, StringConstraints(pattern=rf"^{_NUMBER}\.{_NUMBER}\.{_NUMBER}$")]
"""Semantic version without pre-release or build parts, which have no order that all agree on."""
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Folder = Annotated[str, StringConstraints(pattern="^[a-z0-9]+(?:-[a-z0-9]+)*$", max_length=64)]
Licence = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*$")
]
"""An SPDX identifier or expression without brackets; own ones begin with `LicenseRef-`."""
Identifier = Annotated[str, StringConstraints(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
Line = Annotated[str, StringConstraints(pattern=r"^[^\n\t]*$", max_length=1024)]
"""Text of one line."""


class FileEntry(Frozen):
    """One file of a closed list."""

    sha256: Digest
    size: int = Field(ge=0)
    """In bytes."""
    mode: Literal["0644"] = "0644"


class ToolGrant(Frozen):
    """A tool that a skill calls, in the environment that it is for."""

    environment: Line
    tool: Line


class Needs(Frozen):
    """What a skill may use at most. Local policy narrows it and is never widened by it."""

    tools: tuple[ToolGrant, ...] = ()
    net: tuple[Line, ...] = ()
    """Hosts; boxes have no network, so that a skill that names one cannot be verified."""
    cpu_s: int | None = Field(default=None, ge=1)
    """Seconds of processor time a call."""
    mem_mb: int | None = Field(default=None, ge=1)
    wall_s: int | None = Field(default=None, ge=1)
    """Seconds a call."""


class Dependency(Frozen):
    """A package that a skill's code imports. Importing a pack never installs one."""

    name: Line
    version: Line
    sha256: Digest


class Provenance(Frozen):
    """Where a skill comes from, by its author's account."""

    origin: Literal["search", "model", "import", "human"] = "human"
    model: Line | None = None
    prompt: Digest | None = None
    """Digest of the prompt that it was written by."""
    parents: tuple[Digest, ...] = ()
    """Manifest digests of the skills that it was derived from."""
    runs: tuple[Line, ...] = ()
    tasks: tuple[Line, ...] = ()
    attempts: tuple[Line, ...] = ()
    replaces: Line | None = None
    """Id of the version before it, in its author's library."""
    agentlab: Line | None = None
    """The version that wrote it."""


class Evidence(Frozen):
    """What an author measured: a claim until it was measured again here."""

    claimed: Literal[True] = True
    environment: Line = ""
    box: Line | None = None
    """Name and version of the box that it ran in."""
    passes: int | None = Field(default=None, ge=0)
    n: int | None = Field(default=None, ge=0)
    seeds: tuple[int, ...] = ()
    effect: float | None = None
    """Difference in success between being offered and not."""
    interval: tuple[float, float] | None = None
    judges: tuple[Line, ...] = ()
    details: JsonObject = Field(default_factory=dict)


class SkillManifest(Frozen):
    """`.agentlab/manifest.json`: one skill of a pack, copyable alone."""

    format: Literal["agentlab.pack/1"] = FORMAT
    id: SkillId
    version: Version
    kind: Literal["python-function", "text-only"]
    entry: Line | None
    """`scripts/skill.py:name`; None for text alone."""
    effect: Line | None
    """`scripts/effect.py:check`; None for text alone."""
    summary: Line
    inputs: JsonObject
    """JSON schema of the arguments."""
    outputs: JsonObject
    files: dict[str, FileEntry]
    """Every file of the folder but the manifest and its envelope, by path inside the folder."""
    needs: Needs = Field(default_factory=Needs)
    calls: tuple[Identifier, ...] = ()
    """Names of the skills that it calls."""
    deps: tuple[Dependency, ...] = ()
    licence: Licence | None = None
    """Without one the skill may be used and not passed on."""
    authors: tuple[Line, ...] = ()
    created: Line
    """ISO 8601; stated by whoever exports, never read from a clock here."""
    provenance: Provenance = Field(default_factory=Provenance)
    supersedes: tuple[Digest, ...] = ()
    revokes: tuple[Digest, ...] = ()
    skill: JsonObject | None
    """The fields of `types.Skill` that no other field or file holds; None for text alone."""

    @property
    def folder(self) -> str:
        """The skill's folder, which is also its name as an Agent Skill."""
        return self.id.rpartition(".")[2]

    @property
    def digest(self) -> str:
        """Of the file: what identifies this version of the skill."""
        return sha256(encode_model(self))


class SkillEntry(Frozen):
    """A skill in the index of a pack."""

    folder: Folder
    id: SkillId
    version: Version
    manifest: Digest


class PackManifest(Frozen):
    """`pack.json`: the index of a pack and the digest of every file."""

    format: Literal["agentlab.pack/1"] = FORMAT
    id: PackId
    version: Version
    summary: Line = ""
    skills: tuple[SkillEntry, ...] = ()
    """In the order of folders."""
    files: dict[str, FileEntry] = Field(default_factory=dict)
    """Every file but this one and its envelope, by path."""
    notes: int = Field(default=0, ge=0)
    """How many insights `memory/notes.jsonl` holds."""
    licences: tuple[Licence, ...] = ()
    """Every licence of a skill, sorted."""
    authors: tuple[Line, ...] = ()
    created: Line
    supersedes: tuple[Digest, ...] = ()
    revokes: tuple[Digest, ...] = ()
    """Manifest digests, of skills or packs, that nobody should use any longer."""

    @property
    def digest(self) -> str:
        """Of the file: what identifies the pack, however it travels."""
        return sha256(encode_model(self))


def file_entry(data: bytes) -> FileEntry:
    """What a closed list says of a file with these bytes."""
    return FileEntry(sha256=sha256(data), size=len(data))


def version_key(version: str) -> tuple[int, int, int]:
    """What versions are ordered by."""
    major, minor, patch = map(int, version.split("."))
    return major, minor, patch


def widened(old: Needs, new: Needs) -> tuple[str, ...]:
    """What the new grants allow that the old ones did not, in words; empty if nothing."""
    found = [f"tool {g.tool!r} of {g.environment!r}" for g in new.tools if g not in old.tools]
    found += [f"network host {host!r}" for host in new.net if host not in old.net]
    for name, unit in (("cpu_s", "s of processor"), ("mem_mb", "MB"), ("wall_s", "s")):
        before: int | None = getattr(old, name)
        after: int | None = getattr(new, name)
        # No limit stated is the local default, which a stated one could exceed.
        if after is not None and (before is None or after > before):
            found.append(f"limit {name} of {after} {unit}")
    return tuple(found)
