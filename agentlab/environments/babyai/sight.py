"""What the agent sees from where it stands: BabyAI's 7 x 7 field with things in the way.

The rule is minigrid's (`get_view_exts`, `Grid.process_vis`): a square ahead of the agent, lit
from its cell outwards row by row; walls and closed doors stop the light. A test compares it
with minigrid's own mask.
"""

from __future__ import annotations

from functools import lru_cache

from agentlab.environments.babyai.layout import OPEN, WALL
from agentlab.environments.babyai.world import World

SIZE = 7
_MIDDLE = SIZE // 2
_LAST = SIZE - 1
_AHEAD = ((1, 0), (0, 1), (-1, 0), (0, -1))

OUTSIDE = -1


def opaque(world: World) -> bytes:
    """One byte for each cell: whether it hides what lies behind. Unseen cells hide nothing."""
    closed = {world.where[door] for door in world.layout.doors if world.doors[door] != OPEN}
    return bytes(content == WALL or cell in closed for cell, content in enumerate(world.cells))


def visible(hides: bytes, width: int, cell: int, direction: int) -> list[int]:
    """The cells seen from a pose, when `hides` tells which stop the light."""
    field = _field(len(hides) // width, width, cell, direction)
    lit = bytearray(SIZE * SIZE)
    lit[_LAST * SIZE + _MIDDLE] = 1
    for row in range(_LAST, -1, -1):
        base = row * SIZE
        for column in range(_LAST):
            _spread(lit, field, hides, base + column, 1, row)
        for column in range(_LAST, 0, -1):
            _spread(lit, field, hides, base + column, -1, row)
    return [there for place, there in enumerate(field) if lit[place] and there != OUTSIDE]


def _spread(
    lit: bytearray, field: tuple[int, ...], hides: bytes, place: int, side: int, row: int
) -> None:
    there = field[place]
    if not lit[place] or there == OUTSIDE or hides[there]:
        return
    lit[place + side] = 1
    if row:
        lit[place + side - SIZE] = 1
        lit[place - SIZE] = 1


@lru_cache(maxsize=4096)
def _field(height: int, width: int, cell: int, direction: int) -> tuple[int, ...]:
    """Cells of the square in view, far row first, left to right; `OUTSIDE` beyond the grid."""
    y, x = divmod(cell, width)
    ahead_x, ahead_y = _AHEAD[direction]
    right_x, right_y = -ahead_y, ahead_x
    cells: list[int] = []
    for row in range(SIZE):
        for column in range(SIZE):
            far, aside = _LAST - row, column - _MIDDLE
            there_x = x + ahead_x * far + right_x * aside
            there_y = y + ahead_y * far + right_y * aside
            inside = 0 <= there_x < width and 0 <= there_y < height
            cells.append(there_y * width + there_x if inside else OUTSIDE)
    return tuple(cells)
