"""Who calls whom, as a drawing: skills in columns, callers to the left of what they call.

A layered layout without iteration: a node's column is one right of its furthest caller, and within
a column nodes are sorted by the mean row of their callers. Good for the dozens of skills that a
library has; calls in a circle are cut where they would turn back. Knows nothing of HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentlab.types import Frozen

WIDTH, HEIGHT = 190, 34
GAP_X, GAP_Y = 70, 14
MARGIN = 12
MOST = 120
"""Nodes that are drawn."""
NAME = 24
"""Characters of a name in its box."""


class Node(Frozen):
    """A skill in its place."""

    name: str
    shown: str
    x: int
    y: int
    status: str


class Edge(Frozen):
    """A call, from the caller's right side to the callee's left one."""

    caller: str
    callee: str
    path: str


class Drawing(Frozen):
    """The whole of it, in pixels."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    width: int = 0
    height: int = 0
    left_out: int = 0

    node_width: int = WIDTH
    node_height: int = HEIGHT


def draw(calls: Mapping[str, Sequence[str]], statuses: Mapping[str, str]) -> Drawing:
    """Lay out the skills that call or are called.

    Args:
        calls: caller to callees; callees that have no status are left out.
        statuses: of every skill.
    """
    known = {a: sorted({b for b in bs if b in statuses and b != a}) for a, bs in calls.items()}
    linked = sorted({a for a, bs in known.items() if bs} | {b for bs in known.values() for b in bs})
    kept = linked[:MOST]
    edges = [(a, b) for a in kept for b in known.get(a, []) if b in kept]
    columns = _columns(kept, edges)
    places = _places(columns, edges)
    nodes = tuple(
        Node(
            name=name,
            shown=name if len(name) <= NAME else f"{name[: NAME - 1]}…",
            x=places[name][0],
            y=places[name][1],
            status=statuses[name],
        )
        for name in kept
    )
    return Drawing(
        nodes=nodes,
        edges=tuple(Edge(caller=a, callee=b, path=_path(places[a], places[b])) for a, b in edges),
        width=max((node.x + WIDTH + MARGIN for node in nodes), default=0),
        height=max((node.y + HEIGHT + MARGIN for node in nodes), default=0),
        left_out=len(linked) - len(kept),
    )


def _columns(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """A column for each name; a call that closes a circle moves nothing."""
    column = dict.fromkeys(names, 0)
    for _ in names:
        moved = False
        for a, b in edges:
            if column[b] <= column[a] < len(names) - 1:
                column[b] = column[a] + 1
                moved = True
        if not moved:
            break
    used = sorted(set(column.values()))
    return {name: used.index(at) for name, at in column.items()}


def _places(
    columns: Mapping[str, int], edges: Sequence[tuple[str, str]]
) -> dict[str, tuple[int, int]]:
    rows: dict[str, int] = {}
    callers: dict[str, list[str]] = {}
    for a, b in edges:
        callers.setdefault(b, []).append(a)
    for column in sorted(set(columns.values())):
        here = [name for name, at in columns.items() if at == column]

        def mean(name: str) -> float:
            above = [rows[a] for a in callers.get(name, []) if a in rows]
            return sum(above) / len(above) if above else 0.0

        for row, name in enumerate(sorted(here, key=lambda name: (mean(name), name))):
            rows[name] = row
    return {
        name: (
            MARGIN + columns[name] * (WIDTH + GAP_X),
            MARGIN + rows[name] * (HEIGHT + GAP_Y),
        )
        for name in columns
    }


def _path(caller: tuple[int, int], callee: tuple[int, int]) -> str:
    x, y = caller[0] + WIDTH, caller[1] + HEIGHT // 2
    u, v = callee[0], callee[1] + HEIGHT // 2
    bend = max(GAP_X // 2, abs(u - x) // 2)
    return f"M {x} {y} C {x + bend} {y}, {u - bend} {v}, {u} {v}"
