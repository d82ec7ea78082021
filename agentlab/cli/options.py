"""Options that several commands share, and how each gets its environment variable.

The scheme: `AGENTLAB_<COMMAND>_<OPTION>`, as in `AGENTLAB_PRACTICE_ROUNDS` or
`AGENTLAB_RUNS_LIST_JSON`; beside it, `AGENTLAB_WORKSPACE` and `AGENTLAB_DISPLAY` hold for every
command that has no variable of its own set. A flag outranks both. The variables of
ServiceNow's project of the same name (`AGENTLAB_EXP_ROOT`, `AGENTLAB_DEBUG`,
`AGENTLAB_MODEL_URL`, `AGENTLAB_MODEL_TOKEN`, `AGENTLAB_USE_RETINA`) are never read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click

if TYPE_CHECKING:
    from pydantic import JsonValue

    from agentlab.config import BoxName
    from agentlab.types import JsonObject

F = TypeVar("F", bound=Callable[..., Any])
DisplayName = Literal["rich", "plain", "none"]

PREFIX = "AGENTLAB"
WORKSPACE = Path(".agentlab")
MOST = 2**63 - 1
"""The largest whole number; `config.MOST`, which is not loaded for `--help`."""
LONGEST = 40
"""Characters that a whole number may be written with."""


class Whole(click.IntRange):
    """A whole number from `least` up, refused with a sentence that shows a right one."""

    name = "number"

    def __init__(self, least: int = 0) -> None:
        super().__init__(min=least, max=MOST)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number.

        Raises:
            click.BadParameter: it is no whole number, or too small.
        """
        text = str(value)
        example = f"{param.opts[0]} 7" if param else "7"
        if len(text) > LONGEST:
            self.fail(
                f"a number of {len(text)} digits is too large; write for instance {example}.",
                param,
                ctx,
            )
        try:
            int(text)
        except ValueError:
            self.fail(f"{text!r} is not a whole number; write for instance {example}.", param, ctx)
        return super().convert(value, param, ctx)


class Option(click.Option):
    """An option whose variable is told in the help and not in each error."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """The flag alone."""
        return click.Parameter.get_error_hint(self, ctx)


def option(*declarations: str, **settings: Any) -> Callable[[F], F]:
    """`click.option`, with an environment variable that `name_variables` sets."""
    return click.option(*declarations, cls=Option, show_envvar=True, **settings)


def name_variables(command: click.Command, prefix: str = PREFIX) -> None:
    """Give each option of a command, and of those under it, its environment variable.

    Each word given is looked at on the way; a path may be whatever the system allows.

    The name follows the flag; a variable that the option has already is asked after it.
    """
    for parameter in command.params:
        parameter.callback = _spelt(parameter.callback)
        if isinstance(parameter, Option):
            flag = max(parameter.opts, key=len).lstrip("-")
            general = [parameter.envvar] if isinstance(parameter.envvar, str) else []
            parameter.envvar = [f"{prefix}_{_upper(flag)}", *general]
    if isinstance(command, click.Group):
        for name, part in command.commands.items():
            name_variables(part, f"{prefix}_{_upper(name)}")


def workspace_option(function: F) -> F:
    """Add `--workspace DIR`, passed as `workspace: Path`."""
    return option(
        "--workspace",
        type=click.Path(file_okay=False, path_type=Path),
        default=WORKSPACE,
        envvar=f"{PREFIX}_WORKSPACE",
        show_default=True,
        metavar="DIR",
        help="Directory that holds records, index, blobs and runs.",
    )(function)


def scope_option(function: F) -> F:
    """Add `--scope PATH`, passed as `scope: str`."""
    return option(
        "--scope",
        metavar="TENANT[/USER]",
        default="",
        help="Whose items: a tenant's or a user's, with those around them. [default: everybody's]",
    )(function)


def output_options(function: F) -> F:
    """Add `--json` and `--display`, passed as `as_json: bool` and `display`."""
    function = option(
        "--display",
        type=click.Choice(["rich", "plain", "none"]),
        envvar=f"{PREFIX}_DISPLAY",
        help="Live panel, a line for each phase, or nothing but the result. "
        "[default: rich on a terminal, else plain]",
    )(function)
    return option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON document on stdout and nothing else there.",
    )(function)


def box_options(function: F) -> F:
    """Add `--box NAME` and `--unsafe-local`, joined by `named_box`."""
    function = option(
        "--unsafe-local",
        is_flag=True,
        help="Run skill code of every origin without a box. Each result is labelled so.",
    )(function)
    return option(
        "--box",
        type=click.Choice(["auto", "bubblewrap", "landlock", "docker", "e2b", "subprocess"]),
        help="Where skill code runs; auto is the first that passes its self-test. [default: auto]",
    )(function)


def named_box(box: str | None, *, unsafe_local: bool) -> BoxName | None:
    """The box that the two options name together; None where neither is given.

    Raises:
        click.BadParameter: both are given, and they disagree.
    """
    if not unsafe_local:
        return cast("BoxName | None", box)
    if box is not None:
        raise click.BadParameter(
            f"--unsafe-local runs skill code in no box, and --box {box} in one; give one of them.",
            param_hint="'--unsafe-local'",
        )
    return "unsafe-local"


def environment_options(function: F) -> F:
    """Add `--view`, `--toolset` and `--option KEY=VALUE`; see `gather_options`."""
    function = option(
        "--option",
        "pairs",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the environment; may be repeated. VALUE is JSON or a plain word.",
    )(function)
    function = option("--toolset", metavar="NAME", help="Short for --option toolset=NAME.")(
        function
    )
    return option(
        "--view",
        type=click.Choice(["full", "partial"]),
        help="Short for --option view=...: what of the world is known.",
    )(function)


def gather_options(
    pairs: Iterable[str], *, view: str | None = None, toolset: str | None = None
) -> JsonObject:
    """The options of an environment, from what `environment_options` collected.

    Raises:
        click.BadParameter: a pair without `=` or without a key, or a value that no run can keep.
    """
    from agentlab.config import shown, value_fault

    gathered: JsonObject = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise click.BadParameter(
                f"{shown(pair)} is not KEY=VALUE; write for instance --option view=full.",
                param_hint="'--option'",
            )
        value = _read(text)
        why = value_fault(key) or value_fault(value)
        if why is not None:
            raise click.BadParameter(
                f"{shown(key)} cannot be {shown(text)}: {why}.", param_hint="'--option'"
            )
        gathered[key] = value
    if view is not None:
        gathered["view"] = view
    if toolset is not None:
        gathered["toolset"] = toolset
    return gathered


Callback = Callable[[click.Context, click.Parameter, Any], Any]


def _spelt(callback: Callback | None) -> Callback:
    """The callback of a parameter, after a look at the text that it was given.

    Bytes that are no UTF-8 reach Python as characters which no record can hold.
    """

    def look(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, str):
                value.encode()
        except UnicodeEncodeError:
            raise click.BadParameter(
                f"{ascii(value)[:80]} is not UTF-8; write it in characters that are.",
                ctx=ctx,
                param=param,
            ) from None
        return callback(ctx, param, value) if callback is not None else value

    return look


def _read(text: str) -> JsonValue:
    """The JSON value that a text spells, or the text itself, as a plain word."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
    except (RecursionError, ValueError) as error:  # nested too deep, or a number too long
        what = (
            "is nested too deep" if isinstance(error, RecursionError) else "has a number too long"
        )
        raise click.BadParameter(
            f"a value of {len(text)} characters {what} to be read; write for instance "
            "--option view=full.",
            param_hint="'--option'",
        ) from None


def _upper(name: str) -> str:
    return name.replace("-", "_").upper()
