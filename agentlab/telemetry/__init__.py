"""What a run tells other systems: spans for OpenTelemetry and lines for a log.

Both are observers, made from events and records in this process, and neither can stop a run. No
network is used unless the caller passes an exporter or names an endpoint in
`OTEL_EXPORTER_OTLP_ENDPOINT`; what was said and seen is left out unless it is asked for.

    with tracing(content=True) as observer:
        agentlab.practice("courier", observers=[observer])
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agentlab.errors import MissingExtraError
from agentlab.telemetry.logs import JsonLog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider

    from agentlab.telemetry.observer import Tracing

__all__ = ["JsonLog", "tracing"]


def tracing(
    workspace: Path | str | None = None,
    *,
    exporter: SpanExporter | None = None,
    provider: TracerProvider | None = None,
    content: bool = False,
) -> Tracing:
    """An observer that makes spans by the GenAI conventions; close it, or use it in a `with`.

    Args:
        workspace: whose records the spans are made from; `AGENTLAB_WORKSPACE` or `.agentlab`.
        exporter: takes the spans; its own provider is made for it and shut down at the end.
        provider: of an application that has one already, which then exports.
        content: whether messages, arguments, results and explanations go along.

    Raises:
        MissingExtraError: OpenTelemetry is not installed.
        UsageError: neither an exporter nor a provider is given, and no endpoint is named in
            `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`.
    """
    try:
        from agentlab.telemetry.observer import Tracing, source_of
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise MissingExtraError("Tracing", "otel") from error
    return Tracing(workspace, source_of(workspace, exporter, provider), content=content)
