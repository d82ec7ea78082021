"""Which attempts of a run a collector has, on record beside the run, so that the rest can be told.

Spans wait in memory until they are sent, and a process that is killed takes them along. Hence an
attempt counts as told only when the exporter said that it took the attempt's outermost span, which
is the last of its spans to end. The names of these attempts stand in `runs/<run_id>/told`; without
that file, attempts are told again, and nothing else depends on it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from agentlab.telemetry import conventions as c

FILE = "told"
logger = logging.getLogger(__name__)


class Told:
    """The attempts that a collector has.

    Args:
        workspace: whose runs they are of.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace

    def of(self, run_id: str) -> frozenset[str]:
        """Ids of a run's attempts; none where nothing is known."""
        try:
            return frozenset(self._file(run_id).read_text(encoding="utf-8").split())
        except (OSError, ValueError):
            return frozenset()

    def add(self, run_id: str, attempts: Iterable[str]) -> None:
        """Note attempts of a run; what cannot be noted will be told again."""
        # A line that a kill cut short must not become part of the next one.
        lines = "".join(f"\n{attempt}" for attempt in attempts)
        if not lines:
            return
        try:
            self._file(run_id).parent.mkdir(exist_ok=True)
            with self._file(run_id).open("a", encoding="utf-8") as stream:
                stream.write(f"{lines}\n")
        except OSError as error:
            logger.warning("What was sent of %s is not noted (%s).", run_id, error.strerror)

    def _file(self, run_id: str) -> Path:
        return self._workspace / "runs" / run_id / FILE


class Noting(SpanExporter):
    """Another exporter, of which is noted what it took."""

    def __init__(self, exporter: SpanExporter, told: Told) -> None:
        self._exporter = exporter
        self._told = told

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans and note the attempts among them."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            taken: dict[str, list[str]] = {}
            for span in spans:
                about = span.attributes or {}
                # An application's attempt belongs to no run that could be resumed.
                if about.get(c.KIND) == "attempt" and about.get(c.ATTEMPT_KIND) != "production":
                    taken.setdefault(str(about[c.RUN]), []).append(str(about[c.ATTEMPT]))
            for run_id, attempts in taken.items():
                self._told.add(run_id, attempts)
        return result

    def shutdown(self) -> None:
        """Shut the other one down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the other one."""
        return self._exporter.force_flush(timeout_millis)
