"""What a foreign environment gives back is looked at, and a breach names it and the method."""

from __future__ import annotations

import asyncio
import copy
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest

from agentlab import registry
from agentlab.environments.contract import MOST_SHOWN
from agentlab.environments.registration import make_environment
from agentlab.envs.courier.environment import Courier
from agentlab.errors import AgentLabError, ConfigError, EnvironmentFaultError
from agentlab.protocols import HasGrammar, HasSnapshots, HasState
from agentlab.types import (
    Entity,
    EnvironmentRef,
    Observation,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
)

RESULT = StepResult(observation=Observation(text=""))


class Odd(Courier):
    """Gives what it was made to give."""

    def __init__(self, *, gives: Callable[[], Any] | None = None) -> None:
        super().__init__()
        self.gives = gives or (lambda: RESULT)

    async def reset(self, task: Task, seed: int) -> Observation:
        return cast("Observation", self.gives())

    async def step(self, call: ToolCall) -> StepResult:
        return cast("StepResult", self.gives())

    async def restore(self, snapshot: object) -> Observation:
        return cast("Observation", self.gives())

    async def state(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self.gives())


class Blocking:
    """Forgot to be asynchronous; has slots and no dictionary."""

    __slots__ = ()

    tools: Sequence[ToolSpec] = ()

    def reset(self, task: Task, seed: int) -> Observation:
        return Observation(text="")

    def step(self, call: ToolCall) -> StepResult:
        return RESULT

    def close(self) -> None:
        """Nothing to release."""


class Tooled(Courier):
    """Has the tools that it is given."""

    given: Any = ()

    @property
    def tools(self) -> Any:
        found = type(self).given
        if isinstance(found, BaseException):
            raise found
        return found


def raising(error: BaseException) -> Callable[[], Any]:
    def make() -> Any:
        raise error

    return make


def make(monkeypatch: pytest.MonkeyPatch, factory: object, **options: Any) -> Any:
    monkeypatch.setitem(registry.BUILT_IN, "environment/odd", f"{__name__}:_made")
    monkeypatch.setitem(globals(), "_made", factory)
    ref = EnvironmentRef.model_construct(name="odd", options=options)
    return make_environment(ref)


def said(work: Callable[[], Any], kind: type[AgentLabError]) -> str:
    with pytest.raises(kind) as caught:
        work()
    text = str(caught.value)
    assert "\n" not in text
    assert "'odd'" in text
    return text


TASK = cast("Task", None)
CALL = ToolCall(tool="look")


@pytest.mark.parametrize(
    ("method", "given", "sentence"),
    [
        ("reset", "a street", "reset() gave a str; it must give Observation"),
        ("reset", None, "reset() gave a NoneType"),
        ("step", None, "step() gave a NoneType; it must give StepResult"),
        ("step", (RESULT, 0.0, False, False), "step() gave a tuple"),
        ("restore", None, "restore() gave a NoneType"),
        ("state", [1], "state() gave a list; it must give dict"),
        ("step", RESULT.model_copy(update={"steps": -3}), "steps are -3"),
        ("step", RESULT.model_copy(update={"steps": True}), "steps are True"),
        ("step", RESULT.model_copy(update={"steps": 1.5}), "steps are 1.5"),
        ("step", RESULT.model_copy(update={"reward": "1"}), "reward is '1'"),
        ("step", RESULT.model_copy(update={"observation": "seen"}), "not an Observation"),
        ("step", RESULT.model_copy(update={"terminated": None}), "neither True nor False"),
        ("step", RESULT.model_copy(update={"error": 3}), "neither a sentence nor None"),
        ("step", StepResult.model_construct(), "not an Observation"),
    ],
)
def test_what_is_not_what_the_contract_says(
    monkeypatch: pytest.MonkeyPatch, method: str, given: object, sentence: str
) -> None:
    environment = make(monkeypatch, Odd, gives=lambda: given)
    arguments = {"reset": (TASK, 0), "step": (CALL,), "restore": (None,), "state": ()}[method]

    def work() -> None:
        asyncio.run(getattr(environment, method)(*arguments))

    text = said(work, EnvironmentFaultError)
    assert sentence in text
    assert f"{method}()" in text


def test_leaving_the_process_is_a_fault_and_no_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make(monkeypatch, Odd, gives=raising(SystemExit(3)))
    text = said(lambda: asyncio.run(environment.step(CALL)), EnvironmentFaultError)
    assert "step() called sys.exit(3)" in text


@pytest.fixture
def hearing() -> Iterator[None]:
    """Ctrl-C reaches this process, also where it was started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def deaf() -> Iterator[None]:
    """Ctrl-C does not reach this process, as in a worker."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("deaf")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_what_would_end_the_process_or_its_task_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    environment = make(monkeypatch, Odd, gives=raising(kind()))
    text = said(lambda: asyncio.run(environment.step(CALL)), EnvironmentFaultError)
    assert f"step() raised {kind.__name__}, which is no Exception" in text


@pytest.mark.usefixtures("hearing")
def test_control_c_is_not_taken_for_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make(monkeypatch, Odd, gives=raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(environment.step(CALL))


class Waiting(Courier):
    """Its step ends when somebody ends it."""

    async def step(self, call: ToolCall) -> StepResult:
        await asyncio.sleep(3600)
        return RESULT


def test_a_step_can_be_cancelled_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make(monkeypatch, Waiting)

    async def limited() -> None:
        async with asyncio.timeout(0.01):
            await environment.step(CALL)

    with pytest.raises(TimeoutError):
        asyncio.run(limited())

    async def begun() -> Any:
        step = environment.step(CALL)
        step.send(None)
        return step

    asyncio.run(begun()).close()


THING = Entity(type="thing", reference="it", properties={"note": "x" * MOST_SHOWN})


@pytest.mark.parametrize(
    ("method", "shown"),
    [
        ("reset", Observation(text="x" * MOST_SHOWN)),
        ("restore", Observation(text="\u00e9" * (MOST_SHOWN // 2))),
        ("step", Observation(text="", data={"rows": list(range(MOST_SHOWN // 4))})),
        ("step", Observation(text="", entities=(THING,))),
        ("step", Observation(text="", images=("0" * 64,) * 5000)),
    ],
)
def test_an_observation_has_a_size(
    monkeypatch: pytest.MonkeyPatch, method: str, shown: Observation
) -> None:
    given = StepResult(observation=shown) if method == "step" else shown
    environment = make(monkeypatch, Odd, gives=lambda: given)
    arguments = {"reset": (TASK, 0), "step": (CALL,), "restore": (None,)}[method]

    def work() -> None:
        asyncio.run(getattr(environment, method)(*arguments))

    text = said(work, EnvironmentFaultError)
    assert f"{method}() gave an observation of " in text
    assert "at most 262,144 are recorded" in text


def test_an_error_counts_with_the_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    given = RESULT.model_copy(update={"error": "x" * MOST_SHOWN})
    environment = make(monkeypatch, Odd, gives=lambda: given)
    said(lambda: asyncio.run(environment.step(CALL)), EnvironmentFaultError)


def test_an_observation_of_just_the_size_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    given = StepResult(observation=Observation(text="x" * (MOST_SHOWN - 100)))
    environment = make(monkeypatch, Odd, gives=lambda: given)
    assert asyncio.run(environment.step(CALL)) is given


def test_what_it_raises_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    error = LookupError("no such street")
    environment = make(monkeypatch, Odd, gives=raising(error))
    with pytest.raises(LookupError) as caught:
        asyncio.run(environment.step(CALL))
    assert caught.value is error


def test_methods_that_are_not_asynchronous(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make(monkeypatch, Blocking)
    text = said(lambda: asyncio.run(environment.step(CALL)), EnvironmentFaultError)
    assert "step() is not asynchronous; declare it with `async def`" in text


def test_an_environment_that_keeps_its_contract_is_what_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = make(monkeypatch, Courier)
    assert isinstance(environment, Courier)
    assert all(isinstance(environment, kind) for kind in (HasSnapshots, HasState, HasGrammar))
    assert not isinstance(make(monkeypatch, Blocking), HasState)
    assert type(environment).__name__ == "Courier"
    assert type(make(monkeypatch, Courier)) is type(environment)
    assert type(Courier()) is Courier
    assert type(copy.copy(environment)) is type(environment)
    task = environment.tasks("practice", 1, 0)[0]
    assert asyncio.run(environment.reset(task, 0)) == asyncio.run(Courier().reset(task, 0))


def spec(**parameters: Any) -> ToolSpec:
    return ToolSpec(name="go", description="go", parameters=parameters)


@pytest.mark.parametrize(
    ("tools", "sentence"),
    [
        ((tool for tool in [spec()]), "tools that are a generator"),
        ({"go": spec()}, "tools that are a dict"),
        ("go", "tools that are a str"),
        (None, "tools that are a NoneType"),
        (["go"], "has a str among its tools"),
        ([spec(), spec()], "two tools named 'go'"),
        ([spec(properties=["place"])], "has `properties` that are a list"),
        ([spec(properties={"place": "text"})], "has no schema for 'place' but a str"),
        ([spec(properties={}, required="place")], "a `required` that is no list"),
    ],
)
def test_tools_that_a_run_cannot_work_with_are_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tools: object, sentence: str
) -> None:
    monkeypatch.setattr(Tooled, "given", tools)
    assert sentence in said(lambda: make(monkeypatch, Tooled), ConfigError)


def test_tools_that_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tooled, "given", KeyError("tools"))
    text = said(lambda: make(monkeypatch, Tooled), EnvironmentFaultError)
    assert "raised KeyError when asked for its tools" in text


@pytest.mark.parametrize(
    "error",
    [OSError("no map"), RecursionError("again"), SystemExit(1), AssertionError(), MemoryError()],
)
def test_an_init_that_raises_anything(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    text = said(lambda: make(monkeypatch, raising(error)), EnvironmentFaultError)
    assert f"raised {type(error).__name__} in __init__()" in text


def test_an_init_that_refuses_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(lambda: make(monkeypatch, raising(ValueError("too far"))), ConfigError)
    assert "does not take these options: too far" in text
