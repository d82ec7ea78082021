"""Executors by name, wrapped ones included: `react`, `reflect:react`, `reflect:selective:code`.

What stands before a colon wraps what stands after it. A wrapper is a class whose `wraps` is true
and which takes the inner executor first; its options stand beside `inner`, which holds those of
the executor that it wraps: `{"retries": 1, "inner": {"context_tokens": 8000}}`.

Wrapper and wrapped may belong in different processes: one asks a model, the other keeps a core
busy. Whoever makes the executor can therefore say what stands in for the innermost one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from agentlab.errors import ConfigError, UsageError
from agentlab.protocols import Executor
from agentlab.registry import names, resolve
from agentlab.types import JsonObject

INNER = "inner"
"""Among a wrapper's options, those of what it wraps."""


Make = Callable[[str, JsonObject], Executor]
"""Makes an executor from its name, without a colon, and its options."""


def make_executor(
    name: str, options: JsonObject | None = None, *, innermost: Make | None = None
) -> Executor:
    """The executor of that name, with these options.

    Args:
        name: with what it wraps after a colon.
        options: of it, and under `inner` of what it wraps.
        innermost: makes the one that wraps nothing; by default the registered one itself.

    Raises:
        UnknownNameError: a part of the name is not registered; suggests near ones.
        UsageError: a wrapper wraps nothing, or something is wrapped by what is no wrapper.
        ConfigError: an option is unknown or wrong.
    """
    first, colon, rest = name.partition(":")
    made = resolve("executor", first)
    given = dict(options or {})
    if not getattr(made, "wraps", False):
        if colon:
            raise UsageError(
                f"The executor {first!r} wraps nothing, so {name!r} means nothing; wrappers are: "
                f"{', '.join(wrappers()) or 'none'}."
            )
        return _called(name, made, (), given) if innermost is None else innermost(name, given)
    if not rest:
        raise UsageError(
            f"The executor {first!r} wraps another; name that too, as in '{first}:react'."
        )
    inner = given.pop(INNER, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"The option {INNER!r} of {name!r} must hold options, not {inner!r}.")
    wrapped = make_executor(rest, inner, innermost=innermost)
    return _called(name, made, (wrapped,), given)


def wrappers() -> list[str]:
    """Names of the registered wrappers."""
    return [name for name in names("executor") if getattr(_known(name), "wraps", False)]


def _known(name: str) -> object:
    """The class of that name, or None where it cannot be had here."""
    try:
        return resolve("executor", name)
    except UsageError:
        return None


def _called(name: str, made: object, given: tuple[Executor, ...], options: JsonObject) -> Executor:
    try:
        return cast("Callable[..., Executor]", made)(*given, **options)
    except TypeError as error:
        # An option that it does not take; constructors of executors do nothing else.
        raise ConfigError(f"The executor {name!r} does not take these options: {error}.") from None
    except ValueError as error:
        raise ConfigError(f"An option of the executor {name!r} is wrong: {error}.") from None
