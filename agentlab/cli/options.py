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
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

if TYPE_CHECKING:
    from agentlab.types import JsonObject

F = TypeVar("F", bound=Callable[..., Any])
DisplayName = Literal["rich", "plain", "none"]

PREFIX = "AGENTLAB"
WORKSPACE = Path(".agentlab")


class Whole(click.IntRange):
    """A whole number from `least` up, refused with a sentence that shows a right one."""

    name = "number"

    def __init__(self, least: int = 0) -> None:
        super().__init__(min=least)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number.

        Raises:
            click.BadParameter: it is no whole number, or too small.
        """
        try:
            int(str(value))
        except ValueError:
            example = f"{param.opts[0]} 7" if param else "7"
            self.fail(
                f"{str(value)!r} is not a whole number; write for instance {example}.", param, ctx
            )
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

    The name follows the flag; a variable that the option has already is asked after it.
    """
    for parameter in command.params:
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
        click.BadParameter: a pair without `=` or without a key.
    """
    gathered: JsonObject = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise click.BadParameter(
                f"{pair!r} is not KEY=VALUE; write for instance --option view=full.",
                param_hint="'--option'",
            )
        try:
            gathered[key] = json.loads(text)
        except json.JSONDecodeError:
            gathered[key] = text
    if view is not None:
        gathered["view"] = view
    if toolset is not None:
        gathered["toolset"] = toolset
    return gathered


def _upper(name: str) -> str:
    return name.replace("-", "_").upper()
