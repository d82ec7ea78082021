"""Keeps every call of an attempt as the record that trajectories hold and training reads."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import cast

from agentlab.events import ModelAnswered, is_watched, show
from agentlab.models.counting import counted
from agentlab.models.prices import Price
from agentlab.models.redaction import Redactor, environment_secrets
from agentlab.models.replies import spells
from agentlab.models.vocabulary import Vocabulary
from agentlab.models.wire import tool_body, wire_names
from agentlab.protocols import ChatModel
from agentlab.types import (
    ChatReply,
    ChatRequest,
    JsonObject,
    ModelCall,
    Role,
    ToolSpec,
    Usage,
    digest,
)
from agentlab.version import __version__

ADAPTER = re.compile(r"lab-v\d{4,}-[0-9a-f]{8}")
"""How adapters are named that were trained here: a name never stands for other weights."""

_APART = {
    "prompt_token_ids",
    "output_token_ids",
    "log_probabilities",
    "ids_verified",
    "tokenizer_sha256",
    "chat_template_sha256",
    "constrained",
}
"""Parts of a reply that have a field of their own in the record."""


class Recorded:
    """A chat model that remembers its calls. One for each attempt, or other piece of work.

    Implements `protocols.ChatModel`. It stands outside of meter and cache. Token ids and
    log-probabilities are kept as the endpoint gave them; secrets of the environment are not kept.

    Args:
        model: asked.
        role: who asks.
        price: of the model; None where it is unknown, and then a call is recorded as 0 USD.
        adapter: name of the adapter that the model runs with.
        asked: what the endpoint is told that the model is called; by default what follows the
            model's kind in its name.
        library_version: of the library that the attempt was offered.
        terms: under which the model's output may be used.
        vocabulary: of the model, where its folder is known: what was drawn is checked with it.
        redactor: takes secrets out; by default those in the environment.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        role: Role,
        price: Price | None = None,
        adapter: str | None = None,
        asked: str | None = None,
        library_version: str | None = None,
        terms: str | None = None,
        vocabulary: Vocabulary | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self._model = model
        self._role: Role = role
        self._price = price
        self._adapter = adapter
        self._asked = asked
        self._library_version = library_version
        self._terms = terms
        self._vocabulary = vocabulary
        self._redactor = redactor or Redactor(environment_secrets())
        self._calls: dict[int, ModelCall] = {}
        self._begun = 0

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    @property
    def calls(self) -> tuple[ModelCall, ...]:
        """The answered calls, in the order in which they began."""
        return tuple(call for _, call in sorted(self._calls.items()))

    @property
    def usage(self) -> Usage:
        """Tokens and USD of those calls."""
        return Usage(
            tokens=sum(call.tokens for call in self._calls.values()),
            usd=sum(call.usd for call in self.calls),
        )

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The model's reply; calls that fail leave no record."""
        place = self._begun
        self._begun += 1
        began, clock = time.time(), time.perf_counter()
        reply = await self._model.chat(request)
        timed = {"began": began, "seconds": round(time.perf_counter() - clock, 6)}
        call = self.record(request, reply).model_copy(update=timed)
        self._calls[place] = call
        if is_watched():
            show(
                ModelAnswered(
                    run_id="",
                    role=self._role,
                    model=call.model,
                    text=reply.message.text,
                    tools=tuple(use.name for use in reply.message.tool_uses),
                    tokens=call.tokens,
                    usd=call.usd,
                )
            )
        return reply

    def record(self, request: ChatRequest, reply: ChatReply) -> ModelCall:
        """The record of a call, which is not remembered here."""
        tokens = counted(request, reply)
        sent = request.model_dump(mode="json", exclude={"sampling"}, exclude_defaults=True)
        if request.prompt is not None:
            # A name and a version are worth more by name than by place.
            sent["prompt"] = dict(request.prompt._asdict())
        received = reply.model_dump(mode="json", exclude=_APART)
        clean = cast("JsonObject", self._redactor.json(received))
        request_body = cast("JsonObject", self._redactor.json(sent))
        redacted = clean != received or request_body != sent
        tokens_kept = reply if not redacted else _without_tokens(reply)
        asked = self._asked or asked_name(self._model.name)
        known = self._vocabulary
        return ModelCall(
            model=reply.model or self._model.name,
            role=self._role,
            request=request_body,
            response=clean,
            prompt_token_ids=tokens_kept.prompt_token_ids,
            output_token_ids=tokens_kept.output_token_ids,
            log_probabilities=tokens_kept.log_probabilities,
            ids_verified=verified(request, tokens_kept, known),
            sampling=request.sampling.model_dump(mode="json"),
            prompt_hash=request.prompt.hash if request.prompt else None,
            policy_start=asked,
            policy_end=reply.model or asked,
            tokenizer_sha256=known.tokenizer_sha256 if known else reply.tokenizer_sha256,
            chat_template_sha256=known.chat_template_sha256
            if known
            else reply.chat_template_sha256,
            tools_sha256=_tools_hash(request.tools),
            constrained=reply.constrained,
            redacted=redacted,
            agentlab=__version__,
            adapter=self._adapter or (asked if ADAPTER.fullmatch(asked) else None),
            library_version=self._library_version,
            tokens=tokens.total,
            usd=self._price.usd(tokens) if self._price else 0.0,
            terms=self._terms,
        )


def asked_name(spec: str) -> str:
    """What an endpoint is told that a model is called: `vllm:m` is `m` there."""
    kind, colon, name = spec.partition(":")
    return name if colon and kind else spec


def verified(request: ChatRequest, reply: ChatReply, known: Vocabulary | None) -> bool | None:
    """Whether a reply's ids can be believed: by the tokenizer, else as the endpoint's own answer.

    With the tokenizer at hand, what was drawn must decode to what was said, and the prompt to
    what was asked last.
    """
    prompt, output, drawn = reply.prompt_token_ids, reply.output_token_ids, reply.log_probabilities
    if known is None or prompt is None or output is None:
        return reply.ids_verified
    said, asked = known.spelt(output), known.spelt(prompt)
    if said is None or asked is None:
        return reply.ids_verified
    names = wire_names(request.tools)
    calls = [(names.get(use.name, use.name), use.arguments) for use in reply.message.tool_uses]
    last = request.messages[-1].text if request.messages else ""
    fits = drawn is None or len(drawn) == len(output)
    return fits and spells(said, reply.message.text, calls) and spells(asked, last, [])


def _without_tokens(reply: ChatReply) -> ChatReply:
    gone = {"prompt_token_ids": None, "output_token_ids": None, "log_probabilities": None}
    return reply.model_copy(update={**gone, "ids_verified": None})


def _tools_hash(tools: Sequence[ToolSpec]) -> str | None:
    if not tools:
        return None
    names = wire_names(tools)
    return digest([tool_body(tool, names[tool.name]) for tool in tools])
