"""Keeps every call of an attempt as the record that trajectories hold and training reads."""

from __future__ import annotations

from typing import cast

from agentlab.models.counting import counted
from agentlab.models.prices import Price
from agentlab.models.redaction import Redactor, environment_secrets
from agentlab.protocols import ChatModel
from agentlab.types import ChatReply, ChatRequest, JsonObject, ModelCall, Role, Usage

_APART = {"prompt_token_ids", "output_token_ids", "log_probabilities"}
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
        library_version: of the library that the attempt was offered.
        terms: under which the model's output may be used.
        redactor: takes secrets out; by default those in the environment.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        role: Role,
        price: Price | None = None,
        adapter: str | None = None,
        library_version: str | None = None,
        terms: str | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self._model = model
        self._role: Role = role
        self._price = price
        self._adapter = adapter
        self._library_version = library_version
        self._terms = terms
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
        reply = await self._model.chat(request)
        self._calls[place] = self._record(request, reply)
        return reply

    def _record(self, request: ChatRequest, reply: ChatReply) -> ModelCall:
        tokens = counted(request, reply)
        sent = request.model_dump(mode="json", exclude={"sampling"}, exclude_defaults=True)
        if request.prompt is not None:
            # A name and a version are worth more by name than by place.
            sent["prompt"] = dict(request.prompt._asdict())
        received = reply.model_dump(mode="json", exclude=_APART)
        return ModelCall(
            model=reply.model or self._model.name,
            role=self._role,
            request=cast("JsonObject", self._redactor.json(sent)),
            response=cast("JsonObject", self._redactor.json(received)),
            prompt_token_ids=reply.prompt_token_ids,
            output_token_ids=reply.output_token_ids,
            log_probabilities=reply.log_probabilities,
            sampling=request.sampling.model_dump(mode="json"),
            prompt_hash=request.prompt.hash if request.prompt else None,
            adapter=self._adapter,
            library_version=self._library_version,
            tokens=tokens.total,
            usd=self._price.usd(tokens) if self._price else 0.0,
            terms=self._terms,
        )
