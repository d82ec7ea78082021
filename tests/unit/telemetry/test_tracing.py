"""Spans of an evaluation, an agent and attempts on record; what goes along, and what never does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentlab.agent import Agent
from agentlab.cli.main import cli
from agentlab.errors import UsageError
from agentlab.events import AttemptFinished, Event, RunFinished, RunStarted, SkillMoved
from agentlab.graph.watching import Watchers
from agentlab.records import Records
from agentlab.telemetry import tracing
from agentlab.telemetry.spans import LONGEST, LONGEST_CONTENT
from agentlab.types import AttemptOutcome, Score
from tests.unit.records.samples import RUN, a_spec, a_task, opened
from tests.unit.telemetry.conversation import KEY, SCRIPT, a_conversation


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def recorded(path: Path, outcome: AttemptOutcome) -> Records:
    records = opened(path)
    records.attempts.plan(RUN, 0, [a_spec(0, a_task(0))])
    records.attempts.record(a_spec(0, a_task(0)), outcome)
    return records


def told(
    path: Path, provider: TracerProvider, exporter: InMemorySpanExporter, *, content: bool = False
) -> dict[str, list[ReadableSpan]]:
    """The spans of the conversation, by kind."""
    outcome = a_conversation()
    with (
        recorded(path, outcome),
        tracing(path, provider=provider, content=content) as observer,
    ):
        observer.attempt(outcome.attempt_id)
    found: dict[str, list[ReadableSpan]] = {}
    for span in exporter.get_finished_spans():
        found.setdefault(str((span.attributes or {})["agentlab.span"]), []).append(span)
    return found


def test_an_attempt_is_a_tree_of_its_record(
    tmp_path: Path, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    spans = told(tmp_path, provider, exporter)
    (attempt,) = spans["attempt"]
    (skill,) = spans["skill"]
    assert attempt.name == "invoke_agent search" and skill.name == "execute_tool deliver"
    assert attempt.context is not None and skill.context is not None
    assert (attempt.start_time, attempt.end_time) == (10**15, 10**15 + 2 * 10**9)
    tools = sorted(spans["tool"], key=lambda span: span.start_time or 0)
    assert [span.parent and span.parent.span_id for span in tools] == [
        skill.context.span_id, skill.context.span_id, attempt.context.span_id,
    ]  # fmt: skip
    assert (skill.start_time, skill.end_time) == (tools[0].start_time, tools[1].end_time)
    # What nobody timed has its place, and is marked.
    assert (tools[2].attributes or {})["agentlab.untimed"] is True
    assert tools[2].start_time == tools[2].end_time == tools[1].end_time
    refused = [s for s in tools if (s.attributes or {}).get("error.type") == "refused"]
    assert len(refused) == 1 and not refused[0].status.is_ok
    assert refused[0].status.description is None
    call = next(
        s for s in spans["model call"] if (s.attributes or {})["agentlab.role"] == "executor"
    )
    said = dict(call.attributes or {})
    assert (call.name, said["gen_ai.request.model"], said["gen_ai.response.model"]) == (
        "chat m", "m", "m-2026",
    )  # fmt: skip
    assert (call.end_time or 0) - (call.start_time or 0) == 250_000_000
    usage = {k.removeprefix("gen_ai.usage."): v for k, v in said.items() if "usage" in k}
    assert usage == {
        "input_tokens": 30, "output_tokens": 4, "cache_read.input_tokens": 8,
        "agentlab.usage.tokens": 34, "agentlab.usage.usd": 0.25,
    }  # fmt: skip
    assert said["gen_ai.request.temperature"] == 0.5 and "gen_ai.request.seed" not in said
    assert said["gen_ai.response.finish_reasons"] == ("stop",)


@pytest.mark.parametrize("content", [False, True])
def test_content_is_off_unless_asked_for_and_secrets_never_go_along(
    tmp_path: Path,
    provider: TracerProvider,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    content: bool,
) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    spans = told(tmp_path, provider, exporter, content=content)
    whole = [span for kind in spans.values() for span in kind]
    text = "\n".join(span.to_json() for span in whole)
    assert KEY not in text
    for said in ("script", "You carry", "Done.", "carry parcel", "ToolRefused"):
        assert (said in text) is content, said
    longest = LONGEST_CONTENT if content else LONGEST
    for span in whole:
        for name, value in (span.attributes or {}).items():
            if isinstance(value, str) and not name.endswith("messages"):
                assert len(value) <= longest, name
    if content:
        call = next(s for s in spans["model call"])
        messages = json.loads(str((call.attributes or {})["gen_ai.input.messages"]))
        assert [m["role"] for m in messages] == ["system", "assistant", "tool"]
        assert messages[0]["parts"] == [{"type": "text", "content": "You carry. [key]"}]
        assert messages[1]["parts"][0]["type"] == "tool_call"
        assert messages[2]["parts"][0] == {
            "type": "tool_call_response", "id": "c1", "response": "You are there.",
        }  # fmt: skip


@pytest.mark.parametrize("content", [False, True])
def test_a_score_is_an_event_of_its_attempt(
    tmp_path: Path, provider: TracerProvider, exporter: InMemorySpanExporter, content: bool
) -> None:
    spans = told(tmp_path, provider, exporter, content=content)
    (attempt,) = spans["attempt"]
    (event,) = attempt.events
    assert (event.name, event.timestamp) == ("gen_ai.evaluation.result", attempt.end_time)
    expected: dict[str, object] = {
        "gen_ai.evaluation.name": "judge",
        "gen_ai.evaluation.score.label": "failure",
        "gen_ai.evaluation.score.value": 0.5,
    }
    if content:
        expected["gen_ai.evaluation.explanation"] = f"{SCRIPT} no"
    assert dict(event.attributes or {}) == expected
    assert not any(span.events for kind in spans if kind != "attempt" for span in spans[kind])


def test_an_unknown_score_has_no_value(
    tmp_path: Path, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    unsure = a_conversation().model_copy(update={"score": Score(source="judge")})
    with recorded(tmp_path, unsure), tracing(tmp_path, provider=provider) as observer:
        observer.attempt(unsure.attempt_id)
    (attempt,) = (s for s in exporter.get_finished_spans() if s.name.startswith("invoke_agent"))
    (event,) = attempt.events
    assert dict(event.attributes or {}) == {
        "gen_ai.evaluation.name": "judge",
        "gen_ai.evaluation.score.label": "unknown",
    }


def test_an_attempt_that_failed_is_an_error_without_times(
    tmp_path: Path, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    spec = a_spec(0, a_task(0))
    lost = AttemptOutcome(attempt_id=spec.id, status="infrastructure_failure", error="it hung")
    event = AttemptFinished(run_id=RUN, attempt_id=spec.id, status=lost.status)
    with recorded(tmp_path, lost), tracing(tmp_path, provider=provider) as observer:
        observer.notify(event)
    attempt, round_, run = exporter.get_finished_spans()
    assert (attempt.attributes or {})["error.type"] == "infrastructure_failure"
    assert not attempt.status.is_ok and attempt.status.description is None
    assert "agentlab.attempt.success" not in (attempt.attributes or {})
    assert attempt.events == (), "nobody evaluated it"
    assert (round_.attributes or {})["agentlab.round.complete"] is False
    assert (run.attributes or {})["agentlab.span"] == "run"


def test_decisions_of_people_are_events_of_the_round_that_took_them_up(
    tmp_path: Path, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    def moved(round_: int, by: str) -> Event:
        return SkillMoved(
            run_id=RUN, round=round_, skill_id="skill-1", name="x", before="verified",
            after="active", reason=SCRIPT, by=by,
        )  # fmt: skip

    with opened(tmp_path), tracing(tmp_path, provider=provider) as observer:
        for event in (moved(1, ""), moved(0, "ada")):
            observer.notify(event)
    (span,) = (s for s in exporter.get_finished_spans() if s.name.endswith("round"))
    assert [dict(e.attributes or {}).get("agentlab.item.decided_by") for e in span.events] == [
        None, "ada",
    ]  # fmt: skip
    assert SCRIPT not in span.to_json()


def test_an_observer_that_fails_is_dropped_and_stops_nothing(
    tmp_path: Path, provider: TracerProvider, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Event] = []

    class Sees:
        def notify(self, event: Event) -> None:
            seen.append(event)

    with tracing(tmp_path / "nothing there", provider=provider) as observer:
        watchers = Watchers([observer, Sees()])
        for _ in range(2):
            watchers.notify(SkillMoved(run_id=RUN))
    assert len(seen) == 2
    assert caplog.text.count("An observer failed and is dropped") == 1


def test_an_agents_attempts_belong_to_the_span_in_which_it_is_asked(
    tmp_path: Path, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    with (
        tracing(tmp_path, provider=provider) as observer,
        Agent("courier", library=tmp_path, tool_calls=20, observers=[observer]) as agent,
    ):
        (task,) = agent.tasks(1)
        with provider.get_tracer("app").start_as_current_span("request") as request:
            result = agent.run(task)
    spans = exporter.get_finished_spans()
    (attempt,) = (s for s in spans if (s.attributes or {}).get("agentlab.span") == "attempt")
    assert attempt.parent is not None
    assert attempt.parent.span_id == request.get_span_context().span_id
    assert (attempt.attributes or {})["agentlab.attempt.id"] == result.attempt_id
    assert (attempt.attributes or {})["agentlab.attempt.kind"] == "production"
    assert {s.name for s in spans if s.parent is None} == {"request"}


class Collects(SpanExporter):
    """Keeps spans, and says whether it took them as it is told to."""

    def __init__(self, answer: SpanExportResult) -> None:
        self._answer = answer
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return self._answer

    def ids(self) -> dict[str, list[tuple[int, int]]]:
        """Trace and span of everything that is of an attempt, by name."""
        found: dict[str, list[tuple[int, int]]] = {}
        for span in self.spans:
            if span.context and (span.attributes or {})["agentlab.span"] != "run":
                ids = (span.context.trace_id, span.context.span_id)
                found.setdefault(span.name, []).append(ids)
        return {name: sorted(ids) for name, ids in found.items() if "round" not in name}


def test_what_no_collector_took_is_told_again_with_the_same_ids(tmp_path: Path) -> None:
    outcome = a_conversation()
    begun = AttemptFinished(run_id=RUN, attempt_id=outcome.attempt_id)
    again = RunStarted(run_id=RUN, resumed=True)
    refuses = Collects(SpanExportResult.FAILURE)
    takes, late = (Collects(SpanExportResult.SUCCESS) for _ in range(2))
    with recorded(tmp_path, outcome):
        for exporter, event in ((refuses, begun), (takes, again), (late, again)):
            with tracing(tmp_path, exporter=exporter) as observer:
                observer.notify(event)
                observer.notify(RunFinished(run_id=RUN, status="stopped"))
    assert refuses.ids() == takes.ids() and len(takes.ids()) > 3
    assert [span.name for span in late.spans] == ["invoke_workflow run"]


def test_what_a_provider_was_not_seen_to_flush_is_told_again(
    tmp_path: Path, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    outcome = a_conversation()
    again = RunStarted(run_id=RUN, resumed=True)
    with recorded(tmp_path, outcome):
        killed = tracing(tmp_path, provider=provider)
        killed.notify(AttemptFinished(run_id=RUN, attempt_id=outcome.attempt_id))
        for _ in range(2):
            with tracing(tmp_path, provider=provider) as observer:
                observer.notify(again)
        killed.close()
    attempts = [s for s in exporter.get_finished_spans() if s.name.startswith("invoke_agent")]
    assert len(attempts) == 2, "the killed process and the first that went on"
    assert len({s.context and (s.context.trace_id, s.context.span_id) for s in attempts}) == 1


def test_a_run_has_one_span_if_two_threads_tell_of_it_first(
    tmp_path: Path, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    threads: list[threading.Thread] = []
    started: list[str] = []

    class Meanwhile(SpanProcessor):
        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            started.append(str((span.attributes or {})["agentlab.span"]))
            if not threads:
                told = SkillMoved(run_id=RUN, skill_id="skill-2")
                threads.append(threading.Thread(target=observer.notify, args=(told,)))
                threads[0].start()
                threads[0].join(0.2)  # it waits for this one, so that this one cannot for it

    provider.add_span_processor(Meanwhile())
    with opened(tmp_path), tracing(tmp_path, provider=provider) as observer:
        observer.notify(SkillMoved(run_id=RUN, skill_id="skill-1"))
        threads[0].join()
    assert started == ["run", "round"]
    (round_, _) = exporter.get_finished_spans()
    told = [(event.attributes or {})["agentlab.item.id"] for event in round_.events]
    assert told == ["skill-1", "skill-2"]


class Collector(BaseHTTPRequestHandler):
    """Takes in what OTLP over HTTP sends."""

    received: list[ExportTraceServiceRequest]

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        message = ExportTraceServiceRequest()
        message.ParseFromString(self.rfile.read(length))
        self.received.append(message)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[HTTPServer]:
    Collector.received = []
    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


EVALUATE = ["evaluate", "courier", "--tasks=2", "--tool-calls=20", "--index=exact", "--json"]


def test_the_command_sends_to_the_endpoint_that_was_named(
    tmp_path: Path, collector: HTTPServer
) -> None:
    where = f"http://127.0.0.1:{collector.server_address[1]}"
    log = tmp_path / "log.jsonl"
    done = CliRunner().invoke(
        cli,
        [*EVALUATE, "--otel", f"--log-json={log}", f"--workspace={tmp_path / 'ws'}"],
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": where, "OTEL_SERVICE_NAME": "nightly"},
    )
    assert done.exit_code == 0, done.output
    resources = [r for message in Collector.received for r in message.resource_spans]
    names = [s.name for r in resources for scope in r.scope_spans for s in scope.spans]
    assert names.count("invoke_agent search") == 2
    assert "invoke_workflow held-out comparison" in names and "invoke_workflow run courier" in names
    told = {a.key: a.value.string_value for a in resources[0].resource.attributes}
    assert told["service.name"] == "nightly"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["data"]["done"] for line in lines if line["kind"] == "Progress"] == [0, 1, 2]


def test_nothing_is_sent_where_no_endpoint_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="name the endpoint in OTEL_EXPORTER_OTLP_ENDPOINT"):
        tracing(tmp_path)
    done = CliRunner().invoke(cli, [*EVALUATE, "--otel", f"--workspace={tmp_path / 'ws'}"])
    assert done.exit_code == 2 and "OTEL_EXPORTER_OTLP_ENDPOINT" in done.stderr
    assert not (tmp_path / "ws").exists()
