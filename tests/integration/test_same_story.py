"""One run told by the terminal, the event log, a log for machines and OpenTelemetry: one story."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import agentlab
from agentlab.analysis.tally import Plan, Tally
from agentlab.cli.plain import PlainDisplay
from agentlab.events import AttemptFinished, Event, RoundFinished
from agentlab.records import Records, Workspace
from agentlab.telemetry import JsonLog, tracing
from agentlab.types.report import PracticeReport

CHAT: dict[str, Any] = {
    "environment": "courier",
    "model": "scripted:agentlab.testing.rules.roles:courier_rules",
    "rounds": 2,
    "attempts": 4,
    "proposals": 4,
    "tool_calls": 30,
    "heldout": 1,
    "heldout_tool_calls": 30,
    "index": "exact",
    "concurrency": 4,
    "admission.trial_tool_calls": 30,
    "admission.trials": 2,
    "insights": "none",
    "seed": 3,
    "budget.attempts": 5,
}


class Follower:
    """Counts as whoever follows the events does."""

    def __init__(self) -> None:
        self.tally = Tally(Plan())
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.tally.add(event)
        self.events.append(event)


class Story(NamedTuple):
    workspace: Path
    reports: tuple[PracticeReport, PracticeReport]
    spans: tuple[ReadableSpan, ...]
    outer: int
    """Id of the application's span."""
    lines: list[dict[str, Any]]
    shown: str
    followers: tuple[Follower, Follower]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A run that a budget stopped and that went on in what might be another process."""
    place = tmp_path_factory.mktemp("story")
    workspace, log = place / "ws", place / "run.jsonl"
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    shown = io.StringIO()
    followers = Follower(), Follower()

    def observers(number: int) -> list[Any]:
        return [followers[number], PlainDisplay(Plan(), shown)]

    with provider.get_tracer("app").start_as_current_span("nightly job") as outer:
        with tracing(workspace, provider=provider) as spans, JsonLog(log) as lines:
            first = agentlab.practice(
                workspace=workspace, observers=[*observers(0), spans, lines], **CHAT
            )
        assert trace.get_current_span() is outer
        with tracing(workspace, provider=provider) as spans, JsonLog(log) as lines:
            second = agentlab.resume(
                first.run_id,
                workspace=workspace,
                observers=[*observers(1), spans, lines],
                **{"budget.attempts": 500},
            )
    assert (first.status, second.status) == ("stopped", "finished")
    written = [json.loads(line) for line in log.read_text().splitlines()]
    told = exporter.get_finished_spans()
    identity = outer.get_span_context().span_id
    return Story(workspace, (first, second), told, identity, written, shown.getvalue(), followers)


@pytest.fixture
def records(story: Story) -> Iterator[Records]:
    with Records.open(Workspace.open(story.workspace)) as records:
        yield records


def of(spans: Sequence[ReadableSpan], kind: str) -> list[ReadableSpan]:
    return [span for span in spans if attributes(span).get("agentlab.span") == kind]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_every_attempt_is_told_once_and_with_what_the_records_say(
    story: Story, records: Records
) -> None:
    run_id = story.reports[1].run_id
    rows = {row.attempt_id: row for row in records.attempts.all(run_id)}
    assert {row.kind for row in rows.values()} >= {"practice", "evaluation"}
    spans = of(story.spans, "attempt")
    assert Counter(attributes(s)["agentlab.attempt.id"] for s in spans) == Counter(list(rows))
    for span in spans:
        told = attributes(span)
        row = rows[told["agentlab.attempt.id"]]
        assert told.get("agentlab.attempt.success") == row.success
        assert told["agentlab.usage.tool_calls"] == row.tool_calls
        assert told["agentlab.usage.tokens"] == row.tokens
        assert told["agentlab.attempt.kind"] == row.kind
        assert (told["agentlab.round"], told["agentlab.attempt.slot"]) == (row.round, row.slot)
        (event,) = (e for e in span.events if e.name == "gen_ai.evaluation.result")
        label = (event.attributes or {})["gen_ai.evaluation.score.label"]
        verdict = {"success": True, "failure": False, "unknown": None}[str(label)]
        assert verdict == records.trajectories.outcome(row.attempt_id).score.success


def test_calls_tokens_and_rounds_are_those_of_the_records(story: Story, records: Records) -> None:
    run_id = story.reports[1].run_id
    ids = [row.attempt_id for row in records.attempts.all(run_id)]
    trajectories = [
        o.trajectory for o in records.trajectories.outcomes(ids) if o.trajectory is not None
    ]
    calls = [call for t in trajectories for call in t.model_calls]
    calls += records.role_calls.all(run_id)
    spans = of(story.spans, "model call")
    told = Counter(attributes(s)["agentlab.role"] for s in spans)
    assert told == Counter(call.role for call in calls)
    assert {"executor", "proposer"} <= told.keys()
    tokens = sum(attributes(s)["agentlab.usage.tokens"] for s in spans)
    assert tokens == sum(call.tokens for call in calls) > 0
    by_role = records.role_calls.spent(run_id)
    assert tokens == sum(usage.tokens for usage in by_role.values())
    assert len(of(story.spans, "tool")) == sum(len(t.steps) for t in trajectories) > 0
    assert len(of(story.spans, "skill")) == sum(len(t.invocations) for t in trajectories)
    rounds = [attributes(s) for s in of(story.spans, "round")]
    complete = [each for each in rounds if each["agentlab.round.complete"]]
    finished = records.events.of(run_id, RoundFinished)
    assert [(r["agentlab.round.attempts"], r["agentlab.round.successes"]) for r in complete] == [
        (event.attempts, event.successes) for event in finished
    ]


def test_terminal_log_and_spans_agree(story: Story, records: Records) -> None:
    run_id = story.reports[1].run_id
    counted = ("practice", "shadow")
    spans = [
        s for s in of(story.spans, "attempt") if attributes(s)["agentlab.attempt.kind"] in counted
    ]
    assert sum(f.tally.attempts for f in story.followers) == len(spans)
    assert story.reports[1].attempts == sum(
        attributes(s)["agentlab.attempt.kind"] == "practice" for s in spans
    )
    solved = sum(attributes(s).get("agentlab.attempt.success") is True for s in spans)
    rows = [row for row in records.attempts.all(run_id) if row.kind in counted]
    assert solved == sum(row.success is True for row in rows)
    # What stands in the log is the event log, event for event, and what is of this process alone.
    logged = [line for line in story.lines if line["run"] == run_id and line["kind"] != "log"]
    kept = Counter(row.event.kind for row in records.events.after(run_id))
    told = Counter(line["kind"] for line in logged)
    assert {k: told[k] for k in kept if k != "BudgetChanged"} == {
        k: n for k, n in kept.items() if k != "BudgetChanged"
    }
    assert told["RunStarted"] == told["RunFinished"] == 2
    attempts = [line["data"] for line in logged if line["kind"] == "AttemptFinished"]
    assert {a["attempt_id"] for a in attempts} == {
        attributes(s)["agentlab.attempt.id"] for s in spans
    }
    assert sum(a["success"] is True for a in attempts) == solved
    for follower in story.followers:
        done = [e for e in follower.events if isinstance(e, AttemptFinished)]
        assert len({e.attempt_id for e in done}) == len(done)
    assert story.shown.count(f"{run_id}.") == 2  # it began, and went on


def test_spans_are_one_tree_under_the_applications_span_with_true_times(story: Story) -> None:
    by_id = {span.context.span_id: span for span in story.spans if span.context is not None}
    parents = {
        "run": {None},
        "round": {"run"},
        "evaluation": {"run"},
        "attempt": {"round", "evaluation"},
        "model call": {"attempt", "round"},
        "tool": {"attempt", "skill"},
        "skill": {"attempt", "skill"},
    }
    for span in story.spans:
        if span.name == "nightly job":
            continue
        assert span.parent is not None and span.end_time is not None and span.start_time is not None
        kind = attributes(span)["agentlab.span"]
        above = by_id[span.parent.span_id]
        assert attributes(above).get("agentlab.span") in parents[kind], span.name
        if kind == "run":
            assert span.parent.span_id == story.outer
        assert above.start_time is not None and above.end_time is not None
        assert span.start_time <= span.end_time
        assert "agentlab.untimed" not in attributes(span)
        # A clock that is read in two processes may differ by what it takes to hand work over.
        assert above.start_time - 1_000_000 <= span.start_time
        assert span.end_time <= above.end_time + 1_000_000
    assert len({span.context.trace_id for span in story.spans if span.context}) == 1


def test_names_are_those_of_the_conventions(story: Story) -> None:
    operations = {
        "run": "invoke_workflow",
        "round": "invoke_workflow",
        "evaluation": "invoke_workflow",
        "attempt": "invoke_agent",
        "model call": "chat",
        "tool": "execute_tool",
        "skill": "execute_tool",
    }
    required = {
        "invoke_workflow": {"gen_ai.workflow.name"},
        "invoke_agent": {"gen_ai.provider.name", "gen_ai.agent.name"},
        "chat": {"gen_ai.provider.name", "gen_ai.request.model", "gen_ai.usage.input_tokens"},
        "execute_tool": {"gen_ai.tool.name", "gen_ai.tool.type"},
    }
    for span in story.spans:
        told = attributes(span)
        if "agentlab.span" not in told:
            continue
        operation = told["gen_ai.operation.name"]
        assert operation == operations[told["agentlab.span"]]
        assert required[operation] <= told.keys()
        assert span.name.startswith(operation)
        assert span.kind is (trace.SpanKind.CLIENT if operation == "chat" else span.kind)


def test_nothing_that_was_said_or_seen_goes_along_unasked(story: Story, records: Records) -> None:
    run_id = story.reports[1].run_id
    told = "\n".join(span.to_json() for span in story.spans)
    for task in records.tasks.all(run_id):
        assert task.instruction not in told
    for name in ("messages", "arguments", 'result"', "explanation", "instruction"):
        assert f"gen_ai.{name}" not in told and f"call.{name}" not in told
