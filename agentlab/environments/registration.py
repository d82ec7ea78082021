"""From a name and options to an environment, with a sentence where they do not fit.

A name may carry an argument after a colon: `babyai:GoToLocal`. What it means is the
environment's business: its class then defines `from_argument(argument, **options)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import cast

from agentlab import registry
from agentlab.environments.contract import cause, held, without_secrets
from agentlab.environments.naming import WHOLE_NAMES, library_name
from agentlab.errors import (
    AgentLabError,
    ConfigError,
    EnvironmentFaultError,
    UnknownNameError,
)
from agentlab.models.redaction import address_holds_secret, known, look_again
from agentlab.protocols import Environment
from agentlab.types import EnvironmentRef, JsonObject

REQUIRED = ("tools", "reset", "step", "close")


def make_environment(ref: EnvironmentRef) -> Environment:
    """A new instance of the registered environment.

    Raises:
        UnknownNameError: nothing of that name is registered.
        MissingExtraError: it needs an optional dependency.
        ConfigError: it does not take this argument or option, or not this value, or is no
            environment.
        EnvironmentFaultError: making it failed for a reason of its own.
    """
    look_again()
    _refuse_secrets(ref)
    name, colon, argument = ref.name.partition(":")
    try:
        target = registry.resolve("environment", name)
    except UnknownNameError as error:
        meant = _meant(ref.name)
        if meant is None:
            raise
        raise ConfigError(f"There is no environment named {ref.name!r}; write {meant}.") from error
    if not callable(target):
        raise ConfigError(f"The environment {name!r} is registered as {target!r}; name a class.")
    make = target
    given: tuple[str, ...] = ()
    if colon:
        from_argument: object = getattr(target, "from_argument", None)
        if not callable(from_argument):
            raise ConfigError(
                f"The environment {name!r} takes nothing after a colon: write {name!r}, "
                f"not {ref.name!r}."
            )
        if not argument:
            raise ConfigError(
                f"The environment name {ref.name!r} ends with a colon: say after it what the "
                "environment is made of, or drop the colon."
            )
        make = from_argument
        given = (argument,)
    _check_options(name, ref.options, options_of(make, positional=len(given)))
    try:
        environment = make(*given, **ref.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The environment {ref.name!r} does not take these options: {known().text(str(error))}"
        ) from cause(error)
    except AgentLabError as error:
        clean = without_secrets(error, f"The environment {ref.name!r}")
        if clean is error:
            raise
        raise clean from None
    except (
        Exception,
        SystemExit,
        GeneratorExit,
    ) as error:  # foreign code, which may fail in any way
        raise EnvironmentFaultError(
            f"The environment {ref.name!r} raised {type(error).__name__} in __init__(): "
            f"{known().text(str(error))}"
        ) from cause(error)
    lacking = [part for part in REQUIRED if not hasattr(type(environment), part)]
    if lacking:
        raise ConfigError(
            f"The environment {name!r} lacks {', '.join(lacking)}; see protocols.Environment."
        )
    return held(cast("Environment", environment), ref.name)


def check_machine(environment: Environment) -> None:
    """Return where this machine has what the environment needs beside Python: a browser, say.

    An environment that needs such a thing has a method of this name, without arguments. It is
    asked before anything of a run is written; making an instance must do without, since skills
    and packs of an environment are looked at on machines where nothing is attempted.

    Raises:
        ConfigError: something is missing; says how to get it.
    """
    asked: object = getattr(environment, "check_machine", None)
    if callable(asked):
        asked()


def _meant(name: str) -> str | None:
    """What a path or an address is as an environment, in words; None for any other name."""
    if name.startswith(("http://", "https://")) and not address_holds_secret(name):
        return f"'web:{name}' for the web site there, or 'mcp:{name}' for an MCP server"
    return f"'tools:{name}' for the Python functions in it" if name.endswith(".py") else None


def _refuse_secrets(ref: EnvironmentRef) -> None:
    """Return, unless the name or the options hold a key: both are recorded and shown.

    Raises:
        ConfigError: they do; does not repeat it.
    """
    base, _, argument = ref.name.partition(":")
    addresses = [word for word in argument.split() if "://" in word]
    if any(address_holds_secret(address.strip("'\"")) for address in addresses):
        raise ConfigError(
            f"The address in the environment's name '{base}:…' holds a password or key, which "
            "would be recorded; take it out, put it into an environment variable and name that, "
            "for a server over HTTP with --option token_variable=NAME."
        )
    spelt: JsonObject = {ref.name: ref.options}
    if known().json(spelt) != spelt:
        raise ConfigError(
            f"The name or an option of the environment {base!r} holds the value of a secret "
            "environment variable, which would be recorded; name the variable instead, for an "
            "MCP server with --option token_variable=NAME or pass_env=NAME."
        )


def base_name(name: str) -> str:
    """The name that libraries belong to: without what follows a colon.

    Where that part is the environment itself, a server's command say, it is told in letters
    that may stand in a file name; see `naming`.
    """
    base, _, argument = name.partition(":")
    return library_name(base, argument) if argument and base in WHOLE_NAMES else base


def options_of(make: Callable[..., object], *, positional: int = 0) -> tuple[str, ...] | None:
    """Names of the options a factory takes, `positional` leading ones apart.

    Returns:
        None when it takes any.
    """
    try:
        parameters = list(inspect.signature(make).parameters.values())
    except (TypeError, ValueError):  # a factory written in C may have no signature
        return None
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return None
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters[positional:] if p.kind in named)


def _check_options(name: str, options: Iterable[str], known: tuple[str, ...] | None) -> None:
    if known is None:
        return
    for option in options:
        if option in known:
            continue
        near = get_close_matches(option, known, n=1, cutoff=0.5)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif known:
            hint = "it takes " + ", ".join(repr(item) for item in known) + "."
        else:
            hint = "it takes none."
        raise ConfigError(f"The environment {name!r} has no option {option!r}; {hint}")
