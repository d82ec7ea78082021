"""`agentlab skills run` and `verify`: one skill by itself, and the whole library as a canary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.analysis.figures import percent, span
from agentlab.cli.options import (
    DisplayName,
    Whole,
    box_options,
    environment_options,
    gather_options,
    named_box,
    option,
    output_options,
    workspace_option,
)
from agentlab.cli.output import Output, Table, opened

if TYPE_CHECKING:
    from agentlab.types.report import CanaryLine, CanaryReport, SkillRunReport


@click.command()
@click.argument("name", metavar="NAME")
@option(
    "--env", "environment", metavar="ENV", default="babyai", show_default=True,
    help="Where to run it.",
)  # fmt: skip
@option(
    "--arg", "arguments", multiple=True, metavar="NAME=VALUE",
    help="An argument: JSON, or words that describe a thing, as x='red ball'; may be repeated.",
)  # fmt: skip
@option("--setup", metavar="NAME", help="Family of start states; else the first that fits.")
@option("--seed", type=Whole(), default=0, show_default=True, help="Which start state of it.")
@workspace_option
@environment_options
@box_options
@output_options
def run(
    name: str,
    environment: str,
    arguments: tuple[str, ...],
    setup: str | None,
    seed: int,
    workspace: Path,
    pairs: tuple[str, ...],
    view: str | None,
    toolset: str | None,
    box: str | None,
    unsafe_local: bool,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Run the skill NAME once, and check that it did what it says.

    Exits with 1, and the reason, where it did not.
    """
    given = _arguments(arguments)
    with opened(as_json=as_json, display=display) as output:
        options = gather_options(pairs, view=view, toolset=toolset)
        from agentlab.graph.skill_runs import Asked, run_in_workspace
        from agentlab.types import EnvironmentRef

        ref = EnvironmentRef(name=environment, options=options)
        asked = Asked(name, ref, given, setup=setup, seed=seed)
        where = named_box(box, unsafe_local=unsafe_local) or "auto"
        report = run_in_workspace(workspace, asked, box=where)
        output.document(report)
        _tell(report, output)
        from agentlab.environments.registration import base_name

        output.next("skills", "show", name, "--environment", base_name(environment))
        if not report.worked:
            raise SystemExit(1)


def _arguments(pairs: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise click.BadParameter(
                f"{pair[:80]!r} is not NAME=VALUE; write for instance --arg x='red ball'.",
                param_hint="'--arg'",
            )
        given[name] = value
    return given


def _tell(report: SkillRunReport, output: Output) -> None:
    bound = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in report.arguments.items()
    )
    where = f"{report.environment}, {report.setup}, seed {report.seed}"
    output.line(f"{report.name}({bound}) in {where}, box {report.box}", strong=True)
    for seen in report.observation.splitlines():
        output.line(f"  {seen}")
    for fact, value in report.changed.items():
        output.line(f"Now {fact}: {json.dumps(value, ensure_ascii=False)}")
    cost = f"{report.tool_calls} tool calls, {report.steps} steps"
    if report.worked:
        output.line(f"It worked: the effect check passed after {cost}.", strong=True)
    else:
        output.line(f"It did not work: {report.reason} ({cost}).", strong=True)


@click.command()
@click.argument("words", metavar="[ENV] [NAME]...", nargs=-1)
@option(
    "--env", "environment", metavar="ENV",
    help="The environment as it is now, where it does not stand first. [default: babyai]",
)  # fmt: skip
@option("--restore", is_flag=True, help="Take back the named skills that were retired.")
@option(
    "--hone", metavar="search|none|MODEL", default="search", show_default=True,
    help="How what is broken is mended: by search, not at all, or by a chat model.",
)  # fmt: skip
@option("--base-url", metavar="URL", help="Where chat models are. [default: OPENAI_BASE_URL]")
@option("--seed", type=Whole(), default=0, show_default=True, help="Chooses the start states.")
@workspace_option
@environment_options
@box_options
@output_options
def verify(
    words: tuple[str, ...],
    environment: str | None,
    restore: bool,
    hone: str,
    base_url: str | None,
    seed: int,
    workspace: Path,
    pairs: tuple[str, ...],
    view: str | None,
    toolset: str | None,
    box: str | None,
    unsafe_local: bool,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Replay the served skills against ENV as it is now.

    What broke is taken out of service, mended where that can be done, and verified again. Exits
    with 1 where something stays broken or could not be tried.
    """
    environment, names = _place(words, environment)
    if restore and not names:
        raise click.BadParameter("name the skills that it is to take back.", param_hint="--restore")
    with opened(as_json=as_json, display=display) as output:
        options = gather_options(pairs, view=view, toolset=toolset)
        from agentlab.graph.canaries import verify_library
        from agentlab.types import EnvironmentRef

        report = verify_library(
            workspace,
            EnvironmentRef(name=environment, options=options),
            names=names,
            restore=restore,
            hone=hone,
            seed=seed,
            box=named_box(box, unsafe_local=unsafe_local) or "auto",
            config={"endpoint": {"base_url": base_url}} if base_url else None,
        )
        output.document(report)
        _tell_canaries(report, output)
        unsure = [line for line in report.skills if line.outcome in ("demoted", "still out")]
        unsure += [line for line in report.skills if line.outcome == "unknown"]
        if unsure:
            from agentlab.environments.registration import base_name

            whose = ("--environment", base_name(report.environment))
            output.next("skills", "show", unsure[0].name, *whose)
            raise SystemExit(1)
        output.next("skills", "list")


def _place(words: tuple[str, ...], environment: str | None) -> tuple[str, tuple[str, ...]]:
    """The environment and the skills that the words name; only the first may be the former."""
    from agentlab.registry import names

    first = words[0] if words else ""
    if environment is None and (":" in first or first in names("environment")):
        return first, words[1:]
    return environment or "babyai", words


def _tell_canaries(report: CanaryReport, output: Output) -> None:
    if not report.skills:
        output.line(f"The library serves nothing for {report.environment}.")
        return
    rows = [
        [line.name, str(line.version), _outcome(line), str(line.replays), line.reason]
        for line in report.skills
    ]
    output.table(Table("", ("skill", "version", "outcome", "replays", "why"), rows, frozenset({3})))
    output.line()
    served = [line for line in report.skills if line.outcome not in ("demoted", "still out")]
    output.line(
        f"{len(served)} of {len(report.skills)} are served; "
        f"{report.replays} replays in {report.environment}, box {report.box}."
    )
    asked = [line for line in report.skills if line.outcome not in ("restored", "still out")]
    if asked:
        mended = [line for line in report.found if line.outcome == "mended"]
        output.line(
            f"Broken: {_share(len(report.found), len(asked))} of what served; "
            f"mended: {_share(len(mended), len(report.found))} of those; "
            f"{report.seconds:.0f} s."
        )


def _share(part: int, n: int) -> str:
    """A share with its n and interval."""
    from agentlab.statistics import wilson

    if n == 0:
        return "none"
    return f"{percent(part / n)} ({span(*wilson(part, n))}, n={n})"


def _outcome(line: CanaryLine) -> str:
    """What became of a skill, with what mended it, or how the second look went."""
    if line.by:
        return f"{line.outcome} by {line.by}"
    if line.outcome == "unsteady":
        return f"{line.outcome}, {line.passed} of {line.looked} passed"
    return line.outcome
