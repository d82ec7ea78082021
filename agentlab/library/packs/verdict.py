"""What becomes of a skill that comes in, given what is here: the conflict rules, pure.

Every rule of the merge is one branch here and nothing else decides. A verdict activates
nothing: whatever it lets in goes to quarantine and is verified here like anything else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from pydantic import Field

from agentlab.library.packs.manifest import (
    Digest,
    Needs,
    SkillId,
    Version,
    version_key,
    widened,
)
from agentlab.types.base import Frozen

Action = Literal["new", "merge-provenance", "side-by-side", "namespaced", "refuse"]


class Held(Frozen):
    """One version of a skill, as it is held here or as it comes in."""

    id: SkillId
    name: str
    """The function's name, by which other skills call it."""
    environment: str
    version: Version
    digest: Digest
    """Of its manifest."""
    key: Digest | None = None
    """Key id of its author; None where nobody signed, or where it was learnt here."""
    needs: Needs = Field(default_factory=Needs)
    approved: bool = False
    """Whether its grants were approved here; one that waits in quarantine lends none."""
    source: Digest | None = None
    """Digest of the pack that brought it; None for what was learnt here."""


class Tombstones(Frozen):
    """What was deleted or revoked here and must not come back by itself."""

    digests: frozenset[Digest] = frozenset()
    """Manifest digests, of skills and packs."""
    highest: dict[SkillId, Version] = Field(default_factory=dict)
    """The highest version ever held of an id, by the key that was approved for it."""


class Verdict(Frozen):
    """What to do with one skill that came in, and what a person must be told and asked."""

    action: Action
    reason: str
    """One sentence, for the record and for the person."""
    code: Literal["", "equivocation", "replayed", "revoked"] = ""
    """Which refusal it is, a word of `refusal.Reason`; empty unless refused."""
    alarm: bool = False
    """Whether somebody may be attacking: shown even where little is shown."""
    replaces: Digest | None = None
    """The version that it may replace once it proved not worse here; never by itself."""
    warnings: tuple[str, ...] = ()
    widened: tuple[str, ...] = ()
    """Grants that it asks for beyond those approved; all of them where it is new."""

    @property
    def needs_approval(self) -> bool:
        """Whether a person or a policy must agree before it goes on from quarantine."""
        return self.action in ("new", "namespaced") or bool(self.widened)


def decide(
    local: Sequence[Held], incoming: Held, *, tombstones: Tombstones | None = None
) -> Verdict:
    """The verdict on one incoming skill.

    Rules, first match first: revoked or deleted here stays away; the same digest only merges
    provenance; the same id and version with another digest is equivocation; the same id by
    another key is kept apart by key and replaces nothing; a version below the highest one that
    was ever held is a replay; a higher version by the same key stands side by side. A name
    that another id has here stays with it. Grants never widen without approval.

    Args:
        local: every version held here, in any order, retired ones too.
        incoming: the skill that came in, its signature checked.
        tombstones: what was deleted or revoked, and the highest versions ever held.
    """
    gone = tombstones or Tombstones()
    if incoming.digest in gone.digests or incoming.source in gone.digests:
        return _refused("revoked", "It was deleted or revoked here; undo that first.")
    if any(held.digest == incoming.digest for held in local):
        return Verdict(
            action="merge-provenance", reason="The very same is here; only its origin is added."
        )
    same = [held for held in local if held.id == incoming.id]
    if any(held.version == incoming.version for held in same):
        return _refused(
            "equivocation",
            f"Version {incoming.version} of it is here with other content: its author shows "
            "different things to different people, or somebody else speaks in the author's name.",
        )
    warnings = _shadowed(local, incoming)
    ours = [held for held in same if held.key is not None and held.key == incoming.key]
    if same and not ours:
        return Verdict(
            action="namespaced",
            reason="It has the id of a skill here and another key, so it is kept apart by key.",
            alarm=True,
            warnings=warnings,
            widened=widened(Needs(), incoming.needs),
        )
    highest = max(
        (*(held.version for held in ours), *_highest(gone, incoming)),
        key=version_key,
        default=None,
    )
    if highest is not None and version_key(incoming.version) <= version_key(highest):
        return _refused(
            "replayed", f"Version {incoming.version} is not above {highest}, which was here before."
        )
    if not ours:
        return Verdict(
            action="new",
            reason="Nothing here has its id.",
            warnings=warnings,
            widened=widened(Needs(), incoming.needs),
        )
    newest = max(ours, key=_order)
    approved = max((held for held in ours if held.approved), key=_order, default=None)
    return Verdict(
        action="side-by-side",
        reason=f"It follows version {newest.version}, which stays until this one proves not worse.",
        replaces=newest.digest,
        warnings=warnings,
        widened=widened(Needs() if approved is None else approved.needs, incoming.needs),
    )


def revoked_by(
    local: Iterable[Held], revokes: Collection[str], *, author: str | None
) -> tuple[str, ...]:
    """Digests of the skills held here that a pack may revoke: those by its own author's key."""
    if author is None:
        return ()
    wanted = set(revokes)
    return tuple(
        sorted(
            held.digest
            for held in local
            if held.key == author and (held.digest in wanted or held.source in wanted)
        )
    )


def derived_from(parents: dict[str, tuple[str, ...]], revoked: Collection[str]) -> tuple[str, ...]:
    """Everything that descends from what was revoked, at any distance; those themselves apart.

    Args:
        parents: digest or id of each skill, to those that it was derived from or calls.
        revoked: digests or ids, of the same kind.
    """
    children: dict[str, list[str]] = {}
    for child, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(child)
    found: set[str] = set()
    waiting = list(revoked)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return tuple(sorted(found - set(revoked)))


def _highest(gone: Tombstones, incoming: Held) -> tuple[str, ...]:
    highest = gone.highest.get(incoming.id)
    return () if highest is None else (highest,)


def _order(held: Held) -> tuple[tuple[int, int, int], str]:
    """By version; the digest only so that the order in which they are given is nothing."""
    return version_key(held.version), held.digest


def _shadowed(local: Sequence[Held], incoming: Held) -> tuple[str, ...]:
    others = sorted(
        {
            held.id
            for held in local
            if held.id != incoming.id
            and (held.name, held.environment) == (incoming.name, incoming.environment)
        }
    )
    return tuple(
        f"The name {incoming.name!r} stays with {other!r} here; calls of it mean that one."
        for other in others
    )


def _refused(code: Literal["equivocation", "replayed", "revoked"], reason: str) -> Verdict:
    return Verdict(action="refuse", code=code, reason=reason, alarm=code == "equivocation")
