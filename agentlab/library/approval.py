"""The human gate: what passed admission waits, and a person approves or rejects it.

Whoever shows an item gives its digest, and whoever decides says it again: what changed since it
was shown is refused. A decision is one transaction with the reason and who gave it, kept for ever
in the item's moves and told by one event, from whichever process it comes; the same decision
again does nothing. What a run does meanwhile, and which items come to wait, is the graph's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from agentlab.errors import UnknownNameError, UsageError
from agentlab.events import Event, InsightMoved, SkillMoved
from agentlab.library.admission import REJECTED
from agentlab.models.redaction import known, look_again
from agentlab.records import ItemRow, Records, Transaction, Workspace
from agentlab.records.moves import Move
from agentlab.types import SHARED, Frozen, Insight, JsonObject, Scope, Skill, Status, digest
from agentlab.types.approval import ItemDecision, ItemKind, Verdict, WaitingItem

GATE = "waits"
"""In the evidence of the move after which an item waits: its place, and what it is to replace."""
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

AnyRow = ItemRow[Skill] | ItemRow[Insight]


def gate_evidence(sequence: int, supersedes: Sequence[str]) -> JsonObject:
    """What the move says after which an item waits.

    Args:
        sequence: of the event that tells of that move, in its round.
        supersedes: ids of what is to be retired when the item is approved.
    """
    return {GATE: {"sequence": sequence, "supersedes": list(supersedes)}}


def waiting(
    records: Records | Transaction,
    *,
    environment: str | None = None,
    toolset: str | None = None,
    run_id: str | None = None,
    kind: ItemKind | None = None,
    scope: Scope | None = SHARED,
) -> list[WaitingItem]:
    """What waits for a person, oldest first; skills before insights.

    Args:
        records: where the library is.
        environment: only what is for this one.
        toolset: only skills over these tools.
        run_id: only what came to wait in this run.
        kind: only skills, or only insights.
        scope: what this one may read; None for every scope's.
    """
    rows: list[AnyRow] = []
    if kind != "insight":
        rows += records.items.skills(
            environment=environment, toolset=toolset, status="verified", scope=scope
        )
    if kind != "skill":
        rows += records.items.insights(environment=environment, status="verified", scope=scope)
    found = [line for row in rows if (line := _line(records, row)) is not None]
    return [line for line in found if run_id is None or line.run_id == run_id]


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
        row = _row(part, item_id)
        if scope is not None and row.scope != scope.path:
            raise UnknownNameError("item that waits", item_id, ())  # as one that is not there
        line = _line(part, row)
        if line is None or not line.digest.startswith(digest):
            earlier = _earlier(part, row, digest)
            if earlier is not None and earlier.verdict == verdict:
                return earlier
            raise UsageError(_why_not(row, line, earlier))
        return _carry_out(part, row, line, verdict, reason, by)


def list_waiting(
    workspace: Path | str,
    *,
    environment: str | None = None,
    kind: ItemKind | None = None,
    scope: Scope | None = SHARED,
) -> list[WaitingItem]:
    """What waits for a person in a workspace, oldest first.

    Raises:
        UsageError: there is no workspace at that path.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        return waiting(records, environment=environment, kind=kind, scope=scope)


def find_waiting(
    workspace: Path | str,
    name: str,
    *,
    kind: ItemKind,
    environment: str | None = None,
    scope: Scope = SHARED,
) -> WaitingItem:
    """What waits under a name: that of a skill, or the beginning of an insight's id.

    Raises:
        UnknownNameError: nothing of that name waits; suggests near ones.
        UsageError: it waits in several environments, and none of them is named.
    """
    lines = list_waiting(workspace, environment=environment, kind=kind, scope=scope)
    lines = [line for line in lines if line.scope == scope.path]
    if kind == "skill":
        found = [line for line in lines if name in (line.name, line.id)]
    else:
        found = [line for line in lines if name and line.id.startswith(name)]
        found = found if len(found) == 1 else []
    if not found:
        raise UnknownNameError(f"{kind} that waits", name, [line.name for line in lines])
    places = sorted({line.environment for line in found})
    if len(places) > 1:
        listed = ", ".join(repr(place) for place in places)
        raise UsageError(
            f"A skill {name!r} waits in each of the environments {listed}; say which with "
            f"--environment {places[0]}."
        )
    return max(found, key=lambda line: line.version)


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


class Seen(Frozen):
    """What a person looks at before a decision."""

    signature: str = ""
    source: str = ""
    effect_source: str = ""
    gates: tuple[str, ...] = ()
    """What each gate of admission said of it, in words."""


def look_at(workspace: Path | str, item_id: str) -> Seen:
    """The code of an item, and the gates that it passed.

    Raises:
        UnknownNameError: there is no such item.
    """
    with Records.open(Workspace.open(workspace, create=False)) as records:
        item = _row(records, item_id).item
        moves = records.items.history(item_id)
        kept = [move.evidence["gates"] for move in moves if "gates" in move.evidence]
        gates = kept[-1] if kept else None
        passed = (
            [gate for gate in gates if isinstance(gate, dict)] if isinstance(gates, list) else []
        )
        said = [f"{gate.get('gate')}: {gate.get('reason') or 'passed'}" for gate in passed]
        if isinstance(item, Skill):
            return Seen(
                signature=item.signature,
                source=item.source,
                effect_source=item.effect_source,
                gates=tuple(said),
            )
        return Seen(signature=item.id, gates=tuple(said))


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


def _row(part: Records | Transaction, item_id: str) -> AnyRow:
    try:
        return part.items.skill(item_id)
    except UnknownNameError:
        pass
    try:
        return part.items.insight(item_id)
    except UnknownNameError:
        raise UnknownNameError(
            "item that waits", item_id, [line.id for line in waiting(part, scope=SHARED)]
        ) from None


def _line(part: Records | Transaction, row: AnyRow) -> WaitingItem | None:
    """The item as it waits; None where it does not."""
    if row.status != "verified":
        return None
    moves = part.items.history(row.item.id)
    # What was promoted meanwhile waits on, where it is now.
    last = next(move for move in reversed(moves) if move.before != move.after)
    gate = last.evidence.get(GATE)
    if not isinstance(gate, dict) or last.run_id is None or last.round is None:
        return None  # it is verified for another reason, such as a pack that was not merged yet
    item, replaces = row.item, gate.get("supersedes")
    is_skill = isinstance(item, Skill)
    return WaitingItem(
        id=item.id,
        kind="skill" if is_skill else "insight",
        name=item.name if is_skill else item.id,
        summary=item.summary if is_skill else f"{item.condition}: {item.advice}",
        version=item.version,
        environment=item.environment,
        digest=_digest(item, moves),
        run_id=last.run_id,
        round=last.round,
        since=datetime.fromisoformat(last.created_at),
        reason=last.reason,
        scope=row.scope,
        needs=_missing(part, item, row.scope) if is_skill else (),
        supersedes=tuple(map(str, replaces)) if isinstance(replaces, list) else (),
    )


def _digest(item: Skill | Insight, moves: Sequence[Move]) -> str:
    """Over all of the item and all that ever vouched for it."""
    return digest(
        "approval",
        item.model_dump(mode="json"),
        [[m.after, m.reason, m.evidence, m.run_id, m.round, m.scope] for m in moves],
    )


def _missing(part: Records | Transaction, skill: Skill, scope: str) -> tuple[str, ...]:
    """The skills that it calls and that do not serve."""
    if not skill.skills:
        return ()
    served = {row.item.name for row in _served(part, skill, scope)}
    return tuple(name for name in skill.skills if name not in served)


def _served(part: Records | Transaction, skill: Skill, scope: str) -> list[ItemRow[Skill]]:
    """What the skill's scope may read of what serves over its tools."""
    return part.items.skills(
        environment=skill.environment,
        toolset=skill.toolset,
        status="active",
        scope=Scope.parse(scope),
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
        before = _row(part, item.id).status
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
        other = _row(part, key)
        if other.status != "retired" and other.scope == row.scope:
            found[key] = other.item
    if not isinstance(row.item, Skill):
        return tuple(found.values())
    if line.needs:
        raise UsageError(
            f"{line.name!r} calls {line.needs[0]!r}, which does not serve; approve that first."
        )
    own = [r.item for r in _served(part, row.item, row.scope) if r.scope == row.scope]
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
    if isinstance(item, Skill):
        return SkillMoved(
            run_id=line.run_id,
            round=line.round,
            sequence=sequence,
            skill_id=item.id,
            name=item.name,
            before=before,
            after=after,
            reason=reason,
            by=by,
        )
    return InsightMoved(
        run_id=line.run_id,
        round=line.round,
        sequence=sequence,
        insight_id=item.id,
        condition=item.condition,
        before=before,
        after=after,
        reason=reason,
        by=by,
    )


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
