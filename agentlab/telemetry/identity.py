"""Ids of spans that depend on what is told alone, so that who is told twice can tell.

An attempt that is told again has the ids that its spans had before: those of the attempt from its
own id, that of the trace from its run unless an application's span is around it. A collector can
replace by them what it has already. A tracer that is not the SDK's makes ids of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import Tracer

from agentlab.types.base import digest


@dataclass
class _Source:
    """What ids come from for now."""

    trace: tuple[str, ...]
    spans: tuple[str, ...] | None
    number: itertools.count[int] = field(default_factory=itertools.count)


_SOURCE: ContextVar[_Source | None] = ContextVar("_SOURCE", default=None)


class _Derived(IdGenerator):
    """Ids from what `derived` names, and another generator's where it names nothing."""

    def __init__(self, other: IdGenerator) -> None:
        self._other = other

    def generate_span_id(self) -> int:
        source = _SOURCE.get()
        if source is None or source.spans is None:
            return self._other.generate_span_id()
        return int(digest("span", *source.spans, next(source.number))[:16], 16) or 1

    def generate_trace_id(self) -> int:
        source = _SOURCE.get()
        if source is None:
            return self._other.generate_trace_id()
        return int(digest("trace", *source.trace)[:32], 16) or 1

    def is_trace_id_random(self) -> bool:
        # A digest is spread as evenly as chance is, which is all that this asks.
        return isinstance(self._other, RandomIdGenerator)


@contextmanager
def derived(trace: tuple[str, ...], spans: tuple[str, ...] | None = None) -> Generator[None]:
    """Derive the ids of spans that are started in the block.

    Args:
        trace: what the id of a trace that begins here comes from.
        spans: what ids of spans come from, numbered in order; None for ids as ever.
    """
    token = _SOURCE.set(_Source(trace, spans))
    try:
        yield
    finally:
        _SOURCE.reset(token)


def with_derived_ids(tracer: Tracer) -> Tracer:
    """The tracer, which now asks `derived` first; one that is not the SDK's stays as it is."""
    if isinstance(tracer, SdkTracer) and not isinstance(tracer.id_generator, _Derived):
        tracer.id_generator = _Derived(tracer.id_generator)
    return tracer
