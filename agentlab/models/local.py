"""A chat model that runs here: `local:<folder>`, with transformers (extra `local`).

It is for small models, tests and machines without a server: one reply at a time. It loads a
folder and nothing else, never downloads, and never runs code that lies in the folder.

Tool calls are read in Hermes' form (`hermes`). The schema of a reply is told to the model
and not enforced. Log-probabilities are those of the model itself, before temperature and top-p
(vLLM calls that `raw_logprobs`); prompts are put together by the folder's own chat template.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

from agentlab.errors import ConfigError, MissingExtraError, ModelFaultError
from agentlab.models.faults import RefusedRequestError
from agentlab.models.hermes import OPEN, read_written
from agentlab.models.vocabulary import Vocabulary, read_vocabulary
from agentlab.models.wire import request_body, unseen, wire_names
from agentlab.types import (
    ChatReply,
    ChatRequest,
    JsonObject,
    Message,
    Sampling,
    ToolUse,
    derive_seed,
)


def open_local(spec: str, folder: Path, *, seed: int = 0, device: str = "cpu") -> LocalModel:
    """Load a model.

    Args:
        spec: as the run's config names it.
        folder: with weights, tokenizer and chat template as transformers saves them.
        seed: of the draws where a request has none.
        device: such as `cpu` or `cuda`.

    Raises:
        MissingExtraError: transformers or torch is not installed.
        ConfigError: there is no such model in the folder, or it has no chat template.
    """
    try:
        torch = cast("Any", importlib.import_module("torch"))
        library = cast("Any", importlib.import_module("transformers"))
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"The model {spec!r}", "local") from error
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {str(folder)!r} for the model {spec!r}; name one.")
    try:
        options = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = library.AutoTokenizer.from_pretrained(folder, **options)
        model = library.AutoModelForCausalLM.from_pretrained(folder, **options)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"The folder {str(folder)!r} holds no model that can be loaded: {error}"
        ) from None
    if not tokenizer.chat_template:
        raise ConfigError(
            f"The model in {str(folder)!r} has no chat template; take a model made for chat."
        )
    found = LocalModel(spec, torch, tokenizer, model.to(device).eval(), seed=seed)
    with suppress(ConfigError):  # a slow tokenizer has no tokenizer.json; then nothing is said
        found.vocabulary = read_vocabulary(folder)
    return found


class _Drawn(NamedTuple):
    prompt: list[int]
    output: list[int]
    log_probabilities: list[float]


class LocalModel:
    """Implements `protocols.ChatModel` on this machine; made by `open_local`."""

    def __init__(self, spec: str, torch: Any, tokenizer: Any, model: Any, *, seed: int) -> None:
        self._spec = spec
        self._torch = torch
        self._tokenizer = tokenizer
        self._model = model
        self._seed = seed
        self._turn = asyncio.Lock()
        self.vocabulary: Vocabulary | None = None
        """Of the folder, whose digests go with each reply."""

    @property
    def name(self) -> str:
        """As configured."""
        return self._spec

    async def chat(self, request: ChatRequest) -> ChatReply:
        """One reply; the same for the same request and seed on the same machine.

        Raises:
            RefusedRequestError: the prompt leaves no room for a reply.
            ModelFaultError: the chat template does not take the request.
        """
        # Draws come from a shared generator, so one at a time; and not in the event loop.
        async with self._turn:
            drawn = await asyncio.to_thread(self._generate, request)
        text = cast("str", self._tokenizer.decode(drawn.output, skip_special_tokens=True))
        cut = [text.find(stop) for stop in request.sampling.stop if stop and stop in text]
        text = text[: min(cut)] if cut else text
        message = read_calls(text, request)
        full = len(drawn.output) >= request.sampling.max_tokens and not cut
        ended = bool(drawn.output) and drawn.output[-1] in self._ends()
        reason = "tool_calls" if message.tool_uses else "stop"
        sampling = request.sampling
        return ChatReply(
            message=message,
            stop_reason="length" if full and not ended else reason,
            model=self._spec,
            prompt_tokens=len(drawn.prompt),
            output_tokens=len(drawn.output),
            pictures_unseen=unseen(request),
            prompt_token_ids=tuple(drawn.prompt) if sampling.token_ids else None,
            output_token_ids=tuple(drawn.output) if sampling.token_ids else None,
            log_probabilities=tuple(drawn.log_probabilities) if sampling.logprobs else None,
            constrained=False if request.reply_schema is not None else None,
            # What is said was decoded from what was drawn.
            ids_verified=True if sampling.token_ids else None,
            tokenizer_sha256=self.vocabulary.tokenizer_sha256 if self.vocabulary else None,
            chat_template_sha256=self.vocabulary.chat_template_sha256 if self.vocabulary else None,
        )

    def _generate(self, request: ChatRequest) -> _Drawn:
        prompt = self._prompt(request)
        sampling = request.sampling
        room = getattr(self._model.config, "max_position_embeddings", None)
        most = sampling.max_tokens if room is None else min(sampling.max_tokens, room - len(prompt))
        if most < 1:
            raise RefusedRequestError(
                f"The prompt has {len(prompt)} tokens, and the model {self._spec!r} takes "
                f"{room}; shorten it.",
                status=400,
            )
        torch = self._torch
        inputs = torch.tensor([prompt], device=self._model.device)
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        # Draws are made alone, and leave the generator as it was for everybody else.
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            torch.manual_seed(self._seed_of(request))
            made = self._model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=most,
                output_logits=True,
                return_dict_in_generate=True,
                pad_token_id=min(self._ends(), default=0),
                **self._draws(sampling),
            )
        output = cast("list[int]", made.sequences[0, len(prompt) :].tolist())
        logits = torch.stack([step[0] for step in made.logits]).float()
        chosen = torch.log_softmax(logits, dim=-1)[range(len(output)), output]
        return _Drawn(prompt, output, cast("list[float]", chosen.tolist()))

    def _prompt(self, request: ChatRequest) -> list[int]:
        body = request_body(request, schema=False, pictures=False)
        messages = [_for_template(each) for each in cast("list[JsonObject]", body["messages"])]
        try:
            text = self._tokenizer.apply_chat_template(
                messages,
                tools=body.get("tools"),
                add_generation_prompt=True,
                tokenize=False,
            )
        except Exception as error:  # a template is a program of the model's makers
            raise ModelFaultError(
                f"The chat template of {self._spec!r} does not take the request: {error}"
            ) from None
        return cast("list[int]", self._tokenizer.encode(text, add_special_tokens=False))

    def _draws(self, sampling: Sampling) -> dict[str, object]:
        options: dict[str, object] = {}
        if sampling.stop:
            options |= {"stop_strings": list(sampling.stop), "tokenizer": self._tokenizer}
        if sampling.temperature == 0:
            return options | {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        # What is not asked for is off, whatever the folder's own settings say: a reply that was
        # drawn from all tokens can be trained on.
        return options | {
            "do_sample": True,
            "temperature": 1.0 if sampling.temperature is None else sampling.temperature,
            "top_p": 1.0 if sampling.top_p is None else sampling.top_p,
            "top_k": 0,
        }

    def _seed_of(self, request: ChatRequest) -> int:
        if request.sampling.seed is not None:
            return request.sampling.seed
        return derive_seed(self._seed, "local", request.model_dump(mode="json"))

    def _ends(self) -> set[int]:
        ends = self._model.generation_config.eos_token_id
        if ends is None:
            ends = self._tokenizer.eos_token_id
        if ends is None:
            return set()
        return set(cast("list[int]", ends if isinstance(ends, list) else [ends]))


def read_calls(text: str, request: ChatRequest) -> Message:
    """The message in a text with tool calls in Hermes' form.

    A call that is no JSON is kept as a call without a name, for whoever carries it out to refuse.
    Without tools in the request a text is a text.
    """
    if not request.tools or OPEN not in text:
        return Message(role="assistant", text=text)
    real = {wire: name for name, wire in wire_names(request.tools).items()}
    written = read_written(text)
    uses = tuple(
        ToolUse(id=f"call_{place}", name=real.get(name, name), arguments=arguments)
        for place, (name, arguments) in enumerate(written.calls)
    )
    return Message(role="assistant", text=written.text, tool_uses=uses)


def _for_template(message: JsonObject) -> JsonObject:
    """Templates take arguments as an object, where the protocol has them as text."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    parsed: list[Any] = []
    for call in cast("list[dict[str, Any]]", calls):
        function = call["function"]
        parsed.append(
            {**call, "function": {**function, "arguments": json.loads(function["arguments"])}}
        )
    return {**message, "tool_calls": parsed}
