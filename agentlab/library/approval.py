"""The human gate: what passed admission waits, and a person approves or rejects it.

Whoever shows an item gives its digest, and whoever decides says it again: what changed since it
was shown is refused. A decision is one transaction with the reason and who gave it, kept for ever
in the item's moves and told by one event, from whichever process it comes; the same decision
again does nothing. What waits is `library.waiting`; what a run does meanwhile is the graph's.
"""

from __future__ import annotations

from pathlib import Path

from agentlab.errors import UnknownNameError, UsageError
from agentlab.events import ROUND_SLOT, Event, InsightMoved, SkillMoved
from agentlab.library.admission import REJECTED
from agentlab.library.waiting import (
    GATE,
    AnyRow,
    find_waiting,
    line_of,
    row_of,
    served_beside,
)
from agentlab.models.redaction import known, look_again
from agentlab.records import Records, Transaction, Workspace
from agentlab.types import SHARED, Insight, JsonObject, Scope, Skill, Status
from agentlab.types.approval import ItemDecision, ItemKind, Verdict, WaitingItem

DECIDED = "decided"
"""In the evidence of the move that a person decided on."""
SEQUENCE = 100_000
"""Of the events that tell of decisions: they follow everything else of the round."""
PLACES = 100
"""Places of one decision: for itself and for what it replaces."""
LEAST_DIGEST = 12
"""Characters of a digest that name it."""
LONGEST_REASON = 2000
LONGEST_NAME = 100


def decide(
    records: Records,
    item_id: str,
    verdict: Verdict,
    *,
    digest: str,
    reason: str,
    by: str,
    scope: Scope | None = SHARED,
) -> ItemDecision:
    """Approve or reject an item that waits; the same decision again does nothing.

    Args:
        records: where it is; a run may be at work there.
        item_id: the version.
        verdict: `approve` lets it serve, `reject` retires it.
        digest: of what was shown, or at least its first 12 characters.
        reason: in a person's words, up to 2,000 characters; kept with the move.
        by: who decides, up to 100 characters.
        scope: whose item it must be; None for anybody's.

    Raises:
        UnknownNameError: there is no such item in that scope.
        UsageError: it does not wait, changed since it was shown, was decided on otherwise, needs
            a skill that does not serve, or no reason or name is given.
        RecordsError: it was changed by something other than agentlab.
    """
    look_again()
    reason = " ".join(known().text(reason).split())
    by = " ".join(known().text(by).split())
    _check_words(reason, by, digest)
    with records.transaction() as part:
        row = row_of(part, item_id)
        if scope is not None and row.scope != scope.path:
            raise UnknownNameError("item that waits", item_id, ())  # as one that is not there
        line = line_of(part, row)
        if line is None or not line.digest.startswith(digest):
            earlier = _earlier(part, row, digest)
            if earlier is not None and earlier.verdict == verdict:
                return earlier
            raise UsageError(_why_not(row, line, earlier))
        return _carry_out(part, row, line, verdict, reason, by)


def find_decided(
    workspace: Path | str,
    name: str,
    *,
    kind: ItemKind,
    environment: str | None,
    digest: str,
    scope: Scope = SHARED,
) -> str:
    """The id of what a decision under a name and a digest is about, decided already or not.

    Raises:
        UnknownNameError: nothing of that name waits, or waited under that digest.
        UsageError: as `find_waiting`.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        rows: list[AnyRow] = []
        if kind == "skill":
            rows += records.items.skills(environment=environment, name=name, scope=scope)
        else:
            found = records.items.insights(environment=environment, scope=scope)
            rows += [row for row in found if name and row.item.id.startswith(name)]
        for row in (each for each in rows if each.scope == scope.path):
            if len(digest) >= LEAST_DIGEST and _earlier(records, row, digest) is not None:
                return row.item.id
    return find_waiting(workspace, name, kind=kind, environment=environment, scope=scope).id


def decide_in(
    workspace: Path | str,
    item_id: str,
    verdict: Verdict,
    *,
    digest: str,
    reason: str,
    by: str,
    scope: Scope | None = SHARED,
) -> ItemDecision:
    """As `decide`, in a workspace that is opened for it."""
    with Records.open(Workspace.open(workspace, create=False)) as records:
        return decide(records, item_id, verdict, digest=digest, reason=reason, by=by, scope=scope)


def _check_words(reason: str, by: str, shown: str) -> None:
    if not 0 < len(reason) <= LONGEST_REASON:
        raise UsageError(
            f"A decision needs a reason of 1 to {LONGEST_REASON:,} characters, which is kept "
            "with it; say why."
        )
    if not 0 < len(by) <= LONGEST_NAME:
        raise UsageError(f"A decision needs a name of 1 to {LONGEST_NAME} characters; say whose.")
    if len(shown) < LEAST_DIGEST:
        raise UsageError(
            f"A decision needs the digest of what was shown, or its first {LEAST_DIGEST} "
            "characters; `agentlab skills waiting` has it."
        )


def _carry_out(
    part: Transaction, row: AnyRow, line: WaitingItem, verdict: Verdict, reason: str, by: str
) -> ItemDecision:
    approved = verdict == "approve"
    replaced = _replaced(part, row, line) if approved else ()
    after: Status = "active" if approved else "retired"
    moves: list[tuple[Skill | Insight, Status, str]] = [
        (row.item, after, reason if approved else REJECTED + reason)
    ]
    by_version = f"superseded: by {_called(row.item)}"
    moves.extend((other, "retired", by_version) for other in replaced)
    first = _sequence(part, row.item.id)
    told: JsonObject = {
        "verdict": verdict,
        "reason": reason,
        "by": by,
        "digest": line.digest,
        "superseded": [other.id for other in replaced],
    }
    events: list[Event] = []
    for number, (item, status, why) in enumerate(moves):
        before = row_of(part, item.id).status
        part.items.move(
            item.id,
            status,
            reason=why,
            evidence={DECIDED: told} if item is row.item else {"superseded_by": row.item.id},
            run_id=line.run_id,
            round_=line.round,
        )
        events.append(_event(line, item, before, status, why, by, first + number))
    part.events.append(events)
    return _decision(row, line.digest, told, after)


def _replaced(part: Transaction, row: AnyRow, line: WaitingItem) -> tuple[Skill | Insight, ...]:
    """What goes when the item is let in.

    Raises:
        UsageError: it cannot be let in as things stand.
    """
    found: dict[str, Skill | Insight] = {}
    for key in line.supersedes[: PLACES - 1]:
        other = row_of(part, key)
        if other.status != "retired" and other.scope == row.scope:
            found[key] = other.item
    if not isinstance(row.item, Skill):
        return tuple(found.values())
    if line.needs:
        raise UsageError(
            f"{line.name!r} calls {line.needs[0]!r}, which does not serve; approve that first."
        )
    own = [r.item for r in served_beside(part, row.item, row.scope) if r.scope == row.scope]
    for other in own:
        if other.name == row.item.name:
            if other.version >= row.item.version:
                raise UsageError(
                    f"Version {other.version} of {line.name!r} serves already, and version "
                    f"{line.version} is older; reject it."
                )
            found[other.id] = other
    # What others came to call since is not taken from under them.
    called = {name for other in own if other.id not in found for name in other.skills}
    return tuple(
        other
        for other in found.values()
        if not isinstance(other, Skill) or other.name == row.item.name or other.name not in called
    )


def _event(
    line: WaitingItem,
    item: Skill | Insight,
    before: Status,
    after: Status,
    reason: str,
    by: str,
    sequence: int,
) -> Event:
    moved = {"run_id": line.run_id, "before": before, "after": after, "reason": reason, "by": by}
    if isinstance(item, Skill):
        told = {"skill_id": item.id, "name": item.name}
        return SkillMoved(round=line.round, slot=ROUND_SLOT, sequence=sequence, **moved, **told)
    told = {"insight_id": item.id, "condition": item.condition}
    return InsightMoved(round=line.round, slot=ROUND_SLOT, sequence=sequence, **moved, **told)


def _sequence(part: Transaction, item_id: str) -> int:
    """Where its decision stands in the round: by the item's own place, and not by when it came."""
    gates = [m.evidence[GATE] for m in part.items.history(item_id) if GATE in m.evidence]
    gate = gates[-1] if gates else None
    place = gate.get("sequence") if isinstance(gate, dict) else 0
    return SEQUENCE + PLACES * (place if isinstance(place, int) else 0)


def _earlier(part: Records | Transaction, row: AnyRow, shown: str) -> ItemDecision | None:
    """What was decided about the item as it was shown; None where nothing was."""
    for move in reversed(part.items.history(row.item.id)):
        told = move.evidence.get(DECIDED)
        if isinstance(told, dict) and str(told.get("digest", "")).startswith(shown):
            found = _decision(row, str(told["digest"]), told, row.status)
            return found.model_copy(update={"repeated": True})
    return None


def _decision(row: AnyRow, shown: str, told: JsonObject, status: Status) -> ItemDecision:
    item, superseded = row.item, told.get("superseded")
    return ItemDecision(
        id=item.id,
        kind="skill" if isinstance(item, Skill) else "insight",
        name=item.name if isinstance(item, Skill) else item.id,
        version=item.version,
        environment=item.environment,
        verdict="approve" if told.get("verdict") == "approve" else "reject",
        reason=str(told.get("reason", "")),
        by=str(told.get("by", "")),
        digest=shown,
        status=status,
        superseded=tuple(map(str, superseded)) if isinstance(superseded, list) else (),
    )


def _why_not(row: AnyRow, line: WaitingItem | None, earlier: ItemDecision | None) -> str:
    name = _called(row.item)
    if earlier is not None:
        done = "approved" if earlier.verdict == "approve" else "rejected"
        return (
            f"{name} was {done} already by {earlier.by!r} ({earlier.reason}); what serves can be "
            "taken out with `agentlab skills remove`."
        )
    if line is None:
        return f"{name} is {row.status} and does not wait for a decision; it was decided elsewhere."
    return (
        f"{name} is not what was shown under that digest; look at it again with `agentlab "
        f"{line.kind}s waiting`, which has the digest of what waits now."
    )


def _called(item: Skill | Insight) -> str:
    if isinstance(item, Skill):
        return f"version {item.version} of {item.name!r}"
    return f"the insight {item.id!r}"
