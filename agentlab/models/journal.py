"""What calls have cost, written down call by call, so that a killed run forgets none.

Attempts and nodes put their calls on record when they are done. A process that is killed in
between has made calls that no record tells of, and a cap must count them all the same: each is
on the disk here before its reply is used. The larger of the two accounts is believed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, get_args

from agentlab.models.ledger import Amount
from agentlab.types import Role, Usage

ROLES: tuple[Role, ...] = get_args(Role)
SPENDING = "spending.jsonl"
"""In a run's directory: what its model calls cost."""


class Notes(Protocol):
    """Whoever is told what a call cost, before its reply is used."""

    def note(self, role: Role, amount: Amount) -> None:
        """Keep it; it must not be forgotten once this returns."""
        ...


class Journal:
    """A file of one run, one line a call. Only one process writes it at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, role: Role, amount: Amount) -> None:
        """Write a call down, on the disk when this returns."""
        line = json.dumps([role, amount.tokens, amount.usd]) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        handle = os.open(self._path, flags, 0o644)
        try:
            os.write(handle, line.encode())
            os.fdatasync(handle)
        finally:
            os.close(handle)

    def spent(self) -> dict[Role, Usage]:
        """What was written down, by role; a last line that was cut off counts for nothing."""
        found: dict[Role, Usage] = {}
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return found
        for line in lines:
            try:
                role, tokens, usd = json.loads(line)
                if role in ROLES:
                    more = Usage(tokens=tokens, usd=usd)
                    found[role] = found.get(role, Usage()) + more
            except (ValueError, TypeError):
                continue
        return found


def larger(one: Mapping[Role, Usage], other: Mapping[Role, Usage]) -> dict[Role, Usage]:
    """The larger amount of each role."""
    return {
        role: Usage(
            tokens=max(a.tokens, b.tokens),
            usd=max(a.usd, b.usd),
        )
        for role in ROLES
        for a, b in [(one.get(role, Usage()), other.get(role, Usage()))]
    }
