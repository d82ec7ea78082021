"""What an agent takes and gives: words, typed answers, events, time limits, and being cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import threading
import time
from collections.abc import Generator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from agentlab import Agent, registry
from agentlab.agent import AttemptEnded, RunResult
from agentlab.errors import UsageError
from agentlab.events import AttemptBegun, Event, ModelAnswered, StepTaken
from agentlab.protocols import Execution, ExecutionContext
from agentlab.records import Records, Workspace
from agentlab.types import Observation, Scope, Trajectory, Usage

RULES = "scripted:tests.unit.agent.agent_rules"
CALLER: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="nobody")


class Place(BaseModel):
    place: str
    steps: int


class Slow:
    """An executor that waits until it is let go."""

    seconds: ClassVar[float] = 60.0
    begun: ClassVar[threading.Event] = threading.Event()
    left: ClassVar[list[str]] = []
    callers: ClassVar[list[str]] = []

    async def execute(self, context: ExecutionContext) -> Execution:
        self.callers.append(CALLER.get())
        self.begun.set()
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.left.append(context.spec.id)
        return Execution(Trajectory(initial=Observation(text="")), Usage(attempts=1))


@contextmanager
def slow(seconds: float) -> Generator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slow, "seconds", seconds)
        patch.setattr(Slow, "begun", threading.Event())
        patch.setattr(Slow, "left", [])
        patch.setattr(Slow, "callers", [])
        patch.setitem(registry.BUILT_IN, "executor/slow", f"{Slow.__module__}:Slow")
        yield "slow"


def chatting(place: Path, rule: str, **options: Any) -> Agent:
    return Agent(
        "courier",
        model=f"{RULES}:{rule}",
        library=place,
        tool_calls=20,
        evaluator="verifier",
        **options,
    )


def rows(place: Path) -> list[Any]:
    with Records.open(Workspace.open(place)) as records:
        return [row for run in records.runs.all() for row in records.attempts.all(run.run_id)]


def test_words_of_the_environment_are_a_task(tmp_path: Path) -> None:
    with Agent("courier", library=tmp_path, tool_calls=300) as agent:
        result = agent.run("Go to the market.")
        again = agent.run("Go to the market.")
        with pytest.raises(UsageError, match="not in the words of 'courier'"):
            agent.run("make me happy")
        with pytest.raises(UsageError, match="1 to"):
            agent.run("  ")
    assert result.success is True
    assert result.instruction == "Go to the market." and result.rewritten_from is None
    assert again.attempt_id != result.attempt_id


def test_any_words_are_a_task_for_a_chat_model(tmp_path: Path) -> None:
    with chatting(tmp_path, "succeeding") as agent:
        result = agent.run("make me happy")
    assert (result.text, result.success, result.ending) == ("done", None, "answer")


def test_an_answer_is_of_the_type_that_was_asked_for(tmp_path: Path) -> None:
    with chatting(tmp_path, "answering") as agent:
        result: RunResult[Place] = agent.run("Where is the lantern?", answer=Place)
        assert result.answer == Place(place="market", steps=3) and not result.answer_fault
        assert "final answer as one JSON object" in result.instruction
        (task,) = agent.tasks(1, seed=1)
        assert agent.run(task, answer=Place).instruction == task.instruction


def test_an_answer_that_does_not_fit_is_asked_for_once_more(tmp_path: Path) -> None:
    with chatting(tmp_path, "mending") as agent:
        result = agent.run("Where is the lantern?", answer=Place)
    assert result.answer == Place(place="market", steps=1)
    assert result.trajectory is not None and len(result.trajectory.model_calls) == 2
    with Records.open(Workspace.open(tmp_path)) as records:
        kept = records.trajectories.outcome(result.attempt_id)
    assert kept.trajectory is not None and len(kept.trajectory.model_calls) == 2
    assert kept.usage.tokens == sum(call.tokens for call in kept.trajectory.model_calls)


def test_an_answer_that_never_fits_is_none_and_says_why(tmp_path: Path) -> None:
    with chatting(tmp_path, "stubborn") as agent:
        result = agent.run("Where is the lantern?", answer=Place)
    assert result.answer is None and result.answer_fault == "It holds no JSON object."
    assert result.trajectory is not None and len(result.trajectory.model_calls) == 2


def test_search_gives_no_answers(tmp_path: Path) -> None:
    with (
        Agent("courier", library=tmp_path) as agent,
        pytest.raises(UsageError, match="gives no answers"),
    ):
        agent.run("Go to the market.", answer=Place)


def test_what_happens_is_told_as_it_happens(tmp_path: Path) -> None:
    with chatting(tmp_path, "answering") as agent:

        async def watch() -> list[Event]:
            return [event async for event in agent.astream("Where is the lantern?")]

        for told in (asyncio.run(watch()), list(agent.stream("Where is the lantern?"))):
            kinds = [type(event) for event in told]
            assert kinds == [AttemptBegun, ModelAnswered, StepTaken, ModelAnswered, AttemptEnded]
            begun, asked, step, _, ended = told
            assert isinstance(begun, AttemptBegun) and begun.instruction == "Where is the lantern?"
            assert isinstance(asked, ModelAnswered) and asked.tools == ("read_sign",)
            assert isinstance(step, StepTaken) and (step.position, step.tool) == (0, "read_sign")
            assert isinstance(ended, AttemptEnded)
            result = ended.result
            assert result.attempt_id == begun.attempt_id
            assert result.trajectory is not None and len(result.trajectory.steps) == 1


def test_steps_of_a_worker_are_told_when_it_is_done(tmp_path: Path) -> None:
    with Agent("courier", library=tmp_path, tool_calls=300) as agent:
        told = list(agent.stream("Go to the market."))
    assert [type(event) for event in told[:2]] == [AttemptBegun, StepTaken]
    assert isinstance(told[-1], AttemptEnded) and told[-1].result.success


def test_a_stream_that_is_left_cancels_its_attempt(tmp_path: Path) -> None:
    with slow(60) as executor, Agent("courier", model=executor, library=tmp_path) as agent:
        (task,) = agent.tasks(1, seed=1)

        async def leave() -> None:
            async with aclosing(agent.astream(task)) as events:
                async for event in events:
                    assert isinstance(event, AttemptBegun)
                    break

        asyncio.run(leave())
        for _ in agent.stream(task):
            break
        assert len(rows(tmp_path)) == 2
    assert {row.status for row in rows(tmp_path)} == {"infrastructure_failure"}


def test_a_cancelled_attempt_is_on_record_and_leaves_nothing(tmp_path: Path) -> None:
    with slow(60) as executor, Agent("courier", model=executor, library=tmp_path) as agent:
        (task,) = agent.tasks(1, seed=1)

        async def cancel() -> None:
            work = asyncio.create_task(agent.arun(task))
            await asyncio.to_thread(Slow.begun.wait, 30)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(cancel())
        assert len(Slow.left) == 1
        (row,) = rows(tmp_path)
        assert (row.attempt_id, row.success) == (Slow.left[0], None)
        assert row.error == "its caller did not wait for it"
        with Records.open(Workspace.open(tmp_path)) as records:
            assert records.trajectories.outcome(row.attempt_id).ending == "cancelled"


def test_a_cancelled_search_leaves_no_process(tmp_path: Path) -> None:
    before = len(multiprocessing.active_children())
    with Agent("babyai", library=tmp_path, tool_calls=100_000) as agent:
        (task,) = agent.tasks(1, seed=3)

        async def cancel(after: float) -> None:
            work = asyncio.create_task(agent.arun(task))
            await asyncio.sleep(after)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

        for after in (0.02, 0.3):  # while its worker starts, and a little later
            asyncio.run(cancel(after))
        assert len(rows(tmp_path)) == 2
    until = time.monotonic() + 10
    while len(multiprocessing.active_children()) > before and time.monotonic() < until:
        time.sleep(0.05)
    assert len(multiprocessing.active_children()) == before


def test_what_takes_too_long_is_cut_off(tmp_path: Path) -> None:
    with slow(60) as executor, Agent("courier", model=executor, library=tmp_path) as agent:
        (task,) = agent.tasks(1, seed=1)
        began = time.monotonic()
        result = agent.run(task, timeout=0.2)
        assert time.monotonic() - began < 10
        assert (result.success, result.ending, result.truncated) == (None, "timeout", True)
        assert result.explanation.startswith("it did not end within")
        with pytest.raises(UsageError, match="cannot be kept"):
            agent.run(task, timeout=0)
    assert len(rows(tmp_path)) == 1


def test_it_runs_from_threads_and_inside_a_running_loop(tmp_path: Path) -> None:
    """As in a notebook, where a loop runs already; the caller's context goes along."""
    with slow(0.0) as executor, Agent("courier", model=executor, library=tmp_path) as agent:
        (task,) = agent.tasks(1, seed=1)

        async def inside() -> str:
            CALLER.set("notebook")
            return agent.run(task).attempt_id

        ids = [asyncio.run(inside())]
        threads = [
            threading.Thread(target=lambda: ids.append(agent.run(task).attempt_id))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(ids)) == 9 and len(rows(tmp_path)) == 9
        assert Slow.callers[0] == "notebook" and set(Slow.callers[1:]) == {"nobody"}


def test_a_call_from_its_own_loop_is_refused(tmp_path: Path) -> None:
    with slow(0.0) as executor, Agent("courier", model=executor, library=tmp_path) as agent:
        (task,) = agent.tasks(1, seed=1)

        class Nested(Slow):
            async def execute(self, context: ExecutionContext) -> Execution:
                agent.run(task)
                return await super().execute(context)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Slow, "execute", Nested.execute)
            with pytest.raises(UsageError, match="would wait for itself"):
                agent.run(task)


def test_an_agent_that_is_closed_under_a_call_says_so(tmp_path: Path) -> None:
    with slow(60.0) as executor:
        agent = Agent("courier", model=executor, library=tmp_path)
        task = agent.tasks(1)[0]
        said: list[BaseException] = []

        def run() -> None:
            try:
                agent.run(task)
            except BaseException as error:
                said.append(error)

        caller = threading.Thread(target=run)
        caller.start()
        assert Slow.begun.wait(30)
        agent.close()
        caller.join(30)
        assert not caller.is_alive()
    (error,) = said
    assert isinstance(error, UsageError) and "was closed while this was under way" in str(error)


def test_a_stream_of_an_agent_that_is_closed_says_so(tmp_path: Path) -> None:
    with slow(60.0) as executor:
        agent = Agent("courier", model=executor, library=tmp_path)
        stream = agent.stream(agent.tasks(1)[0])
        assert isinstance(next(stream), AttemptBegun)
        left = agent.stream(agent.tasks(1)[0])
        next(left)
        agent.close()
        with pytest.raises(UsageError, match="was closed while this was under way"):
            list(stream)
        left.close()  # there is nothing to cancel any longer, and nothing to say


def test_what_an_agent_cannot_be_is_said(tmp_path: Path) -> None:
    wrong: Any = "maybe"
    with pytest.raises(UsageError, match="'off' or 'observe' or 'on', not 'maybe'"):
        Agent("courier", library=tmp_path, learning=wrong)
    with pytest.raises(UsageError, match="`learn_after` is a number"):
        Agent("courier", library=tmp_path, learn_after=-1)
    agent = Agent("courier", library=tmp_path)
    no: Any = "no"
    with pytest.raises(UsageError, match="True, False or None, not 'no'"):
        agent.feedback("any", success=no)
    agent.close()
    with pytest.raises(UsageError, match="is closed"):
        agent.feedback("any", success=True)


def test_a_closed_agent_says_so(tmp_path: Path) -> None:
    agent = Agent("courier", library=tmp_path)
    (task,) = agent.tasks(1, seed=1)
    agent.close()
    agent.close()
    with pytest.raises(UsageError, match="is closed"):
        agent.run(task)
    with Records.open(Workspace.open(tmp_path)) as records:
        assert [run.status for run in records.runs.all()] == ["finished"]


def test_a_mistake_in_the_configuration_leaves_no_half_record(tmp_path: Path) -> None:
    with slow(0.0) as executor, Agent("courier", model=executor, library=tmp_path) as agent:
        (task,) = agent.tasks(1, seed=1)

        async def wrong(self: Slow, context: ExecutionContext) -> Execution:
            raise UsageError("No such thing can be configured; leave it out.")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Slow, "execute", wrong)
            with pytest.raises(UsageError, match="configured"):
                agent.run(task)
    (row,) = rows(tmp_path)
    assert row.status == "infrastructure_failure" and "configured" in (row.error or "")


def test_an_open_agent_keeps_a_loops_connections(tmp_path: Path) -> None:
    async def work() -> list[bool | None]:
        async with chatting(tmp_path, "succeeding") as agent:
            done = await asyncio.gather(*(agent.arun("make me happy") for _ in range(8)))
            return [result.success for result in done]

    assert asyncio.run(work()) == [None] * 8


def test_what_users_type_is_kept_without_keys_and_whatever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-typed-by-mistake-0123456789"
    monkeypatch.setenv("SOME_API_KEY", key)
    model = f"{RULES}:succeeding"
    with Agent("courier", model=model, library=tmp_path, evaluator="verifier") as agent:
        result = agent.run(f"be happy, my key is {key}", session=f"{key}\ud800")
        assert result.instruction == "be happy, my key is [key]"
    with Records.open(Workspace.open(tmp_path)) as records:
        (row,) = records.requests.latest("courier")
        assert (row.session, row.said) == ("[key]?", "be happy, my key is [key]")
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if key.encode() in path.read_bytes()]


def test_what_a_node_asked_for_is_found_in_its_own_scope(tmp_path: Path) -> None:
    with Agent("courier", library=tmp_path, tool_calls=5, tenant="acme") as agent:
        task = agent.tasks(1)[0].model_copy(update={"source": "node 0123456789abcdef"})
        key = agent.run(task).attempt_id
    with Records.open(Workspace.open(tmp_path)) as records:
        found = records.asked.answer(task, scope=Scope(tenant="acme"))
        assert found is not None and found.attempt_id == key
        for other in (Scope(), Scope(tenant="acme", user="ann"), Scope(tenant="other")):
            assert records.asked.answer(task, scope=other) is None
