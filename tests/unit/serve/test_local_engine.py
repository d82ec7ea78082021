"""The engine of the local server goes on after a failure, and says so when it cannot."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from agentlab.serve.local_server import engine as engines
from agentlab.serve.local_server.app import make_app
from agentlab.serve.local_server.asked import Drawing, Refusal
from agentlab.serve.local_server.desk import Desk
from agentlab.serve.local_server.engine import Engine, Limits
from agentlab.serve.local_server.jobs import Ended, Event, Failed, Job
from agentlab.serve.local_server.slots import Shape
from agentlab.serve.local_server.weights import Served, Weights

DRAWING = Drawing(temperature=0.0, top_p=1.0, most=1, seed=None, stops=(), top=None)
TORCH = SimpleNamespace(no_grad=contextlib.nullcontext)


def no_memory(*_: object, **__: object) -> object:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


class Panic(BaseException):
    """What a library in Rust ends with: no `Exception`."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(engines, "Slots", no_memory)
    monkeypatch.setattr(engines, "shape_of", lambda _: Shape(1, 1, 1, 64))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] - any config
    monkeypatch.setattr(engines, "_ends", lambda _: frozenset())  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType] - any weights
    model = SimpleNamespace(config=None)
    weights = cast("Weights", SimpleNamespace(base=SimpleNamespace(model=model), tokenizer=None))
    made = Engine(TORCH, weights, Limits(2, 4, 10_000), device="cpu")
    made.start()
    yield made
    made.close()


def ask(engine: Engine, name: str = "tiny") -> list[Event]:
    """Submit a job; what it is told, as it comes."""
    told: list[Event] = []
    served = Served(name, "", None, "", None, None)
    job = Job(served, [1], DRAWING, salt="", generator=random.Random(0), tell=told.append)
    engine.submit(job)
    return told


def wait(true: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def error_of(told: list[Event]) -> Exception:
    wait(lambda: told)
    (event,) = told
    assert isinstance(event, Failed)
    return event.error


def health(engine: Engine) -> Any:
    app = make_app(cast("Desk", SimpleNamespace(served=())), engine, key=None)
    return TestClient(app, base_url="http://127.0.0.1").get("/health")


def test_a_request_without_memory_is_told_and_the_next_is_served(engine: Engine) -> None:
    for _ in range(2):
        assert "can't allocate memory" in str(error_of(ask(engine)))
    assert engine.load == (0, 0)
    assert health(engine).status_code == 200


def test_memory_kept_warm_for_nobody_makes_room(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def begin(_: Engine, __: object, job: Job) -> None:
        taken.append(job.served.name)
        job.tell(Ended("stop"))

    def room_for_one(*_: object, **__: object) -> object:
        return no_memory() if engine._groups else SimpleNamespace()  # pyright: ignore[reportPrivateUsage] - who holds memory

    monkeypatch.setattr(Engine, "_begin", begin)
    monkeypatch.setattr(engines, "Slots", room_for_one)
    for name in ("one", "two", "one"):
        told = ask(engine, name)
        wait(lambda told=told: told)
        assert told == [Ended("stop")]
    assert taken == ["one", "two", "one"]


def test_a_panic_fails_its_own_errand_alone(engine: Engine) -> None:
    def panic() -> None:
        raise Panic("index out of bounds")

    with pytest.raises(RuntimeError, match="Panic: index out of bounds"):
        engine.run(panic).result(10)
    assert engine.run(lambda: 7).result(10) == 7


def test_an_engine_that_ended_says_so_to_everybody(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Engine) -> None:
        raise RuntimeError("the library is broken")

    monkeypatch.setattr(Engine, "_admit", broken)
    error = error_of(ask(engine))
    assert isinstance(error, Refusal)
    assert error.status == 503
    assert "RuntimeError: the library is broken" in str(error)
    with pytest.raises(Refusal, match="the library is broken"):
        ask(engine)
    with pytest.raises(Refusal, match="the library is broken"):
        engine.run(lambda: None).result(10)
    answer = health(engine)
    assert answer.status_code == 503
    assert "the library is broken" in answer.json()["error"]["message"]


def test_an_errand_that_an_engine_no_longer_does_is_called_off(engine: Engine) -> None:
    begun, go = engine.run(lambda: None), [False]
    begun.result(10)
    hold = engine.run(lambda: wait(lambda: go[0]))
    wait(hold.running)
    late = engine.run(lambda: None)
    engine._closing = True  # pyright: ignore[reportPrivateUsage] - `close` would wait for the errand
    go[0] = True
    with pytest.raises(Refusal, match="about to end"):
        late.result(10)
    with pytest.raises(Refusal, match="about to end"):
        ask(engine)
