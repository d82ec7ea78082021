"""Holding a foreign environment to what `protocols.Environment` says, call by call.

An environment is anybody's code. What its methods give back is looked at here, once, so that
search, replays and records can rely on it, and so that a breach is told by the name of the
environment and of the method that committed it. What a method raises is left as it is, but for
what would end more than the attempt, such as `sys.exit`. This looks at kinds, signs and sizes
only: whether an environment is deterministic or tells the truth is for the checks in `checker`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any, cast

from agentlab.errors import AgentLabError, ConfigError, EnvironmentFaultError
from agentlab.models.redaction import known, look_again
from agentlab.protocols import Environment
from agentlab.types import JsonObject, Observation, StepResult, ToolSpec

GIVES: dict[str, type] = {
    "reset": Observation,
    "step": StepResult,
    "restore": Observation,
    "state": dict,
}
"""What each asynchronous method must give; the last two are optional."""
MOST_SHOWN = 256 * 1024
"""Bytes that one observation, or the error beside it, may show; each step is recorded whole."""
SAYS = ("describe", "grammar", "tasks")
"""Optional methods that are not asynchronous; what they raise and say is looked at too."""
_AS_JSON = json.JSONEncoder(ensure_ascii=False).encode
Method = Callable[..., Awaitable[object]]


def held(environment: Environment, name: str) -> Environment:
    """The same environment, whose methods raise when they break their contract.

    Args:
        environment: a new instance that fits `Environment` by its methods.
        name: what it is registered as, for the sentences.

    Returns:
        The instance itself, of a class made from its own: copies of it are held as well.

    Raises:
        ConfigError: its tools are not what a run can work with.
        EnvironmentFaultError: asking for the tools raised.
    """
    look_again()
    _check_tools(environment, name)
    try:
        environment.__class__ = _held_class(type(environment), name)
    except TypeError as error:
        raise ConfigError(
            f"The environment {name!r} is of a class that cannot be extended ({error}); "
            "register a plain Python class that wraps it."
        ) from error
    return environment


@cache
def _held_class(kind: type, name: str) -> type:
    """A class like `kind`, whose methods are looked at; the same for the same arguments."""
    methods: dict[str, object] = {
        method: _watched(cast("Method", getattr(kind, method)), name, method, given)
        for method, given in GIVES.items()
        if callable(getattr(kind, method, None))
    }
    methods |= {
        method: _heard(cast("Callable[..., object]", getattr(kind, method)), name, method)
        for method in SAYS
        if callable(getattr(kind, method, None))
    }
    told = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    # Without slots of its own it has the layout of `kind`, and an instance may change to it.
    return type(kind.__name__, (kind,), {**methods, **told, "__slots__": ()})


def _watched(method: Method, name: str, called: str, given: type) -> Callable[..., Any]:
    async def watched(self: object, *args: object, **options: object) -> object:
        try:
            answer: Any = method(self, *args, **options)
            if not inspect.isawaitable(answer):
                raise _breach(name, called, "is not asynchronous; declare it with `async def`")
            answer = await answer
        except BaseException as error:
            why = _ends_too_much(error)
            if why is not None:
                raise _breach(name, called, why) from None
            clean = without_secrets(error, f"In the environment {name!r}, {called}()")
            if clean is error:
                raise
            raise clean from None
        if not isinstance(answer, given):
            kind = type(cast("object", answer)).__name__
            raise _breach(name, called, f"gave a {kind}; it must give {given.__name__}")
        if isinstance(answer, StepResult):
            why = _fault_of(answer)
            if why is not None:
                raise _breach(name, called, f"gave a StepResult whose {why}")
        if isinstance(answer, Observation | StepResult):
            shown = answer.observation if isinstance(answer, StepResult) else answer
            size = _size(shown, answer.error if isinstance(answer, StepResult) else None)
            if size is not None and size > MOST_SHOWN:
                what = (
                    f"gave an observation of {size:,} bytes; at most {MOST_SHOWN:,} are recorded "
                    "for a step, so show less of it"
                )
                raise _breach(name, called, what)
        return _without_secrets(answer)

    watched.__name__ = called
    watched.__doc__ = method.__doc__
    return watched


def _heard(method: Callable[..., object], name: str, called: str) -> Callable[..., Any]:
    def heard(self: object, *args: object, **options: object) -> object:
        try:
            answer = method(self, *args, **options)
        except Exception as error:
            clean = without_secrets(error, f"In the environment {name!r}, {called}()")
            if clean is error:
                raise
            raise clean from None
        return known().text(answer) if isinstance(answer, str) else answer

    heard.__name__ = called
    heard.__doc__ = method.__doc__
    return heard


def without_secrets(error: BaseException, where: str) -> BaseException:
    """The error itself, or where it tells a secret of this process, one that does not."""
    said = str(error)
    clean = known().text(said)
    if clean == said:
        return error
    if isinstance(error, AgentLabError):
        # It keeps its kind, which decides what becomes of the attempt.
        error.args = tuple(known().text(a) if isinstance(a, str) else a for a in error.args)
        error.__cause__ = None
        return error if str(error) == clean else EnvironmentFaultError(clean)
    return EnvironmentFaultError(f"{where} raised {type(error).__name__}: {clean}")


def cause(error: BaseException) -> BaseException | None:
    """The error as what another came from; None where it tells a secret."""
    return error if known().text(str(error)) == str(error) else None


def _without_secrets(answer: object) -> object:
    """The answer, in which no secret of this process stands."""
    redactor = known()
    if not redactor:
        return answer
    if isinstance(answer, dict):
        return redactor.json(cast("JsonObject", answer))
    if not isinstance(answer, Observation | StepResult):
        return answer
    spelt: JsonObject = answer.model_dump(mode="json", warnings=False)
    clean = redactor.json(spelt)
    return answer if clean == spelt else type(answer).model_validate(clean)


def _breach(name: str, called: str, what: str) -> EnvironmentFaultError:
    return EnvironmentFaultError(f"In the environment {name!r}, {called}() {what}.")


def _ends_too_much(error: BaseException) -> str | None:
    """What an environment did that would end more than its attempt; None where it did not.

    Ctrl-C and the end of a task look the same from here, and go on their way.
    """
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code!r}); raise instead"
    if isinstance(error, Exception):
        return None
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs: what is raised comes from closing the coroutine
        return None
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        return None
    if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        return None
    return f"raised {type(error).__name__}, which is no Exception; raise one that is"


def _size(shown: Observation, error: str | None) -> int | None:
    """Bytes of what is shown, as JSON; None where it is no JSON, which is told elsewhere."""
    try:
        entities = [(thing.type, thing.reference, thing.properties) for thing in shown.entities]
        text = _AS_JSON((shown.text, error, shown.data, shown.images, entities))
    except (AttributeError, TypeError, ValueError, RecursionError):
        return None
    # No character takes more than four bytes, so most observations need no second look.
    few = len(text) * 4 <= MOST_SHOWN
    return len(text) if few else len(text.encode(errors="replace"))


def _fault_of(result: StepResult) -> str | None:
    """What is wrong with a result, which `model_copy` and `model_construct` do not look at."""
    # Foreign code made it: the annotations promise nothing here.
    seen = cast("dict[str, Any]", result.__dict__)
    steps, reward = seen.get("steps"), seen.get("reward")
    if not isinstance(seen.get("observation"), Observation):
        return "observation is not an Observation"
    if type(steps) is not int or steps < 0:
        return f"steps are {steps!r}; they must be a whole number from 0 up"
    if not isinstance(reward, int | float):
        return f"reward is {reward!r}; it must be a number"
    if not isinstance(seen.get("terminated"), bool) or not isinstance(seen.get("truncated"), bool):
        return "terminated or truncated is neither True nor False"
    if not isinstance(seen.get("error"), str | None):
        return "error is neither a sentence nor None"
    return None


def _check_tools(environment: Environment, name: str) -> None:
    try:
        tools = cast("object", environment.tools)
    except AgentLabError as error:
        clean = without_secrets(error, f"The environment {name!r}")
        if clean is error:
            raise
        raise clean from None
    except (Exception, SystemExit) as error:  # foreign code, which may fail in any way
        raise EnvironmentFaultError(
            f"The environment {name!r} raised {type(error).__name__} when asked for its tools: "
            f"{known().text(str(error))}"
        ) from cause(error)
    if not isinstance(tools, Sequence) or isinstance(tools, str | bytes):
        raise ConfigError(
            f"The environment {name!r} has tools that are a {type(tools).__name__}; they are read "
            "many times, so give a tuple or a list of ToolSpec."
        )
    seen: set[str] = set()
    for tool in cast("Sequence[object]", tools):
        if not isinstance(tool, ToolSpec):
            raise ConfigError(
                f"The environment {name!r} has a {type(tool).__name__} among its tools; each "
                "must be a ToolSpec."
            )
        if tool.name in seen:
            raise ConfigError(f"The environment {name!r} has two tools named {tool.name!r}.")
        seen.add(tool.name)
        spelt = cast("JsonObject", tool.model_dump(mode="json", warnings=False))
        if known().json(spelt) != spelt:
            raise ConfigError(
                f"The environment {name!r} shows the value of a secret variable, one like "
                f"'..._KEY', in its tool {known().text(tool.name)!r}; take it out there, since "
                "tools are shown to models and recorded."
            )
        why = _schema_fault(tool)
        if why is not None:
            raise ConfigError(f"The tool {tool.name!r} of the environment {name!r} {why}.")


def _schema_fault(tool: ToolSpec) -> str | None:
    """Why the parameters of a tool cannot be read, or None."""
    properties = tool.parameters.get("properties", {})
    if not isinstance(properties, dict):
        return (
            f"has `properties` that are a {type(properties).__name__}; give an object of schemas "
            "by parameter name"
        )
    for parameter, schema in properties.items():
        if not isinstance(schema, dict):
            return f"has no schema for {parameter!r} but a {type(schema).__name__}"
    required = tool.parameters.get("required", [])
    if not isinstance(required, list) or not all(isinstance(item, str) for item in required):
        return "has a `required` that is no list of parameter names"
    return None
