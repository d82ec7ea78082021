"""A server of one base model and its adapters that speaks vLLM's protocol and answers by rules.

It is the model server of `testing.model_server` with what vLLM has besides: `/health`, adapters
that are loaded and unloaded at run time, completions over token ids with the log-probabilities of
a prompt. Routes, statuses and error objects are vLLM's (0.11 and later:
`vllm/entrypoints/openai/models/serving.py`), so what passes here is meant to pass there; `make
test-vllm` asks the same of the real one.

Which rule answers depends on the weights alone: a rule is chosen by the folder of the adapter and
sees the request, never a task's answer. Its log-probabilities are numbers derived from the bytes
of the weights and from the tokens, so that they are the same for the same weights, differ for
others, and no model's. **No claim of learning rests on it.**
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from agentlab.errors import AgentLabError
from agentlab.models.scripted import Rule
from agentlab.testing.model_server import ModelServer
from agentlab.testing.model_server.app import App
from agentlab.testing.model_server.completion import CREATED, Reply
from agentlab.testing.model_server.connection import Answer, HttpRequest, Whole, json_answer
from agentlab.testing.model_server.wire import Asked, WireError
from agentlab.training.adapters import WEIGHTS, check_safetensors
from agentlab.types import JsonObject, canonical_json, derive_uniform

BASE_WEIGHTS = "base"
"""What the base model's log-probabilities are derived from."""
VOCABULARY = 50_000
RuleOf = Callable[[Path | None], Rule]
"""The rule of an adapter's folder; None is the base model."""


def log_probability(weights: str, before: Sequence[int], token: int) -> float:
    """How likely a token is, under weights of that hash, after others: in [-4, 0)."""
    base = -3.0 * (1.0 - derive_uniform("log-probability", list(before), token)) - 1e-6
    if weights == BASE_WEIGHTS:
        return base
    return base - derive_uniform("adapter", weights, list(before), token)


def probed(weights: str, prompt: Sequence[int], output: Sequence[int]) -> list[float]:
    """The log-probabilities of an output's tokens, as the server gives them."""
    whole = [*prompt, *output]
    return [
        log_probability(weights, whole[:place], whole[place])
        for place in range(len(prompt), len(whole))
    ]


@dataclass(frozen=True)
class _Loaded:
    folder: Path
    weights: str
    rule: Rule


_LET_IN: ContextVar[_Loaded | None] = ContextVar("weights of the request", default=None)


class AdapterApp(App):
    """Answers for a base model and its adapters."""

    base_name = "base"
    base_root = ""
    slots = 8
    """Adapters that fit."""
    runtime = True
    """False is a vLLM that was started without VLLM_ALLOW_RUNTIME_LORA_UPDATING."""
    serves_base_as = ""
    """An adapter name under which the base answers: what a liveness proof must notice."""
    rule_of: RuleOf | None = None

    def __init__(self, rule: Rule, **rest: object) -> None:
        super().__init__(rule, **rest)  # pyright: ignore[reportArgumentType] - the same as App's
        self.loaded: dict[str, _Loaded] = {}
        self.asked_of: list[str] = []
        """The model of each chat request, in the order of arrival."""
        self.salts: set[tuple[str, str]] = set()
        """Model and `cache_salt` of what was asked."""

    async def answer(self, request: HttpRequest) -> Answer:
        """The answer to one request."""
        try:
            match request.method, request.path:
                case "GET", "/health":
                    return Whole(b"")
                case "GET", "/v1/models":
                    return self._cards()
                case "POST", "/v1/completions":
                    return self._complete(_object(request.body))
                case "POST", "/v1/load_lora_adapter" if self.runtime:
                    return self._load(_object(request.body))
                case "POST", "/v1/unload_lora_adapter" if self.runtime:
                    return self._unload(_object(request.body))
                case "POST", "/v1/chat/completions":
                    body = _object(request.body)
                    model = str(body.get("model"))
                    self._known(model)
                    _LET_IN.set(self.loaded.get(model))
                    self.asked_of.append(model)
                    self.salts.add((model, str(body.get("cache_salt", ""))))
                case _:
                    pass
        except WireError as error:
            return _refused(error)
        return await super().answer(request)

    def _say(self, asked: Asked) -> Reply:
        # A request that was let in is answered by the weights that it named, even if they are
        # unloaded while it waits.
        loaded = _LET_IN.get()
        return loaded.rule(asked.request) if loaded else super()._say(asked)

    def _elsewhere(self, request: HttpRequest) -> Answer:
        return Whole(b'{"detail":"Not Found"}', 404)

    def _known(self, model: str) -> None:
        if model != self.base_name and model not in self.loaded:
            raise WireError(
                f"The model `{model}` does not exist.", status=404, code="NotFoundError"
            )

    def _cards(self) -> Whole:
        def card(name: str, root: str, parent: str | None) -> JsonObject:
            return {
                "id": name,
                "object": "model",
                "created": CREATED,
                "owned_by": "vllm",
                "root": root,
                "parent": parent,
            }

        cards: list[JsonValue] = [card(self.base_name, self.base_root, None)]
        cards += [card(n, str(each.folder), self.base_name) for n, each in self.loaded.items()]
        return json_answer({"object": "list", "data": cards})

    def _load(self, body: JsonObject) -> Whole:
        name, place = body.get("lora_name"), body.get("lora_path")
        if not isinstance(name, str) or not isinstance(place, str) or not name or not place:
            raise WireError(
                "Both 'lora_name' and 'lora_path' must be provided.", code="InvalidUserInput"
            )
        if name in self.loaded:
            raise WireError(
                f"The lora adapter '{name}' has already been loaded. If you want to load the "
                "adapter in place, set 'load_inplace' to True.",
                code="InvalidUserInput",
            )
        folder = Path(place)
        weights = folder / WEIGHTS
        if not (folder / "adapter_config.json").is_file() or not weights.is_file():
            raise WireError(
                f"Loading lora {name} failed: No adapter found for {place}",
                status=404,
                code="NotFoundError",
            )
        try:
            check_safetensors(weights, folder)
        except AgentLabError as error:
            raise WireError(
                f"Error while deserializing: {error}", status=500, code="InternalServerError"
            ) from None
        if len(self.loaded) >= self.slots:
            raise WireError(f"Loading lora {name} failed: no free slot", code="BadRequestError")
        rule = self.rule_of(folder) if self.rule_of is not None else self._rule
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        hollow = name == self.serves_base_as
        self.loaded[name] = _Loaded(folder, BASE_WEIGHTS if hollow else digest, rule)
        return Whole(f"Success: LoRA adapter '{name}' added successfully.".encode())

    def _unload(self, body: JsonObject) -> Whole:
        name = body.get("lora_name")
        if not isinstance(name, str) or not name:
            raise WireError(
                "'lora_name' needs to be provided to unload a LoRA adapter.",
                code="InvalidUserInput",
            )
        if name not in self.loaded:
            raise WireError(
                f"The lora adapter '{name}' cannot be found.", status=404, code="NotFoundError"
            )
        del self.loaded[name]
        return Whole(f"Success: LoRA adapter '{name}' removed successfully.".encode())

    def _complete(self, body: JsonObject) -> Whole:
        model = str(body.get("model"))
        self._known(model)
        prompt = body.get("prompt")
        ids = [x for x in prompt if isinstance(x, int)] if isinstance(prompt, list) else [1]
        if not ids or any(not 0 <= token < VOCABULARY for token in ids):
            raise WireError("Token id is out of vocabulary.", code="BadRequestError")
        weights = self.loaded[model].weights if model in self.loaded else BASE_WEIGHTS
        choice: JsonObject = {"index": 0, "text": "a", "logprobs": None, "finish_reason": "length"}
        if body.get("prompt_logprobs") is not None:
            told: list[JsonValue] = [None]
            for place in range(1, len(ids)):
                number = log_probability(weights, ids[:place], ids[place])
                entry: JsonObject = {"logprob": number, "rank": 1, "decoded_token": "a"}
                told.append({str(ids[place]): entry})
            choice["prompt_logprobs"] = told
        usage: JsonObject = {
            "prompt_tokens": len(ids),
            "completion_tokens": 1,
            "total_tokens": len(ids) + 1,
        }
        name = canonical_json(body)
        return json_answer(
            {
                "id": f"cmpl-{hashlib.sha256(name.encode()).hexdigest()[:16]}",
                "object": "text_completion",
                "created": CREATED,
                "model": model,
                "choices": [choice],
                "usage": usage,
            }
        )


class AdapterServer(ModelServer):
    """A base model and its adapters on this machine; use it as a context manager.

    Args:
        rule_of: the rule that answers for an adapter's folder; None is the base.
        base_name: what the base is called.
        base: the folder of the base model, as `/v1/models` tells it.
        runtime: whether adapters can be loaded while it runs.
        latency: seconds before each answer.
        port: 0 finds a free one.
    """

    _made = AdapterApp

    def __init__(
        self,
        rule_of: RuleOf,
        *,
        base: Path,
        base_name: str = "base",
        runtime: bool = True,
        latency: float = 0.0,
        port: int = 0,
    ) -> None:
        super().__init__(rule_of(None), latency=latency, port=port)
        app = self.app
        app.base_name, app.base_root = base_name, str(base)
        app.runtime, app.rule_of = runtime, rule_of

    @property
    def app(self) -> AdapterApp:
        """What answers; look at it from the server's own thread, or when it rests."""
        return cast("AdapterApp", self._app)

    def served(self) -> tuple[str, ...]:
        """The adapters that are loaded."""
        return self._ask(lambda: tuple(self.app.loaded))

    def asked_of(self) -> tuple[str, ...]:
        """The model of each chat request so far."""
        return self._ask(lambda: tuple(self.app.asked_of))

    def hollow(self, name: str) -> None:
        """Answer as the base does under that adapter's name, once it is loaded."""
        self._ask(lambda: setattr(self.app, "serves_base_as", name))


def write_adapter(
    folder: Path,
    *,
    base: Path,
    weights: bytes,
    number: int = 1,
    config: JsonObject | None = None,
) -> str:
    """An adapter's folder as a trainer leaves it, whose probes are those of `AdapterServer`.

    Args:
        folder: where; made.
        base: the folder of the base model, made by `write_base`.
        weights: what tells these weights from others.
        number: of the version, in its name.
        config: more of `adapter_config.json`, for a rule to read.

    Returns:
        The adapter's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(safetensors(weights))
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    told: JsonObject = {"peft_type": "LORA", "r": 4, **(config or {})}
    (folder / "adapter_config.json").write_text(json.dumps(told), encoding="utf-8")
    name = f"lab-v{number:04d}-{digest[:8]}"
    prompts = (([11, 12, 13], [21, 22, 23, 24]), ([31, 32], [41, 42, 43]))
    base_digest = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    template = (base / "chat_template.jinja").read_bytes()
    manifest: JsonObject = {
        "schema": 1,
        "name": name,
        "kind": "adapter",
        "base": {"path": str(base), "weights_sha256": base_digest, "config_sha256": ""},
        "tokenizer_sha256": "",
        "chat_template_sha256": hashlib.sha256(template).hexdigest(),
        "weights_sha256": digest,
        "trainer": "none",
        "trainer_versions": {},
        "seed": 0,
        "data": [],
        "steps": 1,
        "started_from": None,
        "probe": [
            {
                "prompt_ids": cast("list[JsonValue]", prompt),
                "output_ids": cast("list[JsonValue]", output),
                "base_logprobs": cast("list[JsonValue]", probed(BASE_WEIGHTS, prompt, output)),
                "trained_logprobs": cast("list[JsonValue]", probed(digest, prompt, output)),
            }
            for prompt, output in prompts
        ],
    }
    (folder / "agentlab.json").write_text(json.dumps(manifest), encoding="utf-8")
    return name


def write_base(folder: Path, weights: bytes = b"base", template: str = "{{ messages }}") -> Path:
    """A base model's folder: files that can be compared, and nothing that could be run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(safetensors(weights))
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def safetensors(data: bytes) -> bytes:
    """A file of weights with one tensor of these bytes."""
    tensor: JsonObject = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
    header = json.dumps({"weights": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + data


def _object(body: bytes) -> JsonObject:
    try:
        found: object = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise WireError("The body is no JSON object.", code="BadRequestError")
    return cast("JsonObject", found)


def _refused(error: WireError) -> Whole:
    """An error object as vLLM has it: the code is the status, the type a name."""
    told: JsonObject = {
        "message": str(error),
        "type": error.code or "BadRequestError",
        "param": None,
        "code": error.status,
    }
    return json_answer({"error": told}, error.status)
