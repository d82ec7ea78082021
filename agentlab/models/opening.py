"""From a model's name in a config, such as `openai:gpt-5`, to a chat model.

What models at one endpoint share (connections, how many requests at a time, whether it is down,
what it refuses) is in `Endpoints`, one for a run; so two roles that ask one endpoint are one
customer to it.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from agentlab.errors import ConfigError, UnknownNameError, UsageError
from agentlab.models.circuit import Circuit, Circuited, Pause
from agentlab.models.limits import AT_ONCE, Gate, Limited
from agentlab.models.retrying import FIRST, Retrying, Sleep
from agentlab.models.routes import POLICY, Route
from agentlab.models.sampled import Sampled
from agentlab.models.scripted import Rule, ScriptedModel, load_script
from agentlab.protocols import ChatModel
from agentlab.types import Sampling

if TYPE_CHECKING:
    from agentlab.models.openai_chat import Habits
    from agentlab.models.openai_client import Address, ChatEndpoint

# What imports openai is imported where an endpoint is opened: a run without one does not load it.

KINDS = ("openai", "vllm", "local", "policy", "scripted")
_GIVES_IDS = frozenset({"vllm", "local", "policy"})


class _Shared:
    """What the models at one endpoint share."""

    def __init__(
        self, endpoint: ChatEndpoint, habits: Habits, gate: Gate, circuit: Circuit
    ) -> None:
        self.endpoint = endpoint
        self.habits = habits
        self.gate = gate
        self.circuit = circuit


class Endpoints:
    """The endpoints of a run. For one event loop; close it there.

    Args:
        at_once: requests under way at each endpoint.
        timeout: seconds until an answer must have arrived whole.
        pause: told when the run pauses because an endpoint is down, and when it goes on.
        proven: whether the endpoints answered before, as in a run that is resumed; see `Circuit`.
        first_retry: seconds of the first pause before a request is tried again.
        sleep: waits between tries.
        routes: where policies' requests go, by what follows `policy:`.
        circuit: makes an endpoint's circuit; tests inject one with a clock of their own.
    """

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        timeout: float = 300.0,
        pause: Pause | None = None,
        proven: bool = False,
        first_retry: float = FIRST,
        sleep: Sleep = asyncio.sleep,
        routes: Mapping[str, Route] | None = None,
        circuit: Callable[[], Circuit] | None = None,
    ) -> None:
        self._at_once = at_once
        self._timeout = timeout
        self._circuit = circuit or (lambda: Circuit(proven=proven, pause=pause))
        self.first_retry = first_retry
        self.sleep = sleep
        self._shared: dict[Hashable, _Shared] = {}
        self._routes = dict(routes or {})

    def at(self, address: Address) -> _Shared:
        """What is shared at an address; made when first asked for."""
        from agentlab.models.openai_chat import Habits
        from agentlab.models.openai_client import ChatEndpoint

        key = tuple(address)  # two keys at one URL are two customers
        if key not in self._shared:
            endpoint = ChatEndpoint(address, timeout=self._timeout)
            self._shared[key] = _Shared(
                endpoint, Habits(endpoint.host), Gate(self._at_once), self._circuit()
            )
        return self._shared[key]

    def route(self, policy: str) -> Route:
        """Where a policy's requests go.

        Raises:
            ConfigError: nobody said.
        """
        found = self._routes.get(policy)
        if found is None:
            raise ConfigError(
                f"The policy {policy!r} is served by nothing that is known here; register it with "
                "`agentlab serving register`, or name a model."
            )
        return found

    @property
    def paused_seconds(self) -> float:
        """Seconds that calls waited for endpoints that were down; the longest of them."""
        return max((each.circuit.paused_seconds for each in self._shared.values()), default=0.0)

    async def close(self) -> None:
        """Close all connections. Safe to call twice."""
        for each in self._shared.values():
            await each.endpoint.close()


def open_model(
    spec: str,
    *,
    base_url: str | None = None,
    key: str | None = None,
    key_variable: str = "OPENAI_API_KEY",
    sampling: Sampling | None = None,
    seed: int = 0,
    endpoints: Endpoints | None = None,
    stream: bool = False,
    schemas: bool = True,
) -> ChatModel:
    """A chat model that retries, keeps to its endpoint's limits and waits out its outages.

    Args:
        spec: `openai:<model>` or `vllm:<model>` (the same protocol; vLLM is asked for token ids
            and log-probabilities too), `policy:<name>` (asked like vLLM, where `endpoints` routes
            it), `local:<folder>`, `scripted:<file.json>` or
            `scripted:<module>:<rule>`.
        base_url: the endpoint, else `OPENAI_BASE_URL`.
        key: else `OPENAI_API_KEY`.
        key_variable: where `key` was read, for errors.
        sampling: what the user set; see `Sampled`. Where calls are metered or recorded, put
            `sampling_for` around meter and record too, so that they see what is sent.
        seed: of the draws that spread pauses, and of a local model's where a request has none.
        endpoints: what is shared with other models of the run; its own where None, and then
            nothing closes its connections but the end of the process.
        stream: have replies sent in parts.
        schemas: whether an endpoint may hold replies to a schema.

    Raises:
        UnknownNameError: there is no such kind of model.
        ConfigError: no endpoint is named, or a file cannot be read.
        MissingExtraError: a local model needs the extra `local`.
    """
    kind, _, name = spec.partition(":")
    if kind not in KINDS:
        raise UnknownNameError("kind of model", kind, KINDS)
    if not name:
        raise UsageError(f"The model {spec!r} has no name; write it as in '{kind}:NAME'.")
    if kind == "scripted":
        model = _scripted(name)
    elif kind == "local":
        model = _local(spec, name, seed)
    else:
        from agentlab.models.openai_chat import OpenAIChat
        from agentlab.models.openai_client import find_address

        shared_by = endpoints or Endpoints()
        asked, salt = name, ""
        if kind == POLICY:
            route = shared_by.route(name)
            asked, base_url, salt = route.model, route.base_url, route.salt
        shared = shared_by.at(find_address(base_url, key, variable=key_variable))
        chat = OpenAIChat(
            spec,
            model=asked,
            endpoint=shared.endpoint,
            habits=shared.habits,
            stream=stream,
            schemas=schemas,
            cache_salt=salt,
        )
        retrying = Retrying(
            Limited(chat, shared.gate),
            seed=seed,
            first=shared_by.first_retry,
            sleep=shared_by.sleep,
        )
        model = Circuited(retrying, shared.circuit)
    return Sampled(model, sampling_for(spec, sampling), unsaid_for(spec))


def sampling_for(spec: str, sampling: Sampling | None = None) -> Sampling:
    """What a model is to be asked with: the user's settings, and those of its kind.

    Token ids and log-probabilities are asked of `vllm:`, `policy:` and `local:`, which have them,
    unless the user said otherwise: what is not recorded cannot be trained on.
    """
    own = sampling or Sampling()
    if spec.partition(":")[0] not in _GIVES_IDS:
        return own
    asked = {"logprobs": True, "token_ids": True}
    return Sampling.model_validate(asked | own.model_dump(exclude_unset=True))


def unsaid_for(spec: str) -> Sampling:
    """What is said to a model of that kind where neither user nor strategy says it.

    vLLM takes what is left out from the model's `generation_config.json`, which often truncates;
    what was drawn like that cannot be trained on by ratio, so the plain draw is asked for in so
    many words. What there is no setting for here (top_k and the like) `wire.UNBENT` says.
    """
    if spec.partition(":")[0] not in _GIVES_IDS:
        return Sampling()
    return Sampling(temperature=1.0, top_p=1.0)


def _scripted(name: str) -> ChatModel:
    if name.endswith(".json") or ":" not in name:
        return load_script(Path(name))
    module, _, attribute = name.partition(":")
    try:
        rule: object = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"The script {name!r} cannot be imported: {error}.") from None
    if not callable(rule):
        raise ConfigError(f"The script {name!r} is no function; name one that replies.")
    return ScriptedModel(cast("Rule", rule), f"scripted:{name}")


def _local(spec: str, folder: str, seed: int) -> ChatModel:
    # Here and not above: it needs torch, which most installations lack.
    from agentlab.models.local import open_local

    return open_local(spec, Path(folder), seed=seed)
