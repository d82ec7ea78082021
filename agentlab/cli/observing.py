"""`--otel`, `--otel-content` and `--log-json`: a run told to other systems while it is made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from agentlab.cli.options import PREFIX, DisplayName, option

if TYPE_CHECKING:
    from agentlab.protocols import Observer

F = TypeVar("F", bound=Callable[..., Any])
STDERR = "-"


def observing_options(function: F) -> F:
    """Add the three options, which `Watching.of` takes."""
    function = option(
        "--log-json",
        metavar="FILE",
        envvar=f"{PREFIX}_LOG_JSON",
        help="Append events and warnings to FILE, one JSON object a line; - is stderr.",
    )(function)
    function = option(
        "--otel-content",
        is_flag=True,
        help="Messages, arguments and results go with the spans.",
    )(function)
    return option(
        "--otel",
        is_flag=True,
        help="Send OpenTelemetry spans to the endpoint in OTEL_EXPORTER_OTLP_ENDPOINT.",
    )(function)


class Watching(NamedTuple):
    """What the options ask for."""

    workspace: Path
    otel: bool
    content: bool
    log: str | None

    @classmethod
    def of(cls, workspace: Path, options: dict[str, Any]) -> Watching:
        """The three options, which are taken out of the others."""
        otel, content = options.pop("otel"), options.pop("otel_content")
        return cls(workspace, otel or content, content, options.pop("log_json"))

    def display(self, chosen: DisplayName | None) -> DisplayName | None:
        """The display: none where the log has stderr to itself and nothing else was asked for."""
        return "none" if chosen is None and self.log == STDERR else chosen

    @contextmanager
    def observers(self) -> Generator[tuple[Observer, ...]]:
        """The observers, closed at the end whatever happens.

        Raises:
            UsageError: the log cannot be written, or spans are asked for and no endpoint is named.
            MissingExtraError: spans are asked for and OpenTelemetry is not installed.
        """
        found: list[Observer] = []
        with ExitStack() as stack:
            if self.log is not None:
                from agentlab.telemetry.logs import JsonLog

                target = sys.stderr if self.log == STDERR else Path(self.log)
                found.append(stack.enter_context(JsonLog(target)))
            if self.otel:
                from agentlab.telemetry import tracing

                found.append(stack.enter_context(tracing(self.workspace, content=self.content)))
            yield tuple(found)
