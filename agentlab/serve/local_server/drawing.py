"""How a token is drawn from logits, so that nothing but its own request decides which.

Each request has a generator of its own, and takes one number from it for a token. The number is
looked up in the cumulative distribution over the vocabulary's order; so the same seed and request
give the same tokens, whatever else is computed in the same pass, but for the last bits of a float32
matrix product, which may depend on the pass's size.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from agentlab.serve.local_server.asked import Drawing


class Drawn(NamedTuple):
    """A token."""

    id: int
    logprob: float
    """Of the model itself, before temperature and top-p: vLLM's `raw_logprobs`."""
    top: tuple[tuple[int, float], ...]
    """The likeliest tokens, where they were asked for."""


def generator(drawing: Drawing, otherwise: str) -> random.Random:
    """A request's own generator; `otherwise` seeds it where the request has no seed."""
    seed = otherwise if drawing.seed is None else f"seed {drawing.seed}"
    return random.Random(int.from_bytes(hashlib.sha256(seed.encode()).digest()))


def draw(
    torch: Any, logits: Any, drawings: Sequence[Drawing], generators: Sequence[random.Random]
) -> list[Drawn]:
    """A token for each row of logits, of shape `(rows, vocabulary)`."""
    logits = logits.float()
    own = torch.log_softmax(logits, dim=-1)
    chosen = logits.argmax(dim=-1).tolist()
    rows = [row for row, drawing in enumerate(drawings) if drawing.temperature > 0]
    if rows:
        heat = torch.tensor([drawings[row].temperature for row in rows], dtype=torch.float64)
        scaled = logits[rows].double() / heat.to(logits.device)[:, None]
        probabilities = torch.softmax(scaled, dim=-1)
        for place, row in enumerate(rows):
            if drawings[row].top_p < 1:
                probabilities[place] = _nucleus(torch, probabilities[place], drawings[row].top_p)
        sums = probabilities.cumsum(dim=-1)
        wanted = torch.tensor([generators[row].random() for row in rows], dtype=torch.float64)
        wanted = wanted.to(sums.device)[:, None] * sums[:, -1:]
        found = torch.searchsorted(sums, wanted, right=True)[:, 0].tolist()
        for row, token in zip(rows, found, strict=True):
            chosen[row] = min(token, logits.shape[-1] - 1)
    tokens = torch.tensor(chosen, device=own.device)[:, None]
    told = own.gather(1, tokens)[:, 0].tolist()
    if not all(map(math.isfinite, told)):
        raise ArithmeticError("the model finds its own tokens likely by what is no number")
    return [
        Drawn(token, logprob, likeliest(torch, own[row], drawing.top or 0))
        for row, (token, logprob, drawing) in enumerate(zip(chosen, told, drawings, strict=True))
    ]


def likeliest(torch: Any, own: Any, count: int) -> tuple[tuple[int, float], ...]:
    """The likeliest tokens of one row of log-probabilities, the likeliest first."""
    if not count:
        return ()
    values, ids = torch.topk(own, min(count, own.shape[-1]))
    return tuple(zip(ids.tolist(), values.tolist(), strict=True))


def _nucleus(torch: Any, probabilities: Any, top_p: float) -> Any:
    """The smallest set of tokens whose probability reaches `top_p`; the others at 0."""
    ordered, ids = torch.sort(probabilities, descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = torch.where(before < top_p, ordered, torch.zeros_like(ordered))
    return torch.zeros_like(probabilities).scatter(0, ids, kept)
