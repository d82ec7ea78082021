"""The proof that what a server serves under a name is what a trainer trained.

The trainer writes down, for fixed texts, how likely each token was under the base and under the
trained weights. The server is asked the same of both. Only if all three hold is an adapter live:
the server's base is the trainer's base, the served adapter is the trained one, and the two differ
by more than the measurement errs. Everything else fails closed, with a sentence: a server that
loads the base under the adapter's name makes every later comparison a comparison of the base with
itself (NeMo-Agent-Toolkit#1649 trained so for nothing).
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from agentlab.errors import AdapterRefusedError
from agentlab.training.adapters import Adapter
from agentlab.training.serving.client import ModelServerClient
from agentlab.types import Frozen

TOLERANCE = 0.005
"""Nats by which a token's log-probability may differ between trainer and server, on average: float
32 on two kernels differs by about 1e-4; bfloat16 by 1e-2, so a server in it needs more."""
LARGEST = 10.0
"""Times the tolerance by which a single token may differ."""


class Liveness(Frozen):
    """What was measured, in nats per token."""

    adapter: str
    tokens: int = Field(ge=1)
    """Output tokens of all probes."""
    base_error: float
    """Mean distance between the served base and the trainer's."""
    error: float
    """Mean distance between the served adapter and the trained weights."""
    largest_error: float
    change: float
    """Mean distance between the served adapter and the served base."""
    trained_change: float
    """The same, as the trainer saw it."""
    tolerance: float


def prove_live(
    server: ModelServerClient, adapter: Adapter, base_model: str, *, tolerance: float = TOLERANCE
) -> Liveness:
    """Compare what is served with what was trained.

    Args:
        server: has the adapter loaded under its name.
        adapter: what was trained.
        base_model: what the server calls the base.
        tolerance: nats per token that trainer and server may differ by on average.

    Raises:
        AdapterRefusedError: it is not what is served; says in what.
        ServerFaultError: the server does not answer, or gives no log-probabilities.
    """
    probes = adapter.manifest.probe
    named = [(probe.prompt_ids, probe.output_ids) for probe in probes]
    base = [x for ids in named for x in server.log_probabilities(base_model, *ids)]
    live = [x for ids in named for x in server.log_probabilities(adapter.name, *ids)]
    told_base = [x for probe in probes for x in probe.base_logprobs]
    told = [x for probe in probes for x in probe.trained_logprobs]
    found = Liveness(
        adapter=adapter.name,
        tokens=len(told),
        base_error=_distance(base, told_base),
        error=_distance(live, told),
        largest_error=max(abs(a - b) for a, b in zip(live, told, strict=True)),
        change=_distance(live, base),
        trained_change=_distance(told, told_base),
        tolerance=tolerance,
    )
    why = _fault(found)
    if why is not None:
        raise AdapterRefusedError(str(adapter.folder), why)
    return found


def _fault(found: Liveness) -> str | None:
    """Why it is not proven, or None."""
    n = f"over {found.tokens} tokens"
    if found.base_error > found.tolerance:
        return (
            f"the base model that is served is not the one it was trained on: their "
            f"log-probabilities differ by {found.base_error:.3g} nats a token {n}, and "
            f"{found.tolerance:g} are allowed; serve the right base"
        )
    if found.trained_change <= 2 * found.tolerance:
        return (
            f"training moved it by {found.trained_change:.3g} nats a token {n}, too little to be "
            f"told from the base within {found.tolerance:g}; train it longer, or prove it with a "
            "smaller tolerance"
        )
    if found.change <= found.tolerance:
        return (
            f"what is served as {found.adapter!r} is the base model: their log-probabilities "
            f"differ by {found.change:.3g} nats a token {n}; unload that name and load it again"
        )
    if found.error > found.tolerance or found.largest_error > LARGEST * found.tolerance:
        return (
            f"what is served as {found.adapter!r} is not what was trained: their "
            f"log-probabilities differ by {found.error:.3g} nats a token {n} (at most "
            f"{found.largest_error:.3g}), and {found.tolerance:g} are allowed; unload that name "
            "and load it again"
        )
    return None


def _distance(first: Sequence[float], second: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(first, second, strict=True)) / len(first)
