"""What waits for a person: items that passed admission where a human gate is set.

An item waits when the last move of its history says that it came to the gate. What is shown of it
goes under a digest over all of the item and all that ever vouched for it, so that a decision
(`library.approval`) can say what it is about. Which items come to wait is the graph's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from agentlab.errors import UnknownNameError, UsageError
from agentlab.records import ItemRow, Records, Transaction, Workspace
from agentlab.records.moves import Move
from agentlab.types import SHARED, Frozen, Insight, JsonObject, Scope, Skill, digest
from agentlab.types.approval import ItemKind, WaitingItem

GATE = "waits"
"""In the evidence of the move after which an item waits: its place, and what it is to replace."""

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
    found = [line for row in rows if (line := line_of(records, row)) is not None]
    return [line for line in found if run_id is None or line.run_id == run_id]


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
        item = row_of(records, item_id).item
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


def row_of(part: Records | Transaction, item_id: str) -> AnyRow:
    """A skill or an insight by its id.

    Raises:
        UnknownNameError: there is neither; names what waits.
    """
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


def line_of(part: Records | Transaction, row: AnyRow) -> WaitingItem | None:
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
    served = {row.item.name for row in served_beside(part, skill, scope)}
    return tuple(name for name in skill.skills if name not in served)


def served_beside(part: Records | Transaction, skill: Skill, scope: str) -> list[ItemRow[Skill]]:
    """What the skill's scope may read of what serves over its tools."""
    return part.items.skills(
        environment=skill.environment,
        toolset=skill.toolset,
        status="active",
        scope=Scope.parse(scope),
    )
