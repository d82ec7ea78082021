"""Outages: a run pauses, one call asks from time to time, and all go on when it is answered."""

from __future__ import annotations

import asyncio

import pytest

from agentlab.errors import ModelFaultError
from agentlab.models.circuit import DOUBT, Circuit, Circuited
from agentlab.models.faults import Outage, PassingFaultError, RefusedRequestError
from agentlab.models.retrying import Retrying
from agentlab.protocols import ChatModel
from agentlab.types import ChatReply, ChatRequest
from tests.unit.models.clock import Clock
from tests.unit.models.failing import Failing, down, request


class Place:
    """An endpoint that is down from one second to another, and a circuit before it."""

    def __init__(
        self,
        begin: float = 0,
        end: float = 600,
        *,
        outage: Outage = "yes",
        proven: bool = True,
        patience: float = 3600,
    ) -> None:
        self.clock = Clock()
        self.told: list[tuple[float, bool]] = []
        self.endpoint = Failing(
            lambda _, __: down(outage) if begin <= self.clock.now() < end else None
        )
        self.circuit = Circuit(
            proven=proven,
            pause=lambda why: self.told.append((self.clock.now(), why is not None)),
            patience=patience,
            clock=self.clock.now,
            sleep=self.clock.sleep,
        )

    def model(self, inner: ChatModel | None = None) -> Circuited:
        retrying = Retrying(inner or self.endpoint, sleep=self.clock.sleep, now=self.clock.date)
        return Circuited(retrying, self.circuit)

    async def opened(self) -> None:
        """Return when the circuit has opened."""
        for _ in range(10_000):
            if self.circuit.is_open:
                return
            await asyncio.sleep(0)
        raise AssertionError("it never opened")

    async def many(self, count: int) -> None:
        """So many calls, ten seconds apart from each other."""

        async def one(number: int) -> None:
            await self.clock.sleep(number * 10.0)
            await self.model().chat(request(str(number)))

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))


def test_an_outage_of_ten_minutes_pauses_the_run_and_loses_no_call() -> None:
    place = Place(45, 645)
    asyncio.run(place.many(30))
    assert sorted(place.endpoint.answered, key=int) == [str(n) for n in range(30)]
    (began, paused), (ended, again) = place.told
    assert (paused, again) == (True, False)
    assert 45 <= began <= 90
    assert 645 <= ended <= 645 + 60 + 30  # a probe a minute, each with its tries
    assert place.circuit.paused_seconds == pytest.approx(ended - began)
    assert not place.circuit.is_open
    # Two calls that failed, those under way when it opened, and then one probe at a time.
    assert place.endpoint.tried - 30 < 5 * 20


def test_probes_go_alone() -> None:
    place = Place(0, 600)
    under_way = most = 0

    class Watched:
        name = "watched"

        async def chat(self, request: ChatRequest) -> ChatReply:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way) if place.circuit.is_open else most
            try:
                await asyncio.sleep(0)
                return await place.endpoint.chat(request)
            finally:
                under_way -= 1

    async def calls() -> None:
        # One at first, so that the circuit is open when the others come.
        first = asyncio.ensure_future(place.model(Watched()).chat(request()))
        await place.opened()
        await asyncio.gather(
            first,
            *(place.model(Watched()).chat(request(str(n))) for n in range(16)),
        )

    asyncio.run(calls())
    assert most == 1
    assert len(place.endpoint.answered) == 17


def test_an_endpoint_that_never_answered_is_a_fault_at_once() -> None:
    place = Place(0, 1e9, proven=False)
    with pytest.raises(ModelFaultError):
        asyncio.run(place.model().chat(request()))
    assert not place.told


@pytest.mark.parametrize(("outage", "bound"), [("yes", 3600), ("perhaps", DOUBT)])
def test_patience_ends(outage: Outage, bound: float) -> None:
    place = Place(0, 1e9, outage=outage)
    with pytest.raises(ModelFaultError):
        asyncio.run(place.model().chat(request()))
    assert bound <= place.clock.now() <= bound + 120


def test_a_request_that_only_itself_fails_does_not_hold_up_the_run() -> None:
    place = Place()
    endpoint = Failing(lambda asked, _: down() if asked.messages[0].text == "poison" else None)

    async def calls() -> list[object]:
        async def ordinary(number: int) -> None:
            for step in range(20):
                await place.clock.sleep(5)
                await place.model(endpoint).chat(request(f"{number}.{step}"))

        return await asyncio.gather(
            place.model(endpoint).chat(request("poison")),
            *(ordinary(n) for n in range(2)),
            return_exceptions=True,
        )

    poisoned, *others = asyncio.run(calls())
    assert isinstance(poisoned, PassingFaultError)
    assert others == [None, None]
    assert place.clock.now() < 300


@pytest.mark.parametrize(
    "fault", [RefusedRequestError("No", status=400), PassingFaultError("It is no JSON")]
)
def test_nonsense_is_no_outage(fault: ModelFaultError) -> None:
    place = Place()
    endpoint = Failing(lambda _, __: fault)
    for _ in range(5):
        with pytest.raises(type(fault)):
            asyncio.run(place.model(endpoint).chat(request()))
    assert not place.told


def test_a_long_retry_after_pauses_the_run_for_as_long() -> None:
    place = Place()
    endpoint = Failing(lambda _, n: down(retry_after="1800") if n == 1 else None)
    asyncio.run(place.model(endpoint).chat(request()))
    assert [paused for _, paused in place.told] == [True, False]
    assert place.clock.now() == pytest.approx(1800)
    assert endpoint.tried == 2


def test_a_call_that_is_cancelled_while_it_waits_leaves_the_line() -> None:
    place = Place(0, 1e9)

    async def calls() -> None:
        waiting = [asyncio.ensure_future(place.model().chat(request(str(n)))) for n in range(3)]
        await place.opened()
        waiting[0].cancel()
        waiting[1].cancel()
        with pytest.raises(ModelFaultError):
            await waiting[2]
        for each in waiting[:2]:
            assert each.cancelled()

    asyncio.run(calls())
