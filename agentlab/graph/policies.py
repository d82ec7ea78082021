"""From `policy:NAME` in a config to the weights that serve it now.

A run is pinned to one version before anything of it is written: its config then says
`policy:NAME@VERSION`, so that a run that is resumed after a promotion still asks what it began
with, and a reader of the record knows what was asked. Where the server is stands in the records
alone, since it may come back at another address.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from agentlab.config import ModelConfig, PracticeConfig
from agentlab.errors import UsageError
from agentlab.models.routes import POLICY, Route
from agentlab.models.vocabulary import Vocabulary, read_vocabulary
from agentlab.records import Records
from agentlab.records.leases import held

BASE = "base"
"""What a policy is pinned to while the base model serves it."""
_ROLES = ("proposer", "executor", "evaluator", "stronger", "curator")


def pinned(records: Records, config: PracticeConfig) -> PracticeConfig:
    """The config with each policy pinned to the version that serves it now.

    Raises:
        UnknownNameError: there is no such policy, or no such version of it.
    """
    update: dict[str, object] = {}
    if config.model.startswith(f"{POLICY}:"):
        update["model"] = _pin(records, config.model)
    roles = {
        name: own.model_copy(update={"model": _pin(records, own.model)})
        for name in _ROLES
        if (own := getattr(config.roles, name)).model.startswith(f"{POLICY}:")
    }
    if roles:
        update["roles"] = config.roles.model_copy(update=roles)
    return config.model_copy(update=update) if update else config


@contextmanager
def routed(records: Records, config: PracticeConfig) -> Generator[dict[str, Route]]:
    """Where the requests of a pinned config's policies go; nothing is unloaded in the block.

    Raises:
        UsageError: no server is known for one of them.
        UnknownNameError: there is no such policy, or no such version of it.
    """
    names = {config.model, *(getattr(config.roles, role).model for role in _ROLES)}
    wanted = sorted(name.partition(":")[2] for name in names if name.startswith(f"{POLICY}:"))
    routes = {name: route_of(records, name) for name in wanted}
    with held(records.workspace, (route.adapter or "" for route in routes.values())):
        yield routes


def route_of(records: Records, pinned_name: str) -> Route:
    """Where the requests of `NAME@VERSION` go, or of `NAME` as it serves now.

    Raises:
        UsageError: no server is known for it.
        UnknownNameError: there is no such policy, or no such version of it.
    """
    name, _, version = pinned_name.partition("@")
    policy = records.policies.get(name)
    adapter = "" if version == BASE else version or records.policies.current(name)
    if adapter:
        _check(records, name, adapter)
    if not policy.base_url:
        raise UsageError(
            f"No server is known for the policy {name!r}; start one and say where it is with "
            f"`agentlab serving register {name} --base-url URL`."
        )
    return Route(adapter or policy.base_model, policy.base_url, adapter or None, policy.base_path)


def about_of(config: PracticeConfig, spec: str) -> ModelConfig:
    """What the user said of a model; what is said of a policy holds for each of its versions."""
    said = config.models.get(spec)
    if said is None and spec.startswith(f"{POLICY}:"):
        said = config.models.get(spec.partition("@")[0])
    return said or ModelConfig()


def vocabulary_of(about: ModelConfig, route: Route | None) -> Vocabulary | None:
    """The tokenizer that a model's calls are checked with; of a policy, that of its base.

    Raises:
        ConfigError: a folder is named that holds none.
    """
    if about.tokenizer:
        return read_vocabulary(Path(about.tokenizer))
    base = Path(route.base_path) if route is not None and route.base_path else None
    if base is None or not (base / "tokenizer.json").is_file():
        return None
    return read_vocabulary(base)


def _pin(records: Records, spec: str) -> str:
    name, _, version = spec.partition(":")[2].partition("@")
    records.policies.get(name)
    if version and version != BASE:
        _check(records, name, version)
    return f"{POLICY}:{name}@{version or records.policies.current(name) or BASE}"


def _check(records: Records, policy: str, version: str) -> None:
    found = records.policies.version(version)
    if found.policy != policy:
        raise UsageError(
            f"{version!r} is a version of the policy {found.policy!r} and not of {policy!r}; write "
            f"'{POLICY}:{found.policy}@{version}'."
        )
