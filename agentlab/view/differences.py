"""Two versions of a text, line by line: what stayed, what went, what came."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Literal

from agentlab.types import Frozen

AROUND = 3
"""Lines that stayed, shown beside each change."""
EXACT, MOST = 1000, 4000
"""Lines that are compared as well as can be, and those that are compared at all: many lines that
are alike take time by their square, and whoever wrote them may have meant that."""


class DiffLine(Frozen):
    """One line, with its number before and after where it has one."""

    kind: Literal["same", "gone", "new", "gap"]
    before: int | None = None
    after: int | None = None
    text: str = ""


def differences(before: str, after: str) -> tuple[DiffLine, ...]:
    """The lines of both; long stretches without a change are a gap."""
    old, new = before.splitlines(), after.splitlines()
    long = max(len(old), len(new))
    old, new = old[:MOST], new[:MOST]
    found: list[DiffLine] = []
    matcher = SequenceMatcher(None, old, new, autojunk=long > EXACT)
    for number, group in enumerate(matcher.get_grouped_opcodes(AROUND)):
        if number:
            found.append(DiffLine(kind="gap"))
        for tag, i, j, k, m in group:
            if tag == "equal":
                found += [
                    DiffLine(kind="same", before=i + at + 1, after=k + at + 1, text=old[i + at])
                    for at in range(j - i)
                ]
                continue
            found += [DiffLine(kind="gone", before=at + 1, text=old[at]) for at in range(i, j)]
            found += [DiffLine(kind="new", after=at + 1, text=new[at]) for at in range(k, m)]
    if long > MOST:
        found.append(DiffLine(kind="gap"))
    return tuple(found)
