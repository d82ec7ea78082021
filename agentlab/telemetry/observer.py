"""An observer that turns a run into OpenTelemetry spans, live and once for each attempt.

A run and its rounds are spans that stay open while they last; an attempt's are made when it is on
record, from the record. The span in which an application calls agentlab is the parent of them
all. An attempt that an earlier process recorded is not told again.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as OwnProvider
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
from agentlab.records import Records, Workspace
from agentlab.telemetry import conventions as c
from agentlab.telemetry.spans import Attributes, Spans, Whose, bounded
from agentlab.version import __version__

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
FLUSH_MILLISECONDS = 10_000
"""That the end of a run waits for what is not sent yet."""


class Source(NamedTuple):
    """Where spans are made, and what must be shut down at the end because it was made here."""

    tracer: Tracer
    own: OwnProvider | None


def tracer_of(exporter: SpanExporter | None, provider: TracerProvider | None) -> Source:
    """A tracer over what the caller has, or over the endpoint that the user named.

    Raises:
        UsageError: none of them is given.
    """
    if provider is not None:
        return Source(provider.get_tracer("agentlab", __version__), None)
    if exporter is None:
        if not any(os.environ.get(name, "").strip() for name in ENDPOINTS):
            raise UsageError(
                f"Tracing sends nothing anywhere of its own accord; name the endpoint in "
                f"{ENDPOINTS[0]}, such as http://127.0.0.1:4318."
            )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter()
    service = os.environ.get("OTEL_SERVICE_NAME") or "agentlab"
    own = OwnProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    own.add_span_processor(BatchSpanProcessor(exporter))
    return Source(own.get_tracer("agentlab", __version__), own)


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
    """Attempts that have spans, or had them in an earlier process."""


class Tracing:
    """Implements `protocols.Observer`. Made by `telemetry.tracing`."""

    def __init__(
        self, workspace: Path | str | None, source: Source, *, content: bool = False
    ) -> None:
        look_again()
        self._place = workspace or os.environ.get("AGENTLAB_WORKSPACE") or ".agentlab"
        self._own = source.own
        self._spans = Spans(source.tracer, content=content)
        self._opened: Records | None = None
        self._runs: dict[str, _Run] = {}

    def notify(self, event: Event) -> None:
        """Take in an event: begin, add to or end spans."""
        if isinstance(event, AttemptFinished) and event.attempt_kind == "production":
            # An application's attempt belongs to what the application does, and to no round.
            self.attempt(event.attempt_id, get_current())
            return
        run = self._run(event)
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
        whose = Whose(spec.run_id, records.runs.get(spec.run_id).config)
        self._spans.attempt(
            whose, spec, outcome, parent if parent is not None else get_current(), time.time_ns()
        )

    def close(self) -> None:
        """End what is open and send what is not sent yet. Safe to call twice."""
        for run in self._runs.values():
            self._end(run)
        self._runs.clear()
        if self._own is not None:
            self._own.force_flush(FLUSH_MILLISECONDS)
            self._own.shutdown()
            self._own = None
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
        if self._opened is None:
            self._opened = Records.open(Workspace.open(self._place, create=False))
        return self._opened

    def _run(self, event: Event) -> _Run:
        run = self._runs.get(event.run_id)
        if run is not None:
            return run
        records, parent = self._records(), get_current()
        whose = Whose(event.run_id, records.runs.get(event.run_id).config)
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
        span = self._spans.start(f"{c.INVOKE_WORKFLOW} run {name}", parent, attributes)
        earlier = records.attempts.all(event.run_id) if resumed else []
        known = {row.attempt_id for row in earlier}
        inside = set_span_in_context(span, parent)
        run = _Run(whose, parent, span, inside, time.time_ns(), known=known)
        self._runs[event.run_id] = run
        return run

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
        if self._own is not None:
            self._own.force_flush(FLUSH_MILLISECONDS)

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
