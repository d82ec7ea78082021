"""Typed Python functions as an environment: `tools:my_tools.py` or `tools:package.module`.

The module's functions (those in `TOOLS`, else in `__all__`, else all that it defines) are the
tools; docstrings and annotations give their schemas. A function that is named with the option
`state` gives the facts, `reset(seed)` or `reset(seed, setup)` begins afresh, and `snapshot()`
with `restore(saved)` go back; without them the module is executed anew, and calls are repeated.
Each instance executes the module for itself, so instances share nothing but what the module
itself shares. It runs in this process: it is the user's own code, like any import.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from agentlab.environments import schemas
from agentlab.environments.contract import cause
from agentlab.environments.effect_world import Done, RestorableWorld
from agentlab.environments.exploring import explorers, guess
from agentlab.environments.naming import library_name
from agentlab.environments.shapes import Predicate, learn, reachable
from agentlab.errors import AgentLabError, ConfigError, EnvironmentFaultError, UsageError
from agentlab.models.redaction import known
from agentlab.types import JsonObject, Task, ToolSpec

EXPLORED_SEEDS = 4
"""Start states that the shape of the state is learnt from."""
CONVENTIONS = ("state", "reset", "snapshot", "restore")
_numbers = itertools.count(1)
_JSON = TypeAdapter[JsonValue](JsonValue)


class Function(NamedTuple):
    """A tool and the function behind it."""

    spec: ToolSpec
    call: Callable[..., object]
    parse: Callable[[JsonObject], dict[str, Any]]


class ToolsWorld(RestorableWorld):
    """Python functions of your own as tools: `tools:<module or path.py>`.

    Args:
        source: a dotted module name, or the path of a Python file.
        state: the name of the function that gives the facts.
        reset: the name of the function that begins afresh, where there is one.
        reads: names of tools that only read, beside those in the module's `READS`.
    """

    def __init__(
        self,
        source: str,
        *,
        state: str = "state",
        reset: str = "reset",
        reads: Sequence[str] = (),
    ) -> None:
        super().__init__(library_name("tools", source))
        self._source = source
        self._names = (state, reset)
        self._reads = tuple(reads)
        self._module = Loaded(source, state=state, reset=reset, reads=self._reads)
        self._probe: Loaded | None = None
        self._calls: tuple[tuple[str, JsonObject], ...] = ()
        self._place = ("", 0)
        self._starts: dict[tuple[str, int], JsonObject] = {}
        self._learnt: tuple[Predicate, ...] | None = None

    @classmethod
    def from_argument(
        cls, argument: str, *, state: str = "state", reset: str = "reset", reads: Sequence[str] = ()
    ) -> ToolsWorld:
        """The environment for what follows the colon of its name."""
        return cls(argument, state=state, reset=reset, reads=reads)

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """One for each function."""
        return self._module.specs

    async def close(self) -> None:
        """Forget the module."""
        self._module.forget()
        if self._probe is not None:
            self._probe.forget()

    def _shape(self) -> tuple[tuple[Predicate, ...], tuple[str, ...]]:
        if self._learnt is None:
            walks = self._explored()
            states = [state for walk in walks for state in walk]
            self._learnt = reachable(learn(states), walks)
        return self._learnt, self._module.setups

    def _explored(self) -> list[list[JsonObject]]:
        """Walks of random calls, from which the shape of the state is learnt."""
        probe = self._probing()
        walks: list[list[JsonObject]] = []
        for setup, seed in itertools.product(probe.setups, range(EXPLORED_SEEDS)):
            probe.begin(setup, seed)
            walk = [probe.facts()]
            for tool, rng in explorers(probe.specs, setup, seed):
                arguments = guess(tool, walk[-1], probe.values, rng)
                if arguments is not None and probe.call_now(tool.name, arguments) is not None:
                    walk.append(probe.facts())
            walks.append(walk)
        return walks

    def _probing(self) -> Loaded:
        if self._probe is None:
            state, reset = self._names
            self._probe = Loaded(self._source, state=state, reset=reset, reads=self._reads)
        return self._probe

    def _start_state(self, setup: str, seed: int) -> JsonObject:
        if (setup, seed) not in self._starts:
            probe = self._probing()
            probe.begin(setup, seed)
            if len(self._starts) > 2_000:
                self._starts.clear()
            self._starts[setup, seed] = probe.facts()
        return self._starts[setup, seed]

    def _examples(self, setup: str, seed: int) -> Mapping[str, Sequence[JsonValue]]:
        return self._module.values

    async def _begin(self, task: Task, setup: str) -> None:
        self._place = (setup, task.seed)
        self._again()

    def _again(self) -> None:
        self._module.begin(*self._place)
        self._calls = ()

    async def _perform(self, tool: ToolSpec, arguments: JsonObject) -> Done:
        if tool.effect != "none":
            self._calls = (*self._calls, (tool.name, arguments))
        return await self._module.call(tool.name, arguments)

    async def _facts(self) -> JsonObject:
        return self._module.facts()

    async def _save(self) -> object:
        return self._module.saved() if self._module.can_save else self._calls

    async def _load(self, saved: object) -> None:
        if self._module.can_save:
            self._module.load(saved)
            return
        calls = cast("tuple[tuple[str, JsonObject], ...]", saved)
        if self._calls != calls[: len(self._calls)]:
            self._again()
        for name, arguments in calls[len(self._calls) :]:
            await self._module.call(name, arguments)
        self._calls = calls


class Loaded:
    """One execution of the user's module, and the functions of it that have a meaning here."""

    def __init__(self, source: str, *, state: str, reset: str, reads: Sequence[str]) -> None:
        self._source = source
        self._state_name, self._reset_name, self._reads = state, reset, tuple(reads)
        self._spec = _find(source)
        self._alias = ""
        self._execute()
        self.values = self._mapping("VALUES")
        given = getattr(self._namespace, "SETUPS", ("start",))
        self.setups = tuple(str(name) for name in given)

    def _execute(self) -> None:
        """Execute the module under a name of its own, which makes everything in it new."""
        self.forget()
        parent = self._spec.name.rpartition(".")[0]
        self._alias = f"{parent}{'.' if parent else ''}_agentlab_tools_{next(_numbers)}"
        spec = importlib.util.spec_from_file_location(self._alias, self._spec.origin)
        if spec is None or spec.loader is None:
            raise ConfigError(f"tools: {self._source!r} is no Python file.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[self._alias] = module
        try:
            spec.loader.exec_module(module)
        except AgentLabError:
            raise
        except (Exception, SystemExit) as error:  # the user's code, which may fail in any way
            self.forget()
            raise ConfigError(
                f"tools: {self._source!r} cannot be imported: {type(error).__name__}: "
                f"{known().text(str(error))}"
            ) from cause(error)
        self._namespace: ModuleType = module
        self._state = self._named(self._state_name)
        if self._state is None:
            raise ConfigError(
                f"tools: {self._source!r} has no function {self._state_name!r} that gives the "
                "facts; write one, or name yours with the option 'state'."
            )
        self._reset = self._named(self._reset_name)
        self._snapshot, self._restore = self._named("snapshot"), self._named("restore")
        self.can_save = self._snapshot is not None and self._restore is not None
        self.functions = self._functions()
        self._by_name = {function.spec.name: function for function in self.functions}
        self.specs = tuple(function.spec for function in self.functions)

    def forget(self) -> None:
        """Take the module out of Python's list of modules."""
        sys.modules.pop(self._alias, None)

    def _named(self, name: str) -> Callable[..., Any] | None:
        found = getattr(self._namespace, name, None)
        return cast("Callable[..., Any]", found) if callable(found) else None

    def _mapping(self, name: str) -> Mapping[str, Sequence[JsonValue]]:
        given: object = getattr(self._namespace, name, {})
        try:
            return TypeAdapter(dict[str, list[JsonValue]]).validate_python(given)
        except ValidationError as error:
            raise ConfigError(
                f"tools: {name} of {self._source!r} must map a kind to a list of values."
            ) from error

    def _functions(self) -> tuple[Function, ...]:
        module = self._namespace
        listed: object = getattr(module, "TOOLS", getattr(module, "__all__", None))
        kept = {self._state_name, self._reset_name, *CONVENTIONS}
        if listed is None:
            names = [
                name
                for name, value in vars(module).items()
                if inspect.isfunction(value)
                and value.__module__ == module.__name__
                and not name.startswith("_")
            ]
        else:
            names = [
                getattr(item, "__name__", str(item)) for item in cast("Sequence[object]", listed)
            ]
        reads = {*self._reads, *map(str, getattr(module, "READS", ()))}
        found: list[Function] = []
        for name in names:
            call = self._named(name)
            if name in kept or call is None or inspect.isclass(call):
                continue
            found.append(_function(name, call, f"{name}() in {self._source!r}", name in reads))
        if not found:
            raise ConfigError(
                f"tools: {self._source!r} has no functions to use; list them in TOOLS."
            )
        if unknown := reads - {function.spec.name for function in found}:
            raise ConfigError(f"tools: {sorted(unknown)[0]!r} is to be read only, but is no tool.")
        return tuple(found)

    def begin(self, setup: str, seed: int) -> None:
        """Start afresh: by the module's own reset, or by executing it anew.

        Raises:
            EnvironmentFaultError: the reset raised.
        """
        if self._reset is None:
            self._execute()
            return
        known = inspect.signature(self._reset).parameters
        given = {name: v for name, v in (("seed", seed), ("setup", setup)) if name in known}
        self._guarded(self._reset_name, self._reset, **given)

    def facts(self) -> JsonObject:
        """The state.

        Raises:
            EnvironmentFaultError: the function raised, or gave no object of JSON.
        """
        assert self._state is not None
        value = self._guarded(self._state_name, self._state)
        try:
            # Through JSON, so that nothing the module still changes is held.
            found = json.loads(json.dumps(_plain(value), allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise EnvironmentFaultError(
                f"{self._state_name}() in {self._source!r} gave what is no JSON: {error}"
            ) from error
        if not isinstance(found, dict):
            raise EnvironmentFaultError(
                f"{self._state_name}() in {self._source!r} must give an object of facts, not a "
                f"{type(found).__name__}."
            )
        # Tasks are made of facts: a secret among them would be asked for and recorded.
        return cast("JsonObject", known().json(cast("JsonObject", found)))

    def saved(self) -> object:
        """What the module's own snapshot gives."""
        assert self._snapshot is not None
        return self._guarded("snapshot", self._snapshot)

    def load(self, saved: object) -> None:
        """Go back by the module's own restore."""
        assert self._restore is not None
        self._guarded("restore", self._restore, saved)

    async def call(self, name: str, arguments: JsonObject) -> Done:
        """Call a tool; what it raises is told as an error."""
        done, waiting = self._called(name, arguments)
        if waiting is None:
            return done
        try:
            return _answer(await waiting)
        except Exception as error:  # the user's code, which may fail in any way
            return Done(error=_why(error))

    def call_now(self, name: str, arguments: JsonObject) -> Done | None:
        """The same where no loop runs; None for an asynchronous function, which is not called."""
        if inspect.iscoroutinefunction(self._by_name[name].call):
            return None
        return self._called(name, arguments)[0]

    def _called(self, name: str, arguments: JsonObject) -> tuple[Done, Any]:
        function = self._by_name[name]
        try:
            given = function.parse(arguments)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            return Done(error=f"{name} does not take {where!r} like that: {first['msg']}."), None
        try:
            value = function.call(**given)
            if inspect.isawaitable(value):
                return Done(), value
            return _answer(value), None
        except Exception as error:  # the user's code, which may fail in any way
            return Done(error=_why(error)), None

    def _guarded(self, name: str, call: Callable[..., Any], *args: object, **named: object) -> Any:
        try:
            value = call(*args, **named)
        except Exception as error:  # the user's code, which may fail in any way
            raise EnvironmentFaultError(
                f"{name}() in {self._source!r} raised {type(error).__name__}: "
                f"{known().text(str(error))}"
            ) from cause(error)
        if inspect.isawaitable(value):
            cast("Any", value).close()
            raise UsageError(f"{name}() in {self._source!r} must not be asynchronous.")
        return value


def _function(name: str, call: Callable[..., object], where: str, reads: bool) -> Function:
    spec = ToolSpec(
        name=schemas.tool_name(name),
        description=schemas.described(call),
        parameters=schemas.of_function(call, where),
        effect="none" if reads else "changes",
    )
    return Function(spec, call, schemas.parser_of(call, where))


def _answer(value: object) -> Done:
    if value is None:
        return Done("Done.")
    try:
        data = cast("JsonValue", json.loads(json.dumps(_plain(value), allow_nan=False)))
    except (TypeError, ValueError, RecursionError):
        return Done(str(value))
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return Done(text, data=None if isinstance(data, str) else data)


def _plain(value: object) -> object:
    return TypeAdapter(object).dump_python(value, mode="json")


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _find(source: str) -> ModuleSpec:
    """Where the module is.

    Raises:
        ConfigError: there is none.
    """
    if source.endswith(".py") or "/" in source:
        path = Path(source).expanduser().resolve()
        if not path.is_file():
            raise ConfigError(f"tools: there is no file {source!r}.")
        return ModuleSpec(path.stem, None, origin=str(path))
    try:
        spec = importlib.util.find_spec(source)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"tools: {source!r} cannot be imported: {error}.") from error
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigError(
            f"tools: there is no module {source!r}; give a dotted name or the path of a .py file."
        )
    return spec
