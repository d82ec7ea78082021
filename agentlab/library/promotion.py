"""Promotion: what was learnt for a user or a tenant begins to serve more people, by a decision.

Nothing widens by itself. An item goes to another scope as it is, with the status that it earned
and what vouches for it; it can be taken back, and goes back only where it has been. It is refused
where it would serve without what it calls, leave callers without it, or take a name.
"""

from __future__ import annotations

from pathlib import Path

from agentlab.errors import UnknownNameError, UsageError
from agentlab.library.catalogue import measured_effect
from agentlab.records import ItemRow, Move, Records, Transaction, Workspace
from agentlab.types import Insight, JsonObject, Level, Scope, Skill, Status
from agentlab.types.report import PromotionLine
from agentlab.types.scope import LEVELS

KEY = "promotion"
"""Under which the evidence of a move says from where to where the item went."""
MAY_GO: frozenset[Status] = frozenset({"verified", "active"})
SHORTEST = 8
"""Characters of an id that are enough to mean an item."""


def promoted(workspace: Path | str, item: str, *, to: Level | Scope, reason: str) -> PromotionLine:
    """As `promote`, in the workspace at a path."""
    with Records.open(Workspace.open(workspace, create=False)) as records:
        return promote(records, item, to=to, reason=reason)


def taken_back(workspace: Path | str, item: str) -> PromotionLine:
    """As `undo_promotion`, in the workspace at a path."""
    with Records.open(Workspace.open(workspace, create=False)) as records:
        return undo_promotion(records, item)


def promote(records: Records, item: str, *, to: Level | Scope, reason: str) -> PromotionLine:
    """Give a verified item to a wider scope, or back to one in which it has been.

    Args:
        records: the workspace's.
        item: its id, the beginning of one, or a skill's name where only one is meant.
        to: a level, `user` and `tenant` being those that it lies in or came from, or a scope.
        reason: for the record; it is shown with the item's history.

    Raises:
        UnknownNameError: there is no such item.
        UsageError: several are meant, it was not verified, is there already, has never been there,
            or what it calls or what calls it stands in the way.
    """
    if not reason.strip():
        raise UsageError("A promotion needs a reason that others can read later; give --reason.")
    with records.transaction() as part:
        row = _verified(find(part, item))
        moves = part.items.history(row.item.id)
        before = Scope.parse(row.scope)
        after = to if isinstance(to, Scope) else _target(row, before, moves, to)
        _check(part, row, before, after, moves)
        evidence = _vouching(moves)
        evidence[KEY] = {"from": before.path, "to": after.path}
        measured = measured_effect(records, row.item, scope=before)
        evidence["measured"] = measured.model_dump(mode="json")
        part.items.move(row.item.id, row.status, reason=reason, evidence=evidence, scope=after)
    return _told(row, before, after, reason)


def undo_promotion(records: Records, item: str) -> PromotionLine:
    """Take an item's last promotion back, whichever way it went.

    Raises:
        UnknownNameError: there is no such item.
        UsageError: several are meant, it was never promoted, or what it calls or what calls it
            stands in the way.
    """
    with records.transaction() as part:
        row = _verified(find(part, item))
        moves = part.items.history(row.item.id)
        before = Scope.parse(row.scope)
        came = next((m.scope for m in reversed(moves) if m.scope != row.scope), None)
        if came is None:
            raise UsageError(f"{_name(row)!r} has always been where it is; there is no promotion.")
        after = Scope.parse(came)
        _check(part, row, before, after, moves)
        reason = f"the promotion to {before} was undone"
        evidence = _vouching(moves)
        evidence[KEY] = {"from": before.path, "to": after.path}
        part.items.move(row.item.id, row.status, reason=reason, evidence=evidence, scope=after)
    return _told(row, before, after, reason)


def find(part: Transaction, item: str) -> ItemRow[Skill] | ItemRow[Insight]:
    """The one item of any scope that is meant by an id, the beginning of one, or a name.

    Raises:
        UnknownNameError: there is none; suggests near ones.
        UsageError: several are meant; names their ids.
    """
    rows = [*part.items.skills(scope=None), *part.items.insights(scope=None)]
    exact = [r for r in rows if item == r.item.id or (item == _name(r) and r.status in MAY_GO)]
    begun = [r for r in rows if len(item) >= SHORTEST and r.item.id.startswith(item)]
    # By name even what may not go, the newest of it: whoever asks is to be told why.
    others = [r for r in rows if item == _name(r)]
    newest = max(others, key=lambda r: (r.status != "retired", r.item.version), default=None)
    found = exact or begun or ([] if newest is None else [newest])
    if len(found) > 1:
        ids = ", ".join(repr(r.item.id) for r in found)
        raise UsageError(f"{item!r} may mean any of {ids}; give the id of one.")
    if not found:
        raise UnknownNameError("item", item, {_name(r) for r in rows})
    return found[0]


def _verified(
    row: ItemRow[Skill] | ItemRow[Insight],
) -> ItemRow[Skill] | ItemRow[Insight]:
    if row.status not in MAY_GO:
        raise UsageError(
            f"{_name(row)!r} is {row.status}; only what was verified may be promoted, so practise "
            "until admission has let it through."
        )
    return row


def _target(
    row: ItemRow[Skill] | ItemRow[Insight], before: Scope, moves: list[Move], to: Level
) -> Scope:
    if LEVELS.index(to) <= LEVELS.index(before.level):
        return before.around(to)
    for move in reversed(moves):
        scope = Scope.parse(move.scope)
        if scope.level == to and before.holds(scope):
            return scope
    raise UsageError(f"{_name(row)!r} has never been one {to}'s, so it cannot go back to one.")


def _check(
    part: Transaction,
    row: ItemRow[Skill] | ItemRow[Insight],
    before: Scope,
    after: Scope,
    moves: list[Move],
) -> None:
    """Whether the item may go there.

    Raises:
        UsageError: it may not; says why and what to do.
    """
    name = _name(row)
    if before == after:
        raise UsageError(f"{name!r} is in {after} already; there is nothing to promote.")
    if not after.holds(before) and after.path not in {move.scope for move in moves}:
        raise UsageError(
            f"{name!r} may go to a scope around {before}, or back to one in which it has been; "
            f"{after} is neither."
        )
    item = row.item
    if not isinstance(item, Skill):
        return
    there = part.items.skills(environment=item.environment, status="active", scope=after)
    taken = [r for r in there if r.item.name == item.name and r.scope == after.path]
    if any(other.item.id != item.id for other in taken):
        raise UsageError(
            f"In {after} something else serves as {name!r}, which keeps the name; remove that "
            "first, or leave this one where it is."
        )
    _check_others(part, item, before, after)


def _check_others(part: Transaction, skill: Skill, before: Scope, after: Scope) -> None:
    """Refuse where a name would come to mean another skill than what was verified with it."""
    rows = part.items.skills(environment=skill.environment, status="active", scope=None)
    scopes: dict[str, dict[str, str]] = {}
    for row in rows:
        scopes.setdefault(row.item.name, {})[row.item.id] = row.scope
    for name in skill.skills:
        bearers = scopes.get(name, {})
        if _nearest(bearers, before) != _nearest(bearers, after):
            raise UsageError(
                f"{skill.name!r} was verified with the {name!r} of {before}, which is not what "
                f"{after} sees; promote that one first."
            )
    here = scopes.get(skill.name, {})
    if skill.id not in here:
        return
    there = {**here, skill.id: after.path}
    for row in rows:
        whose = Scope.parse(row.scope)
        if skill.name in row.item.skills and _nearest(here, whose) != _nearest(there, whose):
            raise UsageError(
                f"{row.item.name!r} of {whose} was verified with another {skill.name!r} than it "
                "would then call; promote or remove that caller first."
            )


def _nearest(scopes: dict[str, str], reader: Scope) -> str | None:
    """The item that the reader's scope sees, of several of one name by id."""
    for path in reversed(reader.readable):
        found = [key for key, scope in scopes.items() if scope == path]
        if found:
            return found[-1]
    return None


def _vouching(moves: list[Move]) -> JsonObject:
    """What vouched for the item last; it goes along, without what was measured where it was."""
    kept: JsonObject = {}
    for move in moves:
        kept = move.evidence or kept
    return {key: value for key, value in kept.items() if key != "measured"}


def _name(row: ItemRow[Skill] | ItemRow[Insight]) -> str:
    return row.item.name if isinstance(row.item, Skill) else row.item.id


def _told(
    row: ItemRow[Skill] | ItemRow[Insight], before: Scope, after: Scope, reason: str
) -> PromotionLine:
    return PromotionLine(
        id=row.item.id,
        name=_name(row),
        environment=row.item.environment,
        before=before.path,
        after=after.path,
        reason=reason,
    )
