"""What is settled before a run's first attempt: that it may begin, its number, its circumstances.

A run that would have to break a promise (a budget of unknown prices, a key in the records) is
refused here, before anything of it is written. Nothing here works on the run; `run` does.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import NamedTuple, cast

from agentlab.config import PracticeConfig, RoleConfig
from agentlab.embeddings import uses_model
from agentlab.errors import ConfigError, RunInUseError, UsageError
from agentlab.graph.seats import ROLES, STRONGER
from agentlab.models.prices import load_prices
from agentlab.models.redaction import address_holds_secret, known, name_secret
from agentlab.records import Records, RunLock
from agentlab.records.files import replace_text
from agentlab.sandbox import SettledBox
from agentlab.types import JsonObject, digest

PACKAGES = ("agentlab-practice", "langgraph", "chromadb", "pydantic", "SQLAlchemy", "minigrid")
"""Whose versions a run writes down."""


def refuse_unknown_price(config: PracticeConfig) -> None:
    """Return, unless dollars are capped and something whose price is not known would spend them.

    Raises:
        UsageError: it would.
    """
    if config.budget.usd is not None and uses_model(config.embedder):
        raise UsageError(
            f"The price of the embedder {config.embedder!r} is not known, so a budget in US "
            "dollars cannot be kept: leave the budget out, give one in tokens, or use the "
            "embedder 'lexical'."
        )
    prices = load_prices(config.endpoint.prices or None)
    for role in (*ROLES, STRONGER):
        own: RoleConfig = getattr(config.roles, role)
        spec = config.chat_model(role)
        if spec and (config.budget.usd is not None or own.usd is not None):
            prices.require(spec)


def refuse_secrets(config: PracticeConfig) -> None:
    """Return, unless the config holds a key: it is recorded.

    Raises:
        ConfigError: it does; does not repeat it.
    """
    name_secret(config.endpoint.key_variable)
    if address_holds_secret(config.endpoint.base_url):
        raise ConfigError(
            "The address of the model endpoint in 'endpoint.base_url' holds a password or key, "
            "which would be recorded; take it out, put it into an environment variable and name "
            "that in 'endpoint.key_variable'."
        )
    for name, value in cast("JsonObject", config.model_dump(mode="json")).items():
        if known().json(value) != value:
            raise ConfigError(
                f"{name!r} of the config holds the value of a secret environment variable, which "
                "would be recorded; take it out there."
            )


class Begun(NamedTuple):
    """A run that is on record and claimed for this process."""

    run_id: str
    lock: RunLock


def begin(
    records: Records, run_id: str, config: JsonObject, versions: JsonObject, seed: int
) -> Begun:
    """Record a new run under the first number that no other process has taken."""
    for name in _numbered(run_id, digest(config)[:8]):
        try:
            lock = records.workspace.lock_run(name)
        except RunInUseError:
            continue
        try:
            if records.runs.create(name, config=config, versions=versions, seed=seed):
                return Begun(name, lock)
        except BaseException:
            lock.close()
            raise
        lock.close()
    raise AssertionError("there is always another number")


def run_id_of(records: Records, name: str, seed: int, config: JsonObject) -> str:
    """The same for the same config, with a number where the workspace has it already."""
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
    base = f"{safe}-{seed}-{digest(config)[:8]}"
    known = set(records.runs.ids())
    run_id, number = base, 2
    while run_id in known:
        run_id, number = f"{base}-{number}", number + 1
    return run_id


def _numbered(run_id: str, mark: str) -> Iterator[str]:
    """The id, then the same with the numbers above its own; `mark` ends what is no number."""
    stem, found, number = run_id.rpartition(f"{mark}-")
    first, base = 1, run_id
    if found and number.isdecimal():
        first, base = int(number), f"{stem}{mark}"
    yield run_id
    for following in count(first + 1):
        yield f"{base}-{following}"


def write_down(directory: Path, config: JsonObject, versions: JsonObject) -> None:
    """Put config and versions into a run's directory, for people to read."""
    for name, content in (("config.json", config), ("versions.json", versions)):
        text = json.dumps(content, indent=2, sort_keys=True)
        replace_text(directory / name, text + "\n")


def package_versions(box: SettledBox) -> JsonObject:
    """The versions that a run's numbers rest on, and where its skill code ran."""
    versions: JsonObject = {"python": platform.python_version(), "box": str(box)}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def cores(concurrency: int) -> int:
    """Worker processes for a concurrency; 0 means one a core."""
    return min(concurrency, os.cpu_count() or 1) if concurrency else os.cpu_count() or 1
