"""The command that a result names next, complete: it runs as it is printed.

A command is asked for with options, and the next one needs some of the same: where the workspace
is, which model and endpoint, how the environment is made. What was said to this command, on its
command line or in a variable of its own, is said to the next as well where that takes it; what a
run was started with comes from its config. Nothing is invented: no placeholder stands in a line
that is to be copied.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from pydantic import JsonValue

KEPT = frozenset(
    {
        *("workspace", "config_file", "pairs", "view", "toolset", "scope"),
        *("model", "base_url", "executor", "evaluator", "index", "embedder"),
        *("box", "unsafe_local", "ref", "keys"),
    }
)
"""Options that mean the same to every command that has them."""
SHOWN_HOW = frozenset({"as_json", "display"})
"""Options that say how a result is shown; the next command decides that anew."""
OF_A_RUN = {
    "model": "--model",
    "executor": "--executor",
    "evaluator": "--evaluator",
    "index": "--index",
    "embedder": "--embedder",
}
"""Options of a run's config that `evaluate` takes too."""


def followed(
    context: click.Context | None, words: Sequence[str], without: Collection[str] = ()
) -> list[str]:
    """The words of the next command, with what must be said to it as it was to this one.

    Args:
        context: of the command that is ending; None keeps the words as they are.
        words: the next command, its arguments and what it needs that is new.
        without: names of options that were said to this command and do not go with those words.
    """
    if context is None:
        return list(words)
    from agentlab.cli.main import cli

    target = _command(cli, words)
    same = target is context.command
    told = {word.partition("=")[0] for word in words if word.startswith("--")}
    taken = {param.name: param for param in target.params if isinstance(param, click.Option)}
    more: list[str] = []
    for param in context.command.params:
        name = param.name or ""
        if not isinstance(param, click.Option) or name not in taken:
            continue
        if name in SHOWN_HOW or name in without:
            continue
        if not _said(context, param, same=same) or not (same or name in KEPT):
            continue
        flag = max(taken[name].opts, key=len)
        if flag not in told:
            more += _spelt(flag, param, context.params.get(name))
    return [*words, *more]


def _command(root: click.Command, words: Sequence[str]) -> click.Command:
    found = root
    for word in words:
        if not isinstance(found, click.Group) or word not in found.commands:
            break
        found = found.commands[word]
    return found


def _said(context: click.Context, param: click.Option, *, same: bool) -> bool:
    """Whether a value was given in a way that the next command does not see by itself."""
    source = context.get_parameter_source(param.name or "")
    if source is ParameterSource.COMMANDLINE:
        return True
    names = [param.envvar] if isinstance(param.envvar, str) else list(param.envvar or ())
    # The first variable is this command's own, the others hold for all.
    return source is ParameterSource.ENVIRONMENT and not same and bool(os.environ.get(names[0]))


def _spelt(flag: str, param: click.Option, value: object) -> list[str]:
    if param.is_flag:
        return [flag] if value else []
    if isinstance(value, tuple | list):
        return [word for each in value for word in (flag, str(each))]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] # of a click option that may be repeated
    return [] if value is None else [flag, str(value)]


def known(environment: str) -> bool:
    """Whether a library's environment can be named by itself: `tools-todo` cannot."""
    from agentlab.environments.naming import WHOLE_NAMES
    from agentlab.registry import names

    return environment in names("environment") and environment not in WHOLE_NAMES


def starter() -> str:
    """An environment that can be practised in here without anything else."""
    return "babyai" if find_spec("minigrid") is not None else "courier"


class Place(NamedTuple):
    """A run as it was named, by its id or by its directory."""

    name: str

    @property
    def words(self) -> tuple[str, ...]:
        """`--workspace DIR` where the directory says it."""
        path = Path(self.name)
        named = path.parent.name == "runs" and path.parent.parent.is_dir()
        return ("--workspace", str(path.parent.parent)) if named else ()


def evaluation_of(config: Mapping[str, JsonValue]) -> list[str]:
    """`evaluate … --baseline` as a run's config has environment, model and endpoint.

    Returns:
        Nothing where it cannot be said on a command line, as when one role alone has a model.
    """
    environment = str(config.get("environment", ""))
    roles = config.get("roles")
    if isinstance(roles, dict) and any(
        isinstance(own, dict) and own.get("model") for own in roles.values()
    ):
        return []
    words = ["evaluate", environment, "--baseline"]
    defaults = {"model": "search", "evaluator": "verifier", "index": "chroma"}
    defaults["embedder"] = "lexical"
    for name, flag in OF_A_RUN.items():
        value = config.get(name)
        if isinstance(value, str) and value not in ("", defaults.get(name, "")):
            words += [flag, value]
    endpoint = config.get("endpoint")
    if isinstance(endpoint, dict) and endpoint.get("base_url"):
        words += ["--base-url", str(endpoint["base_url"])]
    box = config.get("box")
    if box == "unsafe-local":
        words.append("--unsafe-local")
    elif isinstance(box, str) and box not in ("", "auto"):
        words += ["--box", box]
    options = config.get("environment_options")
    for name, value in options.items() if isinstance(options, dict) else ():
        words += ["--option", f"{name}={json.dumps(value, ensure_ascii=False)}"]
    return words
