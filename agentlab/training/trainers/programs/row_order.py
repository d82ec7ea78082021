# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUntypedBaseClass=false
# torch is in the trainers' environment, where no type checker runs.
"""The order of rows in a whole training, fixed by its seed before the first step.

Trainers shuffle anew in each epoch, with a generator whose state a resumed process has lost or
finds elsewhere. Here the passes over the data are one sequence: each pass is a permutation of its
own, batches run on across their ends, so no row is dropped and no batch is short; whoever resumes
after n steps skips n batches of the same sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Sampler


class RowOrder(Sampler[int]):  # pyright: ignore[reportUntypedBaseClass]
    """Indices of rows for `steps` batches.

    Args:
        rows: how many there are.
        batch: indices of a step.
        steps: of the training.
        seed: of the permutations.
        repeats: how often each step's batch is given in a row.
    """

    def __init__(self, rows: int, *, batch: int, steps: int, seed: int, repeats: int = 1) -> None:
        self._rows = rows
        self._batch = batch
        self._steps = steps
        self._seed = seed
        self._repeats = repeats

    def __len__(self) -> int:
        return self._steps * self._batch * self._repeats

    def __iter__(self) -> Iterator[int]:
        stream = self._stream()
        for _ in range(self._steps):
            batch = [next(stream) for _ in range(self._batch)]
            for _ in range(self._repeats):
                yield from batch

    def _stream(self) -> Iterator[int]:
        draws = torch.Generator().manual_seed(self._seed)
        while True:
            yield from torch.randperm(self._rows, generator=draws).tolist()


def in_order(trainer: Any, *_: Any, **__: Any) -> RowOrder:
    """For `_get_train_sampler` of a trainer: rows come in the order that was fixed for it."""
    return trainer.row_order
