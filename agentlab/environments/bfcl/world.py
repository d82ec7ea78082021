"""The APIs at one moment, as a value: calling gives another one and leaves the first as it was.

The package's objects change when they are called. Here an object that a state holds is never
called itself but only a copy of it, made from its pickle, so that saving a state is keeping it,
going back is using it again, and a reset cannot meet what an earlier episode left: some of
these objects share what they load with the package's own tables.
"""

from __future__ import annotations

import copy
import json
import pickle
import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast

from pydantic import JsonValue

from agentlab.environments.bfcl import package
from agentlab.types import JsonObject, digest

UNREAD = frozenset({"_api_description", "_last_modified", "_flight_cost_lookup"})
"""Attributes that say nothing of the state: a text, the wall clock, and a cache."""


class Kept:
    """One API's object, which nobody changes any more."""

    def __init__(self, instance: object, pickled: bytes) -> None:
        self.instance = instance
        self.pickled = pickled
        """The object as bytes, only ever read back in the process that made them."""

    @cached_property
    def attributes(self) -> JsonObject:
        """Its attributes as JSON, but for those it keeps to itself; a working folder is told.

        Raises:
            RecursionError: a folder is inside itself, which the package allows.
        """
        read = {n: plain(v) for n, v in vars(self.instance).items() if not n.startswith("_")}
        here: object = getattr(self.instance, "_current_dir", None)
        return read if here is None else {**read, "current_folder": path_of(here)}

    @cached_property
    def key(self) -> str:
        """Equal for objects that behave alike from here on."""
        return digest(_graph(self.instance, {}))


class Answer(NamedTuple):
    """What a call gave."""

    world: World
    text: str
    """As the package's own runner spells it; the checker compares these."""
    error: str | None
    """Why nothing was done; None where the call was carried out, whatever it says."""


class World:
    """The APIs of one episode.

    Args:
        kept: class name to its object.
    """

    def __init__(self, kept: Mapping[str, Kept]) -> None:
        self.kept = kept

    @property
    def apis(self) -> tuple[str, ...]:
        """Which are there."""
        return tuple(self.kept)

    @cached_property
    def key(self) -> str:
        """Equal for worlds that behave alike from here on."""
        return digest({api: kept.key for api, kept in self.kept.items()})

    @property
    def instances(self) -> dict[str, Any]:
        """The objects themselves, to read and not to call."""
        return {api: kept.instance for api, kept in self.kept.items()}

    def call(self, tool: str, arguments: JsonObject) -> Answer:
        """Call a function of one of the APIs on a copy.

        What answers with an `error` and changed nothing was refused; what raised was refused
        too, and what it had changed by then is dropped.
        """
        api = package.owners()[tool]
        instance = pickle.loads(self.kept[api].pickled)
        try:
            given: Any = getattr(instance, tool)(**copy.deepcopy(arguments))
        except Exception as error:  # the package's code, on arguments of any kind
            text = f"Error during execution: {error}"
            return Answer(self, text, text)
        text = _spell(given)
        pickled = pickle.dumps(instance, protocol=5)
        # Most calls of a search change nothing, and equal bytes show that much the fastest;
        # other bytes may still mean the same.
        if pickled == self.kept[api].pickled:
            return Answer(self, text, _error(given))
        after = Kept(instance, pickled)
        if after.key == self.kept[api].key:
            return Answer(self, text, _error(given))
        try:
            _ = after.attributes
        except RecursionError:
            return Answer(self, text, f"{tool} would put a folder into itself.")
        return Answer(World({**self.kept, api: after}), text, None)


def load(apis: Sequence[str], scenarios: Mapping[str, JsonObject], *, long: bool) -> World:
    """The world that scenarios describe; an API without one starts as the package has it."""
    kept: dict[str, Kept] = {}
    for api in apis:
        instance = package.api_class(api)()
        if api != package.STATELESS:
            scenario = copy.deepcopy(scenarios.get(api, {}))
            instance._load_scenario(scenario, long_context=long)
        # A copy, since what was loaded may share parts with the package's own tables.
        instance = pickle.loads(pickle.dumps(instance, protocol=5))
        kept[api] = Kept(instance, pickle.dumps(instance, protocol=5))
    return World(kept)


def plain(value: Any) -> JsonValue:
    """A Python value of the package as JSON."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dict():
            rows = cast("dict[object, object]", value)
            return {str(key): plain(inner) for key, inner in rows.items()}
        case list() | tuple():
            return [plain(inner) for inner in cast("Sequence[object]", value)]
        case set() | frozenset():
            members = cast("set[object]", value)
            return sorted((plain(inner) for inner in members), key=repr)
        case _ if hasattr(value, "contents"):
            inside = cast("dict[str, object]", value.contents)
            return {name: plain(inner) for name, inner in inside.items()}
        case _:
            return str(value.content) if hasattr(value, "content") else repr(value)


def _graph(value: Any, seen: dict[int, int]) -> JsonValue:
    """A value as JSON that tells it from every other, what is one object in two places too.

    The package copies and moves folders by sharing what is in them, so that two file systems
    that look alike may still go different ways.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, random.Random):
        return digest(repr(value.getstate()))
    known = seen.get(id(value))
    if known is not None:
        return [known]
    seen[id(value)] = len(seen)
    if isinstance(value, dict):
        pairs = cast("dict[object, object]", value).items()
        return {"dict": [[_graph(k, seen), _graph(v, seen)] for k, v in pairs]}
    if isinstance(value, list | tuple):
        return {"list": [_graph(inner, seen) for inner in cast("Sequence[object]", value)]}
    if isinstance(value, set | frozenset):
        return {"set": [*sorted(repr(inner) for inner in cast("set[object]", value))]}
    parts = cast("dict[str, object]", vars(cast("object", value)))
    fields = ((name, inner) for name, inner in parts.items() if name not in UNREAD)
    return {"of": [[name, _graph(inner, seen)] for name, inner in fields]}


def path_of(folder: Any) -> str:
    """Where a folder is, from the top."""
    names: list[str] = []
    while folder is not None:
        names.append(str(folder.name))
        folder = folder.parent
    return "/" + "/".join(reversed(names))


def _spell(given: object) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, dict):
        try:
            return json.dumps(given)
        except (TypeError, ValueError):
            return str(cast("object", given))
    return str(given)


def _error(given: object) -> str | None:
    """The sentence with which a call was refused; a mere number there is what was found."""
    why = cast("dict[str, object]", given).get("error") if isinstance(given, dict) else None
    return why if isinstance(why, str) and why else None
