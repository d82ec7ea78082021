"""The whole loop with a chat model in every role, over HTTP against a real server process.

The server answers by rules that see the request alone, so what is shown here is that the loop
holds together: that advice and skills get where they help, that faults of the endpoint change
nothing, that caps hold and that no secret is written. No claim of learning rests on it.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.errors import AgentLabError, UsageError
from agentlab.events import Event
from agentlab.graph import seats
from agentlab.records import Records, Workspace
from agentlab.testing.model_server import FaultPlan, ModelServer, ServerProcess, server_process
from agentlab.testing.rules import load_rule
from agentlab.types import ChatRequest, Message
from agentlab.types.report import PracticeReport

CANARY = "sk-canary-8f1d2c7b5a904e63"
SMALL: dict[str, Any] = {
    "environment": "courier",
    "model": "openai:courier",
    "curator": "generalise",
    "rounds": 2,
    "attempts": 10,
    "proposals": 10,
    "tool_calls": 60,
    "heldout": 6,
    "heldout_tool_calls": 60,
    "index": "exact",
    "concurrency": 4,
    "admission.trial_tool_calls": 60,
    "seed": 3,
}


@pytest.fixture(scope="module")
def served() -> Iterator[ServerProcess]:
    with server_process("courier") as server:
        yield server


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)


def practise(place: Path, base_url: str, **options: Any) -> PracticeReport:
    given: dict[str, Any] = {**SMALL, "endpoint.base_url": base_url, **options}
    return agentlab.practice(workspace=place, **given)


def events(place: Path, run_id: str) -> list[Any]:
    with Records.open(Workspace.open(place)) as records:
        return [event.comparable() for event in records.events.all(run_id)]


def test_every_role_by_a_model(tmp_path: Path, served: ServerProcess) -> None:
    report = practise(tmp_path, served.base_url, curator="skills", rounds=3, attempts=14)
    assert report.status == "finished"
    assert report.tasks.admitted >= 10
    assert report.insights.admitted >= 1 and report.advice
    assert report.skills.admitted + report.skills.rejected >= 1
    assert report.heldout is not None and report.heldout.baseline is not None
    assert report.heldout.n == 6 and report.heldout.difference is not None
    assert report.usage.tokens > 0
    with Records.open(Workspace.open(tmp_path)) as records:
        outside = records.role_calls.all(report.run_id)
        tried = records.attempts.all(report.run_id, kind="practice")
        outcomes = records.trajectories.outcomes([row.attempt_id for row in tried])
        rows = records.items.insights(status="active")
        skills = records.items.skills()
        draws = records.draws.all(item_id=rows[0].item.id)
    inside = [call for o in outcomes if o.trajectory for call in o.trajectory.model_calls]
    assert {call.role for call in outside} == {"proposer", "curator"}
    assert {call.role for call in inside} == {"executor"}  # the verifier outranks the judge
    assert all(call.prompt_hash for call in (*outside, *inside))
    assert report.usage.tokens >= sum(call.tokens for call in (*outside, *inside))
    # Advice is measured like any other item, and never offered at its own source task.
    assert {draw.withheld for draw in draws} == {True, False}
    assert not {draw.task_id for draw in draws if draw.kind == "practice"} & set(
        rows[0].item.source_tasks
    )
    assert {row.item.origin for row in skills} == {"model"}
    assert_no_canary(tmp_path)


def test_a_playbook_is_offered_at_no_task_that_its_author_saw(
    tmp_path: Path, served: ServerProcess
) -> None:
    small = {"rounds": 4, "attempts": 8, "proposals": 8, "heldout": 0}
    report = practise(tmp_path, served.base_url, insights="ace", **small)
    assert report.insights.admitted >= 1
    with Records.open(Workspace.open(tmp_path)) as records:
        tried = records.attempts.all(report.run_id, kind="practice")
        rows = records.items.insights()
        draws = records.draws.all()
    for row in rows:
        before = {t.task_id for t in tried if t.round == row.round and t.success is not None}
        # All attempts of the round were reflected on, so the delta's author saw each of them.
        assert before <= set(row.item.source_tasks)
        assert set(row.item.must_solve) <= set(row.item.source_tasks)
        offered = {d.task_id for d in draws if d.item_id == row.item.id and d.kind == "practice"}
        assert not offered & set(row.item.source_tasks)
    assert any(len(row.item.must_solve) < len(row.item.source_tasks) for row in rows)


def assert_no_canary(place: Path) -> None:
    for path in place.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


def test_faults_of_the_endpoint_change_nothing(tmp_path: Path) -> None:
    plan = FaultPlan(seed=5, rate=0.3, retry_after=0, hang=0.05, most_in_a_row=4)
    with ModelServer(load_rule("courier")) as server:
        wanted = practise(tmp_path / "quiet", server.base_url, rounds=1, heldout=0)
        server.plan(plan)
        found = practise(tmp_path / "faulty", server.base_url, rounds=1, heldout=0)
        counted = server.counters()
    assert counted.most_tries <= 5
    assert sum(counted.failures.values()) > 10
    assert events(tmp_path / "faulty", found.run_id) == events(tmp_path / "quiet", wanted.run_id)
    assert found.usage.tokens == wanted.usage.tokens


def test_a_cap_on_tokens_ends_the_run(tmp_path: Path, served: ServerProcess) -> None:
    cap = 150_000
    report = practise(tmp_path, served.base_url, heldout=0, rounds=4, **{"budget.tokens": cap})
    assert (report.status, report.reason) == ("stopped", "tokens used up")
    assert 0 < report.usage.tokens <= cap


def test_a_cap_of_the_executor_ends_the_run_and_fails_nobody(
    tmp_path: Path, served: ServerProcess
) -> None:
    report = practise(tmp_path, served.base_url, **{"roles.executor.tokens": 30_000})
    assert (report.status, report.reason) == ("stopped", "executor tokens used up")
    assert report.heldout is None  # it would have measured the cap
    with Records.open(Workspace.open(tmp_path)) as records:
        rows = records.attempts.all(report.run_id, kind="practice")
        outcomes = records.trajectories.outcomes([row.attempt_id for row in rows])
    cut = [outcome for outcome in outcomes if outcome.ending == "budget"]
    assert cut and all(outcome.score.success is None for outcome in cut)


def test_each_attempt_has_its_part_of_a_cap(tmp_path: Path, served: ServerProcess) -> None:
    """Those that try advice and those of the closing comparison too, equal for both arms."""
    cap = 3_000_000
    report = practise(tmp_path, served.base_url, heldout=3, **{"budget.tokens": cap})
    assert report.status == "finished" and report.heldout is not None and report.heldout.n == 3
    with Records.open(Workspace.open(tmp_path)) as records:
        specs = [s for round_ in range(3) for s in records.attempts.planned(report.run_id, round_)]
    parts = {
        kind: [sum(part.tokens or 0 for part in s.allotted) for s in specs if s.kind == kind]
        for kind in ("practice", "shadow", "evaluation")
    }
    assert all(0 < part <= cap for kind in parts.values() for part in kind)
    assert any(s.insights for s in specs if s.kind == "shadow")
    assert len(parts["evaluation"]) == 6 and len(set(parts["evaluation"])) == 1
    assert sum(parts["evaluation"]) <= cap - report.usage.tokens


def test_a_cap_holds_over_a_resume(tmp_path: Path, served: ServerProcess) -> None:
    report = practise(tmp_path, served.base_url, heldout=0, **{"budget.tokens": 60_000})
    assert report.status == "stopped"
    (journal,) = (tmp_path / "runs").glob("*/spending.jsonl")
    paid = sum(json.loads(line)[1] for line in journal.read_text().splitlines())
    most = 60_000 + 4 * 3_000  # by what calls in flight cost beyond what was set aside for them
    assert 40_000 < paid <= most
    again = agentlab.resume(report.run_id, workspace=tmp_path)
    assert again.status == "stopped"
    lines = journal.read_text().splitlines()
    assert paid <= sum(json.loads(line)[1] for line in lines) <= most


@pytest.mark.parametrize(
    "caps",
    [
        {"budget.tokens": 70_000},
        {"roles.executor.tokens": 40_000},
        {
            "budget.usd": 0.07,
            "endpoint.prices": {"openai:courier": {"input": 1.0, "output": 2.0}},
        },
    ],
    ids=["run", "executor", "usd"],
)
def test_who_is_cut_off_does_not_depend_on_who_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caps: dict[str, Any]
) -> None:
    found: list[list[Any]] = []
    cut: list[int] = []
    paid: list[int] = []
    # Some answers come only after a while, and so not in the order of the questions.
    plan = FaultPlan(seed=2, rate=0.3, retry_after=0, hang=0.05, most_in_a_row=2)
    with ModelServer(load_rule("courier"), faults=plan) as server:
        for at_a_time in (1, 8):
            monkeypatch.setattr(seats, "AT_A_TIME", at_a_time)
            place = tmp_path / str(at_a_time)
            report = practise(place, server.base_url, heldout=0, concurrency=0, rounds=2, **caps)
            found.append(events(place, report.run_id))
            paid.append(report.usage.tokens)
    for at_a_time in (1, 8):
        place = tmp_path / str(at_a_time)
        with Records.open(Workspace.open(place)) as records:
            rows = records.attempts.all(report.run_id, kind="practice")
            outcomes = records.trajectories.outcomes([row.attempt_id for row in rows])
        cut.append(sum(outcome.ending == "budget" for outcome in outcomes))
        assert all(o.score.success is None for o in outcomes if o.ending == "budget")
    assert cut[0] == cut[1] > 0
    assert found[0] == found[1]
    assert paid[0] == paid[1] <= (caps.get("budget.tokens") or paid[0])


def test_a_grammar_beside_a_chat_model(tmp_path: Path, served: ServerProcess) -> None:
    report = practise(tmp_path, served.base_url, proposer="grammar", rounds=1, heldout=0)
    assert report.status == "finished" and report.attempts > 0


LEAKY = """
import os

SAID = []

def tell(word: str) -> str:
    \"\"\"Say a word.\"\"\"
    SAID.append(word)
    return "the key is " + os.environ["OPENAI_API_KEY"]

def fail(word: str) -> str:
    \"\"\"Say a word badly.\"\"\"
    raise ValueError(os.environ["OPENAI_API_KEY"])

def state() -> dict:
    return {"said": list(SAID), "key": os.environ["OPENAI_API_KEY"]}

TOOLS = [tell, fail]
"""


def test_a_key_that_a_tool_shows_is_written_nowhere(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(LEAKY)
    place = tmp_path / "workspace"
    agentlab.practice(
        f"tools:{tmp_path / 'leaky.py'}",
        workspace=place,
        rounds=1,
        attempts=4,
        proposals=4,
        heldout=0,
        tool_calls=20,
        index="exact",
    )
    assert_no_canary(place)


NAMED = "COMPANY_MODELS"
"""A variable whose name does not say that it holds a key."""
KEYED: dict[str, Any] = {"endpoint.key_variable": NAMED}
SHOWING = f"""
import os

SAID = []

def tell(word: str) -> str:
    \"\"\"Say a word.\"\"\"
    SAID.append(word + " " + os.environ["{NAMED}"])
    return "the key is " + os.environ["{NAMED}"]

def fail(word: str) -> str:
    \"\"\"Say a word badly.\"\"\"
    raise ValueError(os.environ["{NAMED}"])

def state() -> dict:
    if os.environ.get("BROKEN"):
        raise RuntimeError("no state, and the key is " + os.environ["{NAMED}"])
    return {{"said": list(SAID), "key": os.environ["{NAMED}"]}}

TOOLS = [tell, fail]
"""


@pytest.mark.parametrize("model", ["search", "openai:tools"])
def test_a_key_in_a_variable_that_the_user_names_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], model: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv(NAMED, CANARY)
    (tmp_path / "showing.py").write_text(SHOWING)
    place = tmp_path / "workspace"
    sent: list[str] = []

    def rule(request: ChatRequest) -> Message:
        sent.append(request.model_dump_json())
        said = load_rule("tools")(request)
        return said if isinstance(said, Message) else Message(role="assistant", text=str(said))

    told = Told()
    with ModelServer(rule) as server:
        report = agentlab.practice(
            f"tools:{tmp_path / 'showing.py'}",
            workspace=place,
            observers=[told],
            **{
                **KEYED,
                "model": model,
                "proposer": "grammar",
                "rounds": 1,
                "attempts": 4,
                "proposals": 4,
                "heldout": 0,
                "tool_calls": 20,
                "index": "exact",
                "endpoint.base_url": server.base_url,
            },
        )
    assert report.attempts > 0
    assert bool(sent) is (model != "search")
    shown = capfd.readouterr()
    for text in (*sent, *told.events, report.model_dump_json(), shown.out, shown.err):
        assert CANARY not in text
    assert_no_canary(place)


def test_a_key_in_an_error_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(NAMED, CANARY)
    monkeypatch.setenv("BROKEN", "yes")
    (tmp_path / "showing.py").write_text(SHOWING)
    with pytest.raises(AgentLabError, match=r"the key is \[key\]") as caught:
        agentlab.practice(
            f"tools:{tmp_path / 'showing.py'}",
            workspace=tmp_path / "ws",
            index="exact",
            **KEYED,
        )
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    shown = capfd.readouterr()
    assert CANARY not in shown.out + shown.err
    assert_no_canary(tmp_path / "ws")


class Told:
    """Keeps what observers are told."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def notify(self, event: Event) -> None:
        self.events.append(repr(event))


def test_a_key_in_a_config_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAMED, CANARY)
    for options in (
        {"endpoint.base_url": f"http://me:{CANARY}@127.0.0.1:1/v1"},
        {"endpoint.base_url": "http://127.0.0.1:1/v1?api-key=abc"},
        {"endpoint.base_url": f"http://127.0.0.1:1/{CANARY}/v1"},
        {"environment": f"mcp:some-server --key {CANARY}"},
        {"environment": "mcp:http://127.0.0.1:1/mcp?token=abcdefgh"},
    ):
        with pytest.raises(UsageError, match=r"would be recorded") as caught:
            given: dict[str, Any] = {**SMALL, **KEYED, **options}
            agentlab.practice(workspace=tmp_path, **given)
        assert CANARY not in str(caught.value)
        assert "abcdefgh" not in str(caught.value)
    assert_no_canary(tmp_path)
    assert not (tmp_path / "runs").exists() or not os.listdir(tmp_path / "runs")


def test_dollars_need_a_price(tmp_path: Path, served: ServerProcess) -> None:
    with pytest.raises(UsageError, match="price of 'openai:courier' is unknown"):
        practise(tmp_path, served.base_url, **{"budget.usd": 1.0})
    assert not (tmp_path / "runs").exists() or not os.listdir(tmp_path / "runs")
    prices = {"openai:courier": {"input": 1.0, "output": 2.0}}
    report = practise(
        tmp_path,
        served.base_url,
        rounds=1,
        heldout=0,
        **{"budget.usd": 0.05, "endpoint.prices": prices},
    )
    assert 0 < report.usage.usd <= 0.05


def test_an_agent_with_a_chat_model(tmp_path: Path, served: ServerProcess) -> None:
    practise(tmp_path, served.base_url)
    with agentlab.Agent(
        "courier", model="openai:courier", library=tmp_path, base_url=served.base_url
    ) as agent:
        results = [agent.run(task) for task in agent.tasks(3, seed=8)]
    assert all(result.trajectory and result.trajectory.model_calls for result in results)
    assert any(result.success for result in results)
