"""The package `bfcl-eval`, read where it is installed: its data, its documents, its checker.

None of its code or data ships with agentlab. It cannot be an extra, because an extra cannot say
that a package is to be installed without its dependencies (which are gigabytes that the
multi-turn part does not use). Importing this module imports nothing of it; see `require`.

Source: Patil et al. 2025, "The Berkeley Function Calling Leaderboard (BFCL): From Tool Use to
Agentic Evaluation of Large Language Models"; the package, Apache-2.0, 2026.3.23.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import JsonValue

from agentlab.errors import UsageError
from agentlab.types import JsonObject, ToolCall

APIS = (
    "GorillaFileSystem",
    "MathAPI",
    "MessageAPI",
    "TicketAPI",
    "TradingBot",
    "TravelAPI",
    "TwitterAPI",
    "VehicleControlAPI",
)
"""The classes of the multi-turn categories, as the package names them."""
CATEGORIES = ("base", "long_context", "miss_func", "miss_param")
LONG = "long_context"
STATELESS = "MathAPI"
"""It has no scenario to load."""
MISSING = (
    "The environment 'bfcl' needs the package bfcl-eval, whose own dependencies it does not use; "
    "install it with `pip install --no-deps bfcl-eval` and `pip install mpmath`."
)
_CHECKER = "bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker"


class Entry(NamedTuple):
    """One conversation: what the user says turn by turn, where it starts, what is right."""

    id: str
    category: str
    number: int
    """The same in all categories for the same scenario."""
    apis: tuple[str, ...]
    scenarios: Mapping[str, JsonObject]
    """Class to what it loads at the start."""
    turns: tuple[str, ...]
    """What the user says; empty where all that happens is that tools are added."""
    gold: tuple[tuple[ToolCall, ...], ...]
    """For each turn the calls that were written down as right."""
    excluded: frozenset[str]
    """Tools that are never given."""
    added: Mapping[int, tuple[str, ...]]
    """Turn to the tools that are given from there on only."""


def require() -> None:
    """Do nothing where the package can be imported.

    Raises:
        UsageError: it, or `mpmath`, is missing; the text is the two commands that install them.
    """
    if find_spec("bfcl_eval") is None or find_spec("mpmath") is None:
        raise UsageError(MISSING)


def checker() -> Any:
    """The package's own module of multi-turn checks."""
    return importlib.import_module(_CHECKER)


@cache
def api_class(api: str) -> Callable[[], Any]:
    """The class of that name."""
    config: Any = importlib.import_module("bfcl_eval.constants.executable_backend_config")
    module = importlib.import_module(config.CLASS_FILE_PATH_MAPPING[api])
    return cast("Callable[[], Any]", getattr(module, api))


@cache
def documents(api: str) -> tuple[JsonObject, ...]:
    """The package's own documents of a class's functions, in its order."""
    config: Any = importlib.import_module("bfcl_eval.constants.executable_backend_config")
    name = cast("str", config.MULTI_TURN_FUNC_DOC_FILE_MAPPING[api])
    return tuple(_rows(_data() / "multi_turn_func_doc" / name))


@cache
def owners() -> Mapping[str, str]:
    """Function name to the class it belongs to; no name is in two classes."""
    return {str(row["name"]): api for api in APIS for row in documents(api)}


@cache
def entries(category: str) -> tuple[Entry, ...]:
    """Every conversation of a category, by number."""
    name = f"BFCL_v4_multi_turn_{category}.json"
    answers = {
        str(row["id"]): cast("list[list[str]]", row["ground_truth"])
        for row in _rows(_data() / "possible_answer" / name)
    }
    return tuple(_entry(row, category, answers[str(row["id"])]) for row in _rows(_data() / name))


def entry(entry_id: str) -> Entry | None:
    """The conversation of that id, such as `multi_turn_base_3`, or None."""
    category, _, number = entry_id.removeprefix("multi_turn_").rpartition("_")
    if category not in CATEGORIES or not number.isdigit():
        return None
    found = entries(category)
    index = int(number)
    return found[index] if index < len(found) and found[index].id == entry_id else None


@cache
def said_values(tool: str, parameter: str) -> tuple[JsonValue, ...]:
    """Each value that the right answers give to a parameter, once, in their order."""
    seen: dict[str, JsonValue] = {}
    for category in CATEGORIES:
        for one in entries(category):
            for call in (call for turn in one.gold for call in turn):
                if call.tool == tool and parameter in call.arguments:
                    value = call.arguments[parameter]
                    seen.setdefault(json.dumps(value), value)
    return tuple(seen.values())


def _data() -> Path:
    require()
    package = importlib.import_module("bfcl_eval")
    return Path(str(package.__file__)).parent / "data"


def _rows(path: Path) -> Iterator[JsonObject]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield cast("JsonObject", json.loads(line))


def _entry(row: JsonObject, category: str, answers: Sequence[Sequence[str]]) -> Entry:
    number = int(str(row["id"]).rpartition("_")[2])
    said = cast("list[list[dict[str, str]]]", row["question"])
    added = cast("dict[str, list[str]]", row.get("missed_function") or {})
    return Entry(
        id=str(row["id"]),
        category=category,
        number=number,
        apis=tuple(cast("list[str]", row["involved_classes"])),
        scenarios=cast("dict[str, JsonObject]", row["initial_config"]),
        turns=tuple("\n".join(part["content"] for part in turn) for turn in said),
        gold=tuple(tuple(_call(text) for text in turn) for turn in answers),
        excluded=frozenset(cast("list[str]", row.get("excluded_function") or [])),
        added={int(turn): tuple(names) for turn, names in added.items()},
    )


def _call(text: str) -> ToolCall:
    """A call as the answers write it, `cd(folder='docs')`; its arguments are plain literals."""
    node = cast("ast.Call", ast.parse(text, mode="eval").body)
    name = cast("ast.Name", node.func).id
    arguments: JsonObject = {}
    if node.args:
        function = getattr(api_class(owners()[name]), name)
        names = list(inspect.signature(function).parameters)[1:]
        for parameter, value in zip(names, node.args, strict=False):
            arguments[parameter] = ast.literal_eval(value)
    for keyword in node.keywords:
        arguments[str(keyword.arg)] = ast.literal_eval(keyword.value)
    return ToolCall(tool=name, arguments=arguments)
