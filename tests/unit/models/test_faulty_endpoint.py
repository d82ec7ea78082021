"""A whole stack of wrappers before a real server that fails, lies and talks nonsense."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from agentlab.errors import BudgetSpentError
from agentlab.models.counting import counted, expected
from agentlab.models.ledger import Caps, Ledger
from agentlab.models.metered import Metered
from agentlab.models.opening import Endpoints, open_model
from agentlab.models.prices import Price
from agentlab.models.recorded import Recorded
from agentlab.testing.model_server import (
    BAD_CALLS,
    BadCall,
    Counters,
    FaultPlan,
    ModelServer,
    UsageLie,
)
from agentlab.types import (
    ChatReply,
    ChatRequest,
    Message,
    ModelCall,
    Sampling,
    ToolSpec,
    ToolUse,
    Usage,
    digest,
)

PRICE = Price(input=1.0, output=4.0)
LOOK = ToolSpec(
    name="look",
    description="Looks.",
    parameters={"type": "object", "properties": {"at": {"type": "string"}}},
)


def rule(asked: ChatRequest) -> Message:
    """Looks twice and then says something that depends on all that was said."""
    turns = sum(message.role == "tool" for message in asked.messages)
    said = digest([message.text for message in asked.messages])
    if turns >= 2:
        return Message(role="assistant", text=f"Done {said}.")
    use = ToolUse(id=f"c{turns}", name="look", arguments=json.dumps({"at": said[:8]}))
    return Message(role="assistant", text="Looking.", tool_uses=(use,))


async def no_sleep(seconds: float) -> None:
    """Pauses are tested elsewhere; here they are skipped."""
    await asyncio.sleep(0)


class Result(NamedTuple):
    calls: list[tuple[ModelCall, ...]]
    spent: Usage
    counters: Counters
    replies: list[ChatReply]


def conversations(
    count: int,
    faults: FaultPlan,
    *,
    stream: bool = False,
    ledger: Ledger | None = None,
    spec: str = "vllm:m",
    most: int = 200,
) -> Result:
    """So many conversations at once, through the whole stack, over HTTP."""
    ledger = ledger or Ledger()
    replies: list[ChatReply] = []

    async def one(number: int, url: str, endpoints: Endpoints) -> tuple[ModelCall, ...]:
        opened = open_model(spec, base_url=url, endpoints=endpoints, seed=number, stream=stream)
        recorded = Recorded(
            Metered(opened, ledger, role="executor", price=PRICE), role="executor", price=PRICE
        )
        messages = [Message(role="user", text=f"Task {number}")]
        for _ in range(3):
            reply = await recorded.chat(
                ChatRequest(
                    messages=tuple(messages), tools=(LOOK,), sampling=Sampling(max_tokens=most)
                )
            )
            replies.append(reply)
            messages.append(reply.message)
            messages += [
                Message(role="tool", text=use.arguments, tool_use_id=use.id)
                for use in reply.message.tool_uses
            ]
        untimed = {"began": None, "seconds": None}  # faults take time
        return tuple(call.model_copy(update=untimed) for call in recorded.calls)

    async def run(url: str) -> list[tuple[ModelCall, ...]]:
        endpoints = Endpoints(timeout=1.5, sleep=no_sleep)
        try:
            return await asyncio.gather(*(one(n, url, endpoints) for n in range(count)))
        finally:
            await endpoints.close()

    with ModelServer(rule, faults=faults) as server:
        calls = asyncio.run(run(server.base_url))
        return Result(calls, ledger.spent(), server.counters(), replies)


@pytest.mark.parametrize("stream", [False, True])
def test_faults_of_every_kind_change_nothing_and_are_counted_once(stream: bool) -> None:
    plain = conversations(25, FaultPlan(), stream=stream)
    faulty = conversations(25, FaultPlan(seed=5, rate=0.3, hang=5.0), stream=stream)
    assert len(faulty.counters.failures) >= 8, "nearly every kind of failure was met"
    assert sum(faulty.counters.failures.values()) > 20
    assert faulty.calls == plain.calls
    assert faulty.spent == plain.spent
    assert faulty.counters.most_tries <= 5
    assert faulty.counters.served == plain.counters.served == 75
    assert faulty.counters.prompt_tokens + faulty.counters.output_tokens == faulty.spent.tokens
    assert sum(call.tokens for calls in faulty.calls for call in calls) == faulty.spent.tokens


@pytest.mark.parametrize("lie", ["missing", "zero", "huge", "negative"])
@pytest.mark.parametrize("cap", [Caps(tokens=20_000), Caps(usd=0.03)])
def test_a_looping_agent_with_false_figures_ends_at_its_budget(lie: UsageLie, cap: Caps) -> None:
    workers = 16
    ledger = Ledger(cap)
    asked = ChatRequest(
        messages=(Message(role="user", text="again and again " * 20),),
        sampling=Sampling(max_tokens=100),
    )

    async def run(url: str) -> None:
        endpoints = Endpoints()

        async def worker() -> None:
            model = open_model("openai:m", base_url=url, endpoints=endpoints)
            metered = Metered(model, ledger, role="executor", price=PRICE)
            while True:
                await metered.chat(asked)

        try:
            ends = await asyncio.gather(*(worker() for _ in range(workers)), return_exceptions=True)
        finally:
            await endpoints.close()
        assert all(isinstance(end, BudgetSpentError) for end in ends)

    plan = FaultPlan(usage_rate=1.0, usage_lies=(lie,))
    with ModelServer(lambda _: "over and over " * 20, faults=plan) as server:
        asyncio.run(run(server.base_url))
        counters = server.counters()
    spent = ledger.spent()
    assert ledger.reserved() == Usage()
    one = expected(asked)
    if cap.tokens is not None:
        assert cap.tokens - one.total < spent.tokens <= cap.tokens
    else:
        assert cap.usd is not None
        assert cap.usd - PRICE.usd(one) < spent.usd <= cap.usd
    # The server's own count, which is of pieces and not of characters, is not far from it.
    true = counters.prompt_tokens + counters.output_tokens
    assert 0.5 < spent.tokens / true < 2


def test_five_hundred_malformed_calls_are_replies_that_can_be_answered() -> None:
    # Huge ones are as good as any other, and take the server long to make: a few suffice.
    small: tuple[BadCall, ...] = tuple(kind for kind in BAD_CALLS if kind != "huge")
    many = conversations(250, FaultPlan(seed=1, call_rate=1.0, bad_calls=small), spec="openai:m")
    huge = FaultPlan(seed=1, call_rate=1.0, bad_calls=("huge",))
    few = conversations(1, huge, spec="openai:m", most=500_000)
    assert sum(many.counters.distortions.values()) >= 500
    assert set(many.counters.distortions) == set(small)
    assert set(few.counters.distortions) == {"huge"}
    assert any(len(u.arguments) > 1_000_000 for r in few.replies for u in r.message.tool_uses)
    for result in (many, few):
        # They go back in a shape that an endpoint takes, and are recorded.
        assert result.counters.refused == 0
        for reply in result.replies:
            for use in reply.message.tool_uses:
                assert use.id
                use.arguments.encode()
        for calls in result.calls:
            assert len(calls) == 3
            for call in calls:
                call.model_dump_json().encode()


def test_records_agree_with_what_was_charged() -> None:
    ledger = Ledger()
    result = conversations(5, FaultPlan(), ledger=ledger)
    for calls in result.calls:
        for call in calls:
            assert call.output_token_ids and call.log_probabilities and call.prompt_token_ids
            assert len(call.output_token_ids) == len(call.log_probabilities)
            assert call.tokens == len(call.prompt_token_ids) + len(call.output_token_ids)
    total = sum((Usage(tokens=c.tokens, usd=c.usd) for cs in result.calls for c in cs), Usage())
    assert total.tokens == result.spent.tokens
    assert total.usd == pytest.approx(result.spent.usd)


def test_counting_is_the_same_for_the_ledger_and_the_record() -> None:
    asked: Sequence[ChatRequest] = [ChatRequest(messages=(Message(role="user", text="é" * 100),))]
    assert expected(asked[0]).prompt == 50
    assert counted(asked[0], ChatReply(message=Message(role="assistant"))).total == 50
