"""Where the keys and values of conversations are kept between one token and the next.

A slot holds one sequence from its first token on. Slots in use stand side by side at the front, so
that a step reads them as one block; behind them stand those of sequences that ended, kept warm: a
conversation that goes on, as an agent's does after each of its calls, finds its own beginning
there and computes what is new alone. What is found in a slot was computed by the same weights from
the same tokens, or the slot is not taken.

`Slots` stands in for transformers' cache in a forward pass (`update`, `get_seq_length`,
`get_mask_sizes` are what attention layers call).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Shape(NamedTuple):
    """What a model's keys and values look like."""

    layers: int
    heads: int
    size: int
    """Of a head."""
    context: int
    """Tokens of a sequence, at most."""

    @property
    def slot_bytes(self) -> int:
        """Bytes that one slot takes when it is full, in float32."""
        return 2 * 4 * self.layers * self.heads * self.size * self.context


def shape_of(config: Any) -> Shape:
    """The shape of a transformers config's model."""
    heads = config.num_attention_heads
    return Shape(
        layers=config.num_hidden_layers,
        heads=getattr(config, "num_key_value_heads", None) or heads,
        size=getattr(config, "head_dim", None) or config.hidden_size // heads,
        context=config.max_position_embeddings,
    )


class Slots:
    """The slots of one set of weights.

    Args:
        torch: the library.
        shape: of the model.
        count: how many there are.
        device: where they lie.
    """

    is_compileable = False

    def __init__(self, torch: Any, shape: Shape, count: int, *, device: Any = "cpu") -> None:
        self._torch = torch
        size = (count, shape.heads, shape.context, shape.size)
        self._device = device
        # Zeros and not whatever was there: what is masked is multiplied by 0, and NaN stays NaN.
        # A system gives zeroed memory when it is first written, so unused slots take none.
        self._keys = [torch.zeros(size, device=device) for _ in range(shape.layers)]
        self._values = [torch.zeros(size, device=device) for _ in range(shape.layers)]
        self.ids: list[list[int]] = [[] for _ in range(count)]
        """The tokens that each slot holds, in order."""
        self._salts = [""] * count
        self._ended = [0] * count
        self._clock = 0
        self.active = 0
        """How many slots are in use: those at the front."""
        self._begin = 0
        """First slot of the next pass; those in use from there on, or that one alone."""
        self._at: Any = None
        """Where each slot of the pass gets its token; None where one slot gets several."""
        self._from = 0
        self._upto = 0

    @property
    def free(self) -> int:
        """How many sequences can still be taken up."""
        return len(self.ids) - self.active

    def join(self, prompt: Sequence[int], salt: str) -> tuple[int, int]:
        """Take up a sequence.

        Returns:
            Its slot, the last of those in use now, and how many of the prompt's tokens the slot
            holds already: never the last one, whose logits are wanted.
        """
        asked = list(prompt)
        best, held = -1, 0
        for slot in range(self.active, len(self.ids)):
            ids = self.ids[slot]
            if held < len(ids) < len(asked) and self._salts[slot] == salt:
                if asked[: len(ids)] == ids:
                    best, held = slot, len(ids)
        if best < 0:
            best = min(range(self.active, len(self.ids)), key=lambda slot: self._ended[slot])
        place = self.active
        self._swap(best, place)
        self.active += 1
        self.ids[place] = asked[:held]
        self._salts[place] = salt
        return place, held

    def leave(self, slot: int) -> int:
        """A sequence ended; its slot is kept warm.

        Returns:
            The slot from which another moved into its place: the last one that was in use.
        """
        self._clock += 1
        self._ended[slot] = self._clock
        last = self.active - 1
        self._swap(slot, last)
        self.active = last
        return last

    def fill(self, slot: int, ids: Sequence[int]) -> Any:
        """Say that the next pass adds these tokens to one slot; its attention mask."""
        self._begin, self._at, self._from = slot, None, len(self.ids[slot])
        self.ids[slot] += ids
        self._upto = len(self.ids[slot])
        own = self._range(self._from, self._upto)[:, None]
        return (self._range(0, self._upto)[None, :] <= own)[None, None]

    def extend(self, ids: Sequence[int]) -> Any:
        """Say that the next pass adds one token to each slot in use; its attention mask."""
        torch = self._torch
        held_by = self.ids[: self.active]
        at = torch.tensor([len(held) for held in held_by], device=self._device)
        for held, token in zip(held_by, ids, strict=True):
            held.append(token)
        self._upto = max(map(len, held_by))
        self._begin, self._at = 0, at
        return (self._range(0, self._upto)[None, :] <= at[:, None])[:, None, None]

    def positions(self) -> Any:
        """Of the tokens that the next pass adds."""
        if self._at is None:
            return self._range(self._from, self._upto)[None]
        return self._at[:, None]

    def update(self, keys: Any, values: Any, layer_idx: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Write a layer's new keys and values; all of them that the pass may look at.

        Shapes are `(slots, heads, tokens, size)`.
        """
        every: list[Any] = []
        for kept, new in ((self._keys[layer_idx], keys), (self._values[layer_idx], values)):
            if self._at is None:
                kept[self._begin, :, self._from : self._upto] = new[0]
                every.append(kept[self._begin : self._begin + 1, :, : self._upto])
            else:
                kept[self._range(0, self.active), :, self._at] = new[:, :, 0]
                every.append(kept[: self.active, :, : self._upto])
        return every[0], every[1]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens that were there before the pass; of the longest slot."""
        del layer_idx
        return self._upto - 1

    def get_mask_sizes(self, *_: Any) -> tuple[int, int]:
        """Length and offset of what a mask covers."""
        return self._upto, 0

    def _range(self, begin: int, end: int) -> Any:
        return self._torch.arange(begin, end, device=self._device)

    def _swap(self, one: int, two: int) -> None:
        if one == two:
            return
        upto = max(len(self.ids[one]), len(self.ids[two]))
        for kept in (*self._keys, *self._values):
            if upto:
                kept[[one, two], :, :upto] = kept[[two, one], :, :upto]
        self.ids[one], self.ids[two] = self.ids[two], self.ids[one]
        self._salts[one], self._salts[two] = self._salts[two], self._salts[one]
        self._ended[one], self._ended[two] = self._ended[two], self._ended[one]
