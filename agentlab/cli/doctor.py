"""`agentlab doctor`: whether this machine, this installation and this workspace are fit.

It changes nothing: a workspace that does not exist yet is judged by where it would be made.
A missing extra is no fault; a workspace that cannot be written, a box that does not start and
two distributions in one place are, and make the command exit with 1.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from agentlab import __version__
from agentlab.cli.failures import FAILED
from agentlab.cli.following import starter
from agentlab.cli.options import DisplayName, output_options, workspace_option
from agentlab.cli.output import Output, Table, opened

if TYPE_CHECKING:
    from pydantic import JsonValue

    from agentlab.types import JsonObject

OURS = "agentlab-practice"
THEIRS = "agentlab"
"""The distribution of another project, which brings a package of our import name."""


@click.command()
@workspace_option
@output_options
def doctor(workspace: Path, as_json: bool, display: DisplayName | None) -> None:
    """Check Python, the extras, the box for learnt code, and the workspace."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.registry import EXTRAS
        from agentlab.sandbox.probe import describe_box

        box = describe_box()
        extras = installed_extras(EXTRAS)
        browser = describe_browser()
        endpoint = describe_endpoint()
        trainers = describe_trainers()
        writable = is_writable(workspace)
        found = {name: installed(name) for name in (OURS, THEIRS)}
        problems = [
            *_box_problems(box),
            *([] if writable else [f"The workspace {str(workspace)!r} cannot be written; "
                                   "choose another with --workspace."]),
            *([str(endpoint["problem"])] if endpoint["problem"] else []),
            *([str(trainers["problem"])] if trainers["problem"] else []),
            *mixed_install(found),
        ]  # fmt: skip
        output.document(
            {
                "version": __version__,
                "python": platform.python_version(),
                "executable": sys.executable,
                "platform": platform.platform(),
                "distributions": dict(found),
                "extras": dict(extras),
                "box": box,
                "browser": browser,
                "endpoint": endpoint,
                "trainers": trainers,
                "workspace": {"path": str(workspace.absolute()), "writable": writable},
                "problems": list(problems),
            }
        )
        _tell(output, found, extras, browser, box, workspace, writable)
        if not trainers["problem"]:
            output.line(f"Trainers: {trainers['says']}")
        if endpoint["base_url"] and not endpoint["problem"]:
            output.line(f"Model endpoint {endpoint['base_url']}: answers, {endpoint['says']}.")
        for problem in problems:
            output.line(f"Problem: {problem}", strong=True)
        if problems:
            output.next("doctor")
            raise click.exceptions.Exit(FAILED)
        output.line("Nothing is wrong.")
        output.next("practice", starter())


def installed(distribution: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def importable(module: str) -> bool:
    """Whether Python finds a top-level module; it is not imported."""
    return find_spec(module) is not None


def installed_extras(
    modules: dict[str, str], *, present: Callable[[str], bool] = importable
) -> dict[str, bool]:
    """Each extra, and whether all the modules it brings are there. Nothing is imported.

    Args:
        modules: top-level module to the extra that brings it.
        present: says whether a module can be found.
    """
    extras: dict[str, bool] = {}
    for module, extra in sorted(modules.items()):
        extras[extra] = extras.get(extra, True) and present(module)
    return dict(sorted(extras.items()))


def describe_browser() -> JsonObject:
    """The Chromium that pages are opened with: its path and version, or how to get one."""
    from agentlab.environments.web.chromium import find_chromium, missing, version_of

    program = find_chromium()
    return {
        "program": program,
        "version": version_of(program) if program is not None else None,
        "hint": "" if program is not None else missing(),
    }


def describe_endpoint() -> JsonObject:
    """Whether the endpoint that OPENAI_BASE_URL names answers; asks nobody where it is not set."""
    url = os.environ.get("OPENAI_BASE_URL", "")
    if not url:
        return {"base_url": "", "says": "", "problem": ""}
    from agentlab.errors import AgentLabError
    from agentlab.models.openai_client import listed_models

    try:
        served = listed_models()
    except AgentLabError as error:
        # An address that may hold a password is told by nobody but the error, which knows.
        return {"base_url": "", "says": "", "problem": str(error)}
    return {"base_url": url, "says": f"lists {len(served)} models", "problem": ""}


def describe_trainers() -> JsonObject:
    """The Python that `agentlab train` trains with, and what it has; or how to make one."""
    from agentlab.errors import AgentLabError
    from agentlab.training.trainers.interpreter import MAKE, find_python, versions

    try:
        python = find_python()
    except AgentLabError as error:
        return {"python": None, "versions": {}, "says": "", "problem": str(error)}
    if python is None:
        return {"python": None, "versions": {}, "says": f"none; {MAKE}.", "problem": ""}
    found = versions(python)
    lacking = [name for name in ("torch", "trl", "transformers", "peft") if not found.get(name)]
    problem = ""
    if lacking:
        problem = (
            f"The trainers' Python {python.path!r} ({python.said_by}) "
            f"{'lacks ' + ' and '.join(lacking) if found else 'does not start'}; {MAKE}."
        )
    has = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    return {
        "python": python.path,
        "versions": dict(found),
        "says": f"{python.path}, {has}.",
        "problem": problem,
    }


def _browser_line(browser: JsonObject) -> str:
    if browser["program"] is None:
        return f"Browser for web pages: missing. {browser['hint']}"
    version = browser["version"] or "which does NOT start"
    return f"Browser for web pages: {browser['program']}, {version}."


def is_writable(workspace: Path) -> bool:
    """Whether a file can be made in the workspace, or where it would be made.

    A link that leads nowhere or to itself is there, so no workspace can be made in its place.
    """
    place = workspace.expanduser().absolute()
    while not os.path.lexists(place):
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place, prefix=".agentlab-doctor-") as file:
            file.write(b"doctor")
            file.flush()
    except OSError:
        return False
    return True


def mixed_install(found: dict[str, str | None]) -> list[str]:
    """What is wrong when another project's `agentlab` is installed beside this one."""
    if found[THEIRS] is None:
        return []
    ours = found[OURS] or "of a checkout"
    return [
        f"The distributions {THEIRS!r} {found[THEIRS]} (another project) and {OURS!r} {ours} "
        f"both bring a package named 'agentlab', and one overwrites the other; run "
        f"`pip uninstall {THEIRS} {OURS}` and then `pip install {OURS}`, or keep them in two "
        "virtual environments."
    ]


def _box_problems(box: JsonObject) -> list[str]:
    probes = box["probes"]
    if isinstance(probes, dict) and probes.get("starts"):
        return []
    return [
        f"The box {box['name']!r} does not start, so no learnt code can run; "
        "check that this Python can start itself as a child process."
    ]


def _tell(
    output: Output,
    found: dict[str, str | None],
    extras: dict[str, bool],
    browser: JsonObject,
    box: JsonObject,
    workspace: Path,
    writable: bool,
) -> None:
    output.line(f"Python {platform.python_version()} at {sys.executable}, {platform.platform()}.")
    origin = "" if found[OURS] else ", from a checkout"
    output.line(f"{OURS} {__version__}{origin}.")
    for extra, there in extras.items():
        hint = "installed" if there else f"missing: pip install '{OURS}[{extra}]'"
        output.line(f"Extra {extra}: {hint}.")
    output.line(_browser_line(browser))
    output.line(f"Workspace {workspace}: {'can' if writable else 'can NOT'} be written.")
    probes = cast("JsonObject", box["probes"])
    rows = [[name.replace("_", " "), _answer(value)] for name, value in probes.items()]
    version = str(box["version"])
    name = version if version.startswith(str(box["name"])) else f"{box['name']} {version}"
    output.table(Table(f"Box for learnt code: {name}", ("probe", "holds"), rows))
    boxes = cast("list[JsonObject]", box.get("boxes", []))
    tried = [each for each in boxes if each["probes"]]
    if tried:
        names = sorted({probe for each in tried for probe in cast("JsonObject", each["probes"])})
        heads = ("probe", *(str(each["name"]) for each in tried))
        rows = [
            [probe.replace("_", " "), *(_answer(_probe(each, probe)) for each in tried)]
            for probe in names
        ]
        output.table(Table("Boxes that were tried", heads, rows))
    for each in boxes:
        if each["reason"]:
            output.line(f"Box {each['name']}: {each['reason']}")
    if box["name"] == "subprocess":
        from agentlab.sandbox.runtime import INSTALL

        output.line(
            "No box holds here, so only skills that search made run, in a plain subprocess; what "
            f"a model wrote or a pack brought is refused. For a box, {INSTALL}."
        )
    output.line()


def _probe(box: JsonObject, name: str) -> JsonValue:
    return cast("JsonObject", box["probes"]).get(name)


def _answer(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
