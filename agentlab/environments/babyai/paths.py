"""Shortest walks of the agent: breadth first over cell and direction, in primitive moves.

A `Reach` grows only as far as it was asked to and is kept, so the many calls that search tries
from one state share one exploration. It knows cells that can be walked, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache


class Reach:
    """Everywhere the agent can get from one pose without changing anything.

    A pose is `cell * 4 + direction`; poses are ordered by the number of moves to them.
    """

    def __init__(self, free: bytes, width: int, pose: int) -> None:
        self._free = free
        self._offsets = (4, 4 * width, -4, -4 * width)
        self._parent = {pose: -1}
        self._order = [pose]
        self._next = 0

    def to_pose(self, poses: Collection[int]) -> int:
        """The nearest of some poses, or -1 when none can be reached."""
        parent = self._parent
        if not poses:
            return -1
        reached = [pose for pose in poses if pose in parent]
        if reached:
            return reached[0] if len(reached) == 1 else self._earliest(reached)
        while self._next < len(self._order):
            for pose in self._grow():
                if pose in poses:
                    return pose
        return -1

    def to_front(self, accepts: Callable[[int], bool]) -> int:
        """The nearest pose whose cell ahead is accepted, or -1."""
        offsets = self._offsets
        asked: dict[int, bool] = {}
        index = 0
        while True:
            while index < len(self._order):
                pose = self._order[index]
                front = (pose + offsets[pose & 3]) >> 2
                if front not in asked:
                    asked[front] = accepts(front)
                if asked[front]:
                    return pose
                index += 1
            if self._next >= len(self._order):
                return -1
            self._grow()

    def moves(self, pose: int) -> tuple[int, ...]:
        """The moves that lead to a pose which was reached."""
        parent = self._parent
        moves: list[int] = []
        while True:
            before = parent[pose]
            if before < 0:
                moves.reverse()
                return tuple(moves)
            if before >> 2 != pose >> 2:
                moves.append(2)
            else:
                moves.append(1 if (before + 1) & 3 == pose & 3 else 0)
            pose = before

    def poses(self) -> list[int]:
        """Every pose that can be reached, nearest first."""
        while self._next < len(self._order):
            self._grow()
        return self._order

    def _earliest(self, reached: list[int]) -> int:
        return min(reached, key=self._order.index)

    def _grow(self) -> list[int]:
        pose = self._order[self._next]
        self._next += 1
        direction = pose & 3
        parent = self._parent
        found: list[int] = []
        ahead = pose + self._offsets[direction]
        if ahead not in parent and self._free[ahead >> 2]:
            parent[ahead] = pose
            found.append(ahead)
        base = pose - direction
        right = base + ((direction + 1) & 3)
        if right not in parent:
            parent[right] = pose
            found.append(right)
        left = base + ((direction + 3) & 3)
        if left not in parent:
            parent[left] = pose
            found.append(left)
        self._order.extend(found)
        return found


@lru_cache(maxsize=1024)
def reach(free: bytes, width: int, cell: int, direction: int) -> Reach:
    """The (shared, growing) reach of a pose; `free` has one byte for each cell."""
    return Reach(free, width, cell * 4 + direction)


def facing(cell: int, width: int) -> tuple[int, int, int, int]:
    """The poses from which a cell lies ahead; some may not be walkable."""
    return (
        (cell - 1) * 4,
        (cell - width) * 4 + 1,
        (cell + 1) * 4 + 2,
        (cell + width) * 4 + 3,
    )
