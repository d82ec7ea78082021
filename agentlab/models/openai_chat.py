"""A chat model behind an endpoint that speaks the OpenAI protocol.

One request is one request here: retries, pauses, limits and meters are wrappers around this. The
exception is what the endpoint does not take, which is asked again in the other way at once: a
schema for the reply (then the model is told it) and the name of the token limit. What was
refused is remembered in `Habits`, which every model at the endpoint shares.
"""

from __future__ import annotations

from typing import cast

from agentlab.models.faults import RefusedRequestError
from agentlab.models.openai_client import ChatEndpoint
from agentlab.models.replies import read_reply, read_stream
from agentlab.models.wire import MaxTokens, request_body
from agentlab.types import ChatReply, ChatRequest, JsonObject, Message

_OPENAI = "api.openai.com"
_REFUSALS = frozenset({400, 422})


class Habits:
    """What is known of how an endpoint likes to be asked, by model."""

    def __init__(self, host: str) -> None:
        self._limit: MaxTokens = "max_completion_tokens" if host == _OPENAI else "max_tokens"
        self._limits: dict[str, MaxTokens] = {}
        self._without_schema: set[str] = set()

    def limit(self, model: str) -> MaxTokens:
        """What it calls the limit on a reply's tokens."""
        return self._limits.get(model, self._limit)

    def turn_limit(self, model: str) -> bool:
        """Use the other name from now on; False where that was done before."""
        if model in self._limits:
            return False
        other = "max_completion_tokens" if self._limit == "max_tokens" else "max_tokens"
        self._limits[model] = other
        return True

    def takes_schema(self, model: str) -> bool:
        """Whether it can be asked to hold a reply to a schema."""
        return model not in self._without_schema

    def refuse_schema(self, model: str) -> None:
        """Remember that it cannot."""
        self._without_schema.add(model)


class OpenAIChat:
    """Implements `protocols.ChatModel` over HTTP.

    Args:
        name: as the run's config names it, such as `openai:gpt-5`.
        model: the endpoint's name for it.
        endpoint: where it is.
        habits: shared by the models of the endpoint.
        stream: have the reply sent in parts. It is read whole all the same; it helps where
            something on the way ends connections that stay silent.
    """

    def __init__(
        self,
        name: str,
        *,
        model: str,
        endpoint: ChatEndpoint,
        habits: Habits | None = None,
        stream: bool = False,
    ) -> None:
        self._name = name
        self._model = model
        self._endpoint = endpoint
        self._habits = habits or Habits(endpoint.host)
        self._stream = stream

    def __repr__(self) -> str:
        """Without the key."""
        return f"OpenAIChat({self._name!r}, {self._endpoint.url!r})"

    @property
    def name(self) -> str:
        """As configured."""
        return self._name

    async def chat(self, request: ChatRequest) -> ChatReply:
        """One reply.

        Raises:
            PassingFaultError: no answer, one that says to come again, or one that is no reply.
            RefusedRequestError: the endpoint does not take the request.
        """
        habits, model = self._habits, self._model
        schema = habits.takes_schema(model)
        try:
            return await self._ask(request, schema=schema, limit=habits.limit(model))
        except RefusedRequestError as refusal:
            if refusal.status not in _REFUSALS:
                raise
            turned = "max_completion_tokens" in str(refusal) and habits.turn_limit(model)
            if not turned and (request.reply_schema is None or not schema):
                raise
            first = refusal
        if turned:
            return await self.chat(request)
        try:
            reply = await self._ask(request, schema=False, limit=habits.limit(model))
        except RefusedRequestError:
            # It was not the schema: what was said about the request as it was meant is told.
            raise first from None
        habits.refuse_schema(model)
        return reply

    async def _ask(self, request: ChatRequest, *, schema: bool, limit: MaxTokens) -> ChatReply:
        body = request_body(request, schema=schema, max_tokens=limit)
        # A secret that a tool showed is not told to the endpoint either.
        body = cast("JsonObject", self._endpoint.redactor.json(body))
        if self._stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        received = self._redacted(await self._endpoint.post(self._model, body))
        what = f"The endpoint {self._endpoint.url!r} failed at chat with {self._model!r}"
        reply = (read_stream if self._stream else read_reply)(received, request, what)
        # Once more when escapes are read and the parts of a stream are joined.
        spelt = reply.message.model_dump(mode="json")
        clean = self._endpoint.redactor.json(spelt)
        if clean == spelt:
            return reply
        return reply.model_copy(update={"message": Message.model_validate(clean)})

    def _redacted(self, received: bytes) -> bytes:
        """Without the key, which a server may repeat."""
        text = received.decode("utf-8", "surrogateescape")
        return self._endpoint.redactor.text(text).encode("utf-8", "surrogateescape")
