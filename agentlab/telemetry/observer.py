"""An observer that turns a run into OpenTelemetry spans, live and once for each attempt.

A run and its rounds are spans that stay open while they last; an attempt's are made when it is on
record, from the record. The span in which an application calls agentlab is the parent of them
all.

When a run is resumed, those attempts of earlier processes are told again whose export is not on
record (`told`), under the run's span and with the ids that their spans had before (`identity`).
An exporter's word is noted with each batch; of an application's own provider no more is known than
that it was flushed, which is asked of it when a process stops working on the run.

Threads may tell it at once. It must not raise for what a collector does.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    Span,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
    set_span_in_context,
)

from agentlab.errors import UsageError
from agentlab.events import (
    AttemptFinished,
    Event,
    InsightMoved,
    Progress,
    RoundFinished,
    RunFinished,
    RunPaused,
    RunStarted,
    SkillMoved,
)
from agentlab.models.redaction import look_again
from agentlab.records import Records, RunRow, Workspace
from agentlab.telemetry import conventions as c
from agentlab.telemetry.identity import derived, with_derived_ids
from agentlab.telemetry.spans import Attributes, Spans, Whose, bounded
from agentlab.telemetry.told import Noting, Told
from agentlab.version import __version__

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
FLUSH_MILLISECONDS = 10_000
"""That the end of a run waits for what is not sent yet."""
AT_ONCE = 8
"""Attempts that are told again before they are sent: a full queue drops what came first."""

logger = logging.getLogger(__name__)


class Source(NamedTuple):
    """Where spans are made, and what must be shut down at the end because it was made here."""

    tracer: Tracer
    provider: TracerProvider
    own: SdkProvider | None
    told: Told


def source_of(
    workspace: Path | str | None,
    exporter: SpanExporter | None,
    provider: TracerProvider | None,
) -> Source:
    """A tracer over what the caller has, or over the endpoint that the user named.

    Args:
        workspace: beside whose runs it is noted what was told.
        exporter: for a provider that is made here.
        provider: the caller's.

    Raises:
        UsageError: none of them is given.
    """
    told = Told(_place(workspace))
    if provider is not None:
        return Source(_tracer(provider), provider, own=None, told=told)
    if exporter is None:
        if not any(os.environ.get(name, "").strip() for name in ENDPOINTS):
            raise UsageError(
                f"Tracing sends nothing anywhere of its own accord; name the endpoint in "
                f"{ENDPOINTS[0]}, such as http://127.0.0.1:4318."
            )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter()
    service = os.environ.get("OTEL_SERVICE_NAME") or "agentlab"
    own = SdkProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    own.add_span_processor(BatchSpanProcessor(Noting(exporter, told)))
    return Source(_tracer(own), own, own=own, told=told)


@dataclass
class _Run:
    """A run as far as it was told of."""

    whose: Whose
    parent: Context
    span: Span
    inside: Context
    boundary: int
    """When the last thing ended that this process did for the run: there the next round begins."""
    round: int = -1
    round_span: Span | None = None
    measuring: Span | None = None
    """Of a comparison that is under way."""
    known: set[str] = field(default_factory=lambda: set())
    """Attempts that have spans, or of which it is on record that a collector has them."""


class Tracing:
    """Implements `protocols.Observer`. Made by `telemetry.tracing`."""

    def __init__(
        self, workspace: Path | str | None, source: Source, *, content: bool = False
    ) -> None:
        look_again()
        self._place = _place(workspace)
        self._source = source
        self._closed = False
        # Held by whoever reads or changes what is open; never during a flush.
        self._lock = threading.RLock()
        self._spans = Spans(source.tracer, content=content)
        self._opened: Records | None = None
        self._runs: dict[str, _Run] = {}

    def notify(self, event: Event) -> None:
        """Take in an event: begin, add to or end spans."""
        if isinstance(event, AttemptFinished) and event.attempt_kind == "production":
            # An application's attempt belongs to what the application does, and to no round.
            self.attempt(event.attempt_id, get_current())
            return
        with self._lock:
            run = self._run(event)
            self._take_in(run, event)
        if isinstance(event, RunStarted) and event.resumed:
            self._tell_again(run)
        elif isinstance(event, RunFinished):
            self._send([run])

    def _take_in(self, run: _Run, event: Event) -> None:
        match event:
            case RunFinished():
                self._finish(run, event)
            case RunPaused():
                reason: Attributes = {c.REASON: event.reason or "goes on"}
                _open(run).add_event(c.PAUSED, bounded(reason))
            case Progress():
                self._measured(run, event)
            case AttemptFinished():
                self._enter(run, event.round)
                run.known.add(event.attempt_id)
                self.attempt(event.attempt_id, set_span_in_context(_open(run), run.parent))
            case RoundFinished():
                self._enter(run, event.round)
                self._end_round(run, event)
            case SkillMoved() | InsightMoved():
                self._enter(run, event.round)
                _open(run).add_event(c.MOVED, bounded(_moved(event)))
            case _:
                if not event.lifecycle:
                    self._enter(run, event.round)

    def attempt(self, attempt_id: str, parent: Context | None = None) -> None:
        """Make the spans of an attempt on record, under the current span or another.

        Raises:
            UnknownNameError: there is none of that id.
        """
        records = self._records()
        spec = records.attempts.spec(attempt_id)
        outcome = records.trajectories.outcome(attempt_id)
        row = records.runs.get(spec.run_id)
        within = parent if parent is not None else get_current()
        key = (*_key(row), attempt_id)
        with derived(key, key):
            self._spans.attempt(
                Whose(row.run_id, row.config), spec, outcome, within, time.time_ns()
            )

    def close(self) -> None:
        """End what is open and send what is not sent yet. Safe to call twice."""
        with self._lock:
            closed, self._closed = self._closed, True
            runs = list(self._runs.values())
            self._runs.clear()
            for run in runs:
                self._end(run)
        if not closed:
            self._send(runs)
            if self._source.own is not None:
                self._source.own.shutdown()
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _records(self) -> Records:
        with self._lock:
            if self._opened is None:
                self._opened = Records.open(Workspace.open(self._place, create=False))
            return self._opened

    def _run(self, event: Event) -> _Run:
        run = self._runs.get(event.run_id)
        if run is not None:
            return run
        records, parent = self._records(), get_current()
        row = records.runs.get(event.run_id)
        whose = Whose(event.run_id, row.config)
        name = str(whose.config.get("environment", ""))
        resumed = isinstance(event, RunStarted) and event.resumed
        attributes: Attributes = {
            c.OPERATION: c.INVOKE_WORKFLOW,
            c.KIND: "run",
            c.WORKFLOW: f"run {name}",
            c.RUN: event.run_id,
            c.ENVIRONMENT: name,
            c.RESUMED: resumed,
        }
        if model := whose.model("executor"):
            attributes[c.REQUEST_MODEL] = model
        with derived(_key(row)):
            span = self._spans.start(f"{c.INVOKE_WORKFLOW} run {name}", parent, attributes)
        known = set(self._source.told.of(event.run_id)) if resumed else set[str]()
        inside = set_span_in_context(span, parent)
        run = _Run(whose, parent, span, inside, time.time_ns(), known=known)
        self._runs[event.run_id] = run
        return run

    def _tell_again(self, run: _Run) -> None:
        """Tell what earlier processes recorded and nobody is known to have.

        Where a collector takes nothing, the rest waits for the next time that the run is resumed.
        """
        rows = self._records().attempts.all(run.whose.run_id)
        untold = [row.attempt_id for row in rows if row.attempt_id not in run.known]
        for at in range(0, len(untold), AT_ONCE):
            for attempt_id in untold[at : at + AT_ONCE]:
                self.attempt(attempt_id, run.inside)
                with self._lock:
                    run.known.add(attempt_id)
            if self._flush() is False:
                left = len(untold) - at
                logger.warning("Spans are not taken; up to %d earlier attempts are untold.", left)
                break

    def _send(self, runs: Sequence[_Run]) -> None:
        """Send what is not sent yet; of runs at a provider of the caller's, note that it was."""
        if self._flush() and not self._source.own:
            for run in runs:
                run_id = run.whose.run_id
                noted = self._source.told.of(run_id)
                self._source.told.add(run_id, sorted(run.known - noted))

    def _flush(self) -> bool | None:
        """Whether all was sent in time; None where the provider has no such thing."""
        provider = self._source.provider
        if not isinstance(provider, SdkProvider):
            return None
        began = time.monotonic()
        sent = provider.force_flush(FLUSH_MILLISECONDS)
        return sent and time.monotonic() - began < FLUSH_MILLISECONDS / 1000

    def _enter(self, run: _Run, round_: int) -> None:
        """Begin a round's span; what is told late of an earlier round belongs to this one."""
        if round_ <= run.round:
            return
        self._leave_round(run)
        run.round = round_
        attributes: Attributes = {
            c.OPERATION: c.INVOKE_WORKFLOW,
            c.KIND: "round",
            c.WORKFLOW: f"round {run.whose.config.get('environment', '')}",
            c.RUN: run.whose.run_id,
            c.ROUND: round_,
            c.COMPLETE: False,
        }
        name = f"{c.INVOKE_WORKFLOW} {attributes[c.WORKFLOW]}"
        # What a model is asked before anything can be told belongs to the round as well.
        run.round_span = self._spans.start(name, run.inside, attributes, at=run.boundary)

    def _end_round(self, run: _Run, event: RoundFinished) -> None:
        span = run.round_span
        if span is None:
            return
        inside = set_span_in_context(span, run.inside)
        for call in self._records().role_calls.all(run.whose.run_id, round_=event.round):
            self._spans.chat(run.whose, call, inside, time.time_ns())
        span.set_attributes(
            {
                c.COMPLETE: True,
                c.ATTEMPTS: event.attempts,
                c.SUCCESSES: event.successes,
                c.ACTIVE: event.active_skills,
            }
        )
        self._leave_round(run)

    def _leave_round(self, run: _Run) -> None:
        if run.round_span is not None:
            run.boundary = time.time_ns()
            run.round_span.end(run.boundary)
            run.round_span = None

    def _measured(self, run: _Run, event: Progress) -> None:
        """A comparison got further: its attempts are told by no event of their own."""
        self._leave_round(run)
        if run.measuring is None:
            attributes: Attributes = {
                c.OPERATION: c.INVOKE_WORKFLOW,
                c.KIND: "evaluation",
                c.WORKFLOW: event.phase,
                c.RUN: run.whose.run_id,
            }
            name = f"{c.INVOKE_WORKFLOW} {event.phase}"
            run.measuring = self._spans.start(name, run.inside, attributes)
        inside = set_span_in_context(run.measuring, run.inside)
        rows = self._records().attempts.all(run.whose.run_id, kind="evaluation")
        for row in rows:
            if row.attempt_id not in run.known:
                run.known.add(row.attempt_id)
                self.attempt(row.attempt_id, inside)
        if event.done >= event.total:
            run.measuring.end()
            run.measuring = None

    def _finish(self, run: _Run, event: RunFinished) -> None:
        run.span.set_attributes({c.STATUS: event.status})
        if event.status == "failed":
            run.span.set_status(Status(StatusCode.ERROR))
            run.span.set_attribute(c.ERROR, "run_failed")
        self._end(self._runs.pop(event.run_id))

    def _end(self, run: _Run) -> None:
        self._leave_round(run)
        if run.measuring is not None:
            run.measuring.end()
            run.measuring = None
        run.span.end()


def _open(run: _Run) -> Span:
    """The innermost span of the run that is open."""
    return run.round_span or run.measuring or run.span


def _moved(event: SkillMoved | InsightMoved) -> Attributes:
    item = event.skill_id if isinstance(event, SkillMoved) else event.insight_id
    told: Attributes = {c.ITEM: item, c.BEFORE: event.before, c.AFTER: event.after}
    return {**told, c.BY: event.by} if event.by else told


def _key(row: RunRow) -> tuple[str, str]:
    """What tells a run from all others: equal configs have equal ids in two workspaces."""
    return row.run_id, row.created_at


def _place(workspace: Path | str | None) -> Path:
    return Path(workspace or os.environ.get("AGENTLAB_WORKSPACE") or ".agentlab").expanduser()


def _tracer(provider: TracerProvider) -> Tracer:
    return with_derived_ids(provider.get_tracer("agentlab", __version__))
