"""`agentlab envs`: where one can practise, and whether an environment keeps its promises."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from typing import TYPE_CHECKING

import click

from agentlab.cli.failures import FAILED
from agentlab.cli.following import starter
from agentlab.cli.options import (
    DisplayName,
    Whole,
    environment_options,
    gather_options,
    option,
    output_options,
)
from agentlab.cli.output import Output, Table, opened

if TYPE_CHECKING:
    from agentlab.environments.report import CheckReport
    from agentlab.types import JsonObject


@click.group()
def envs() -> None:
    """List environments, or check one."""


@envs.command("list")
@output_options
def list_(as_json: bool, display: DisplayName | None) -> None:
    """The environments that can be named here, plugins too."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.registry import names

        found = [_describe(name) for name in names("environment")]
        output.document(found)
        rows = [[str(e["name"]), _state(e), str(e["summary"])] for e in found]
        output.table(Table("", ("environment", "state", "what it is"), rows))
        output.next("envs", "check", starter())


@envs.command()
@click.argument("environment", metavar="ENV")
@option("--tasks", type=Whole(2), default=8, show_default=True, help="Tasks to try.")
@option("--seed", type=Whole(), default=0, show_default=True, help="Chooses the tasks.")
@option(
    "--seconds",
    type=Whole(1),
    default=60,
    show_default=True,
    help="After which a check takes up no further case.",
)
@environment_options
@output_options
def check(
    environment: str,
    tasks: int,
    seed: int,
    seconds: int,
    pairs: tuple[str, ...],
    view: str | None,
    toolset: str | None,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Check that ENV keeps the promises that search, replay and verifiers rest on."""
    with opened(as_json=as_json, display=display) as output:
        given = gather_options(pairs, view=view, toolset=toolset)
        report = asyncio.run(_check(environment, given, tasks=tasks, seed=seed, seconds=seconds))
        output.document({"passed": report.passed, **report.model_dump(mode="json")})
        _tell(report, output)
        if not report.passed:
            output.next("envs", "check", environment)
            raise click.exceptions.Exit(FAILED)
        output.next("practice", environment)


def _describe(name: str) -> JsonObject:
    from agentlab.errors import AgentLabError
    from agentlab.registry import BUILT_IN, resolve

    described: JsonObject = {
        "name": name,
        "origin": "agentlab" if f"environment/{name}" in BUILT_IN else "plugin",
        "available": True,
        "hint": "",
        "summary": "",
    }
    try:
        with warnings.catch_warnings():
            # A plugin that fails to import warns; here the hint says so.
            warnings.simplefilter("ignore", RuntimeWarning)
            made = resolve("environment", name)
    except AgentLabError as error:
        return described | {"available": False, "hint": str(error)}
    return described | {"summary": (inspect.getdoc(made) or "").partition("\n")[0]}


def _state(described: JsonObject) -> str:
    return "ready" if described["available"] else str(described["hint"])


async def _check(
    environment: str, given: JsonObject, *, tasks: int, seed: int, seconds: int
) -> CheckReport:
    from agentlab.environments.checker import check_environment
    from agentlab.environments.registration import check_machine, make_environment
    from agentlab.errors import ConfigError
    from agentlab.protocols import Environment, HasTasks
    from agentlab.types import EnvironmentRef

    reference = EnvironmentRef(name=environment, options=given)

    def make() -> Environment:
        return make_environment(reference)

    made = make()
    try:
        if not isinstance(made, HasTasks):
            raise ConfigError(
                f"The environment {environment!r} brings no tasks; call "
                "agentlab.environments.checker.check_environment with some of yours."
            )
        check_machine(made)
        chosen = made.tasks("practice", tasks, seed)
    finally:
        await made.close()
    return await check_environment(make, tasks=chosen, subject=environment, seconds=seconds)


def _tell(report: CheckReport, output: Output) -> None:
    rows = [
        [
            line.name.replace("_", " "),
            "does not apply" if line.skipped else "ok" if line.passed else "FAILED",
            str(line.n) if line.n else "",
            line.detail,
        ]
        for line in report.lines
    ]
    output.table(Table(report.subject, ("check", "verdict", "n", "found"), rows, frozenset({2})))
    output.line()
    failed = len(report.failures)
    output.line(
        f"{report.subject} keeps every promise that was checked."
        if report.passed
        else f"{report.subject} fails {failed} of {len(report.lines)} checks."
    )
