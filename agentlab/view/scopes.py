"""Whose something is, as an address says it and a page shows it.

An address names a scope by its path, and everybody's by a word that is no tenant's name. What it
names is compared and never read as a pattern or a path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentlab.records import ItemRow
from agentlab.types import Insight, Scope, Skill
from agentlab.types.scope import depth

EVERYBODYS = "-"
"""Stands for the shared scope in an address; a tenant's name begins with a letter or a digit."""
SHARED_NAME = "shared"


def asked(text: str) -> str | None:
    """The path of the scope that an address asks for; None where it asks for none."""
    return "" if text == EVERYBODYS else text or None


def spelt(path: str | None) -> str:
    """As an address has it; empty for none."""
    return "" if path is None else path or EVERYBODYS


def shown(path: str) -> str:
    """Whose it is, for a person."""
    return path or SHARED_NAME


def choices(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Scopes to choose from, a tenant before its users: as an address has each, and its name."""
    return [(spelt(path), shown(path)) for path in sorted(set(paths))]


def nearest(rows: Sequence[ItemRow[Skill]], scope: Scope) -> dict[str, ItemRow[Skill]]:
    """The skills that serve in a scope, by name: of several of a name its nearest."""
    readable = [r for r in rows if r.status == "active" and r.scope in scope.readable]
    return {row.item.name: row for row in sorted(readable, key=lambda row: depth(row.scope))}


def owners(rows: Iterable[ItemRow[Skill]] | Iterable[ItemRow[Insight]]) -> list[str]:
    """The scopes whose the rows are, a tenant before its users."""
    return sorted({row.scope for row in rows})
