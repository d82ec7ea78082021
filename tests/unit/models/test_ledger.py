"""Budgets of models: what is set aside, what is spent, and that no cap is passed."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import BudgetSpentError, ConfigError
from agentlab.models.counting import counted, expected
from agentlab.models.ledger import Amount, Caps, Ledger
from agentlab.models.metered import Metered
from agentlab.models.prices import FREE, Price
from agentlab.models.scripted import ScriptedModel
from agentlab.types import ChatReply, ChatRequest, Message, Role, Sampling, Usage
from tests.unit.models.failing import Failing, down

PRICE = Price(input=1.0, output=4.0, cached=0.5)


def asking(text: str = "x" * 400, max_tokens: int = 100) -> ChatRequest:
    message = Message(role="user", text=text)
    return ChatRequest(messages=(message,), sampling=Sampling(max_tokens=max_tokens))


def reply(text: str = "word " * 40, **figures: object) -> ChatReply:
    message = Message(role="assistant", text=text)
    return ChatReply.model_validate({"message": message, **figures})


def test_what_is_expected_and_what_is_counted() -> None:
    # 400 bytes at four a token, and all of the output.
    assert expected(asking()) == (100, 0, 100)
    true = reply(prompt_tokens=110, output_tokens=41, cached_tokens=60)
    assert counted(asking(), true) == (110, 60, 41)
    assert PRICE.usd(counted(asking(), true)) == pytest.approx((50 + 30 + 164) / 1e6)


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"prompt_tokens": 1, "output_tokens": 1},
        {"prompt_tokens": 10**9, "output_tokens": 10**9},
        {"prompt_tokens": 60, "output_tokens": 30, "cached_tokens": 10**6},
    ],
)
def test_false_figures_are_counted_from_the_text(figures: dict[str, int]) -> None:
    tokens = counted(asking(), reply("word " * 40, **figures))
    assert tokens.prompt == 100
    assert tokens.output == 50
    assert tokens.cached <= tokens.prompt


def test_tokens_that_were_given_are_counted_one_by_one() -> None:
    ids = tuple(range(700))
    assert counted(asking(), reply(output_token_ids=ids, output_tokens=60)).output == 700
    assert counted(asking(), reply(log_probabilities=(0.0,) * 90)).output == 90
    assert counted(asking(), reply(prompt_token_ids=ids)).prompt == 700


def spend(model_says: ChatReply, ledger: Ledger, workers: int, calls: int) -> list[ChatReply]:
    """Replies to workers that ask in a loop until the budget ends; all are under way at once."""
    replies: list[ChatReply] = []

    class Slow(ScriptedModel):
        async def chat(self, request: ChatRequest) -> ChatReply:
            for _ in range(3):
                await asyncio.sleep(0)
            return await super().chat(request)

    metered = Metered(Slow(lambda _: model_says), ledger, role="executor", price=PRICE)

    async def worker() -> None:
        for _ in range(calls):
            replies.append(await metered.chat(asking()))

    async def run() -> None:
        ends = await asyncio.gather(*(worker() for _ in range(workers)), return_exceptions=True)
        assert all(isinstance(end, BudgetSpentError) for end in ends)

    asyncio.run(run())
    return replies


@pytest.mark.parametrize("cap", [Caps(tokens=5_000), Caps(usd=0.01)])
@pytest.mark.parametrize(
    "said",
    [
        reply(prompt_tokens=101, output_tokens=50),
        reply(),
        reply(prompt_tokens=1, output_tokens=1),
        reply("word " * 80, prompt_tokens=110, output_tokens=100),
    ],
)
def test_sixteen_workers_in_a_loop_end_at_the_cap(said: ChatReply, cap: Caps) -> None:
    ledger = Ledger(cap)
    replies = spend(said, ledger, workers=16, calls=1000)
    spent = ledger.spent()
    one = counted(asking(), said)
    assert spent.tokens == one.total * len(replies)
    if cap.tokens is not None:
        # What is left is less than a call may take, and what is over is under way at once.
        assert cap.tokens - 201 - one.total < spent.tokens <= cap.tokens + 16 * 10
    else:
        assert cap.usd is not None
        assert 0.9 * cap.usd < spent.usd <= cap.usd * 1.05
    assert ledger.reserved() == Usage()


def test_an_endpoint_that_ignores_its_limit_passes_the_cap_by_calls_under_way() -> None:
    said = reply("word " * 4000, prompt_tokens=100, output_tokens=4000)
    ledger = Ledger(Caps(tokens=10_000))
    spend(said, ledger, workers=16, calls=1000)
    assert 10_000 < ledger.spent().tokens <= 10_000 + 16 * 4100


def test_caps_of_roles_stand_beside_the_run_s() -> None:
    ledger = Ledger(
        Caps(tokens=1000),
        roles={"evaluator": Caps(tokens=300)},
        spent={"evaluator": Usage(tokens=200), "executor": Usage(tokens=500)},
    )

    async def run() -> None:
        with pytest.raises(BudgetSpentError, match="the evaluator: 200 of 300 tokens"):
            await ledger.reserve("evaluator", Amount(101))
        with pytest.raises(BudgetSpentError, match="the run: 700 of 1000 tokens"):
            await ledger.reserve("executor", Amount(301))
        ledger.settle(await ledger.reserve("evaluator", Amount(100)), Amount(100))

    asyncio.run(run())
    assert ledger.spent("evaluator").tokens == 300
    assert ledger.spent().tokens == 800


def test_a_call_waits_for_those_that_may_leave_room_for_it() -> None:
    ledger = Ledger(Caps(tokens=100))

    async def run() -> None:
        first = await ledger.reserve("executor", Amount(80))
        second = asyncio.ensure_future(ledger.reserve("executor", Amount(60)))
        third = asyncio.ensure_future(ledger.reserve("executor", Amount(10)))
        await asyncio.sleep(0)
        assert not second.done() and not third.done()  # first come, first served
        ledger.settle(first, Amount(30))
        ledger.settle(first, Amount(30))  # twice changes nothing
        held = await second
        assert ledger.spent().tokens == 30
        ledger.settle(await third, Amount(10))
        ledger.release(held)
        assert ledger.spent().tokens == 40
        assert ledger.reserved().tokens == 0

    asyncio.run(run())


def test_who_waits_is_told_when_there_will_be_no_room() -> None:
    ledger = Ledger(Caps(tokens=100))

    async def run() -> None:
        first = await ledger.reserve("executor", Amount(80))
        waiting = [asyncio.ensure_future(ledger.reserve("executor", Amount(60))) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        ledger.settle(first, Amount(70))
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [
            BudgetSpentError,
            asyncio.CancelledError,
            BudgetSpentError,
        ]

    asyncio.run(run())


ROLES: tuple[Role, ...] = ("executor", "evaluator")
SPENDING = st.lists(
    st.tuples(
        st.sampled_from(ROLES),
        st.integers(0, 60),
        st.integers(-5, 60),
        st.integers(0, 3),
    ),
    max_size=30,
)


@given(SPENDING, st.integers(0, 300), st.integers(0, 200))
def test_no_cap_is_passed_while_calls_keep_to_what_they_reserved(
    calls: list[tuple[Role, int, int, int]], run_cap: int, role_cap: int
) -> None:
    ledger = Ledger(Caps(tokens=run_cap), roles={"evaluator": Caps(tokens=role_cap)})
    made: dict[Role, int] = {"executor": 0, "evaluator": 0}

    async def one(role: Role, most: int, cost: int, steps: int) -> None:
        try:
            held = await ledger.reserve(role, Amount(most))
        except BudgetSpentError:
            return
        for _ in range(steps):
            await asyncio.sleep(0)
            assert ledger.spent().tokens + ledger.reserved().tokens <= run_cap
        true = max(0, min(cost, most))
        ledger.settle(held, Amount(min(cost, most)))
        made[role] += true

    async def run() -> None:
        await asyncio.wait_for(asyncio.gather(*(one(*call) for call in calls)), 5)

    asyncio.run(run())
    assert ledger.reserved() == Usage()
    assert ledger.spent().tokens == sum(made.values()) <= run_cap
    assert ledger.spent("evaluator").tokens == made["evaluator"] <= role_cap


def test_a_failed_call_costs_nothing_and_a_cancelled_one_all_that_was_set_aside() -> None:
    ledger = Ledger()

    async def run() -> None:
        metered = Metered(Failing(lambda _, __: down()), ledger, role="executor", price=FREE)
        with pytest.raises(Exception, match="It is down"):
            await metered.chat(asking())
        assert ledger.spent().tokens == 0

        class Silent:
            name = "silent"

            async def chat(self, request: ChatRequest) -> ChatReply:
                await asyncio.sleep(3600)
                raise AssertionError

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await Metered(Silent(), ledger, role="executor", price=FREE).chat(asking())
        assert ledger.spent().tokens == 200
        assert ledger.reserved() == Usage()

    asyncio.run(run())


def test_a_cap_in_usd_needs_a_price() -> None:
    model = ScriptedModel(lambda _: "hi", "vllm:mine")
    with pytest.raises(ConfigError, match="'vllm:mine' is unknown"):
        Metered(model, Ledger(Caps(usd=1)), role="executor", price=None)
    with pytest.raises(ConfigError, match="unknown"):
        Metered(model, Ledger(roles={"executor": Caps(usd=1)}), role="executor", price=None)
    Metered(model, Ledger(roles={"executor": Caps(usd=1)}), role="curator", price=None)
