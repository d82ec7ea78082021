"""A chat model behind an endpoint that speaks the OpenAI protocol.

One request is one request here: retries, pauses, limits and meters are wrappers around this. The
exception is what the endpoint does not take, which is asked again in the other way at once: a
schema for the reply (then the model is told it), pictures (then it is told that there were some)
and the name of the token limit. What was refused is remembered in `Habits`, which every model at
the endpoint shares.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from agentlab.models.faults import RefusedRequestError
from agentlab.models.openai_client import ChatEndpoint
from agentlab.models.replies import read_reply, read_stream
from agentlab.models.wire import MaxTokens, request_body, unseen
from agentlab.types import ChatReply, ChatRequest, JsonObject, Message

_OPENAI = "api.openai.com"
_REFUSALS = frozenset({400, 422})


class Habits:
    """What is known of how an endpoint likes to be asked, by model."""

    def __init__(self, host: str) -> None:
        self._limit: MaxTokens = "max_completion_tokens" if host == _OPENAI else "max_tokens"
        self._limits: dict[str, MaxTokens] = {}
        self._without_schema: set[str] = set()
        self._without_pictures: set[str] = set()

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

    def takes_pictures(self, model: str) -> bool:
        """Whether it can be shown pictures, as far as is known."""
        return model not in self._without_pictures

    def refuse_pictures(self, model: str) -> None:
        """Remember that it cannot."""
        self._without_pictures.add(model)


class _Way(NamedTuple):
    """What of a request an endpoint is asked to take as it is."""

    schema: bool
    pictures: bool


def _ways(wanted: _Way) -> list[_Way]:
    """The way that is wanted, then those without what the endpoint may not take."""
    fewer = (
        wanted,
        wanted._replace(pictures=False),
        wanted._replace(schema=False),
        _Way(schema=False, pictures=False),
    )
    return list(dict.fromkeys(fewer))


class OpenAIChat:
    """Implements `protocols.ChatModel` over HTTP.

    Args:
        name: as the run's config names it, such as `openai:gpt-5`.
        model: the endpoint's name for it.
        endpoint: where it is.
        habits: shared by the models of the endpoint.
        stream: have the reply sent in parts. It is read whole all the same; it helps where
            something on the way ends connections that stay silent.
        schemas: whether the endpoint may hold replies to a schema; else the model is told it.
            What a grammar drew cannot be trained on by ratio.
        cache_salt: keeps what vLLM remembers of prompts apart for each salt; empty sends none.
    """

    def __init__(
        self,
        name: str,
        *,
        model: str,
        endpoint: ChatEndpoint,
        habits: Habits | None = None,
        stream: bool = False,
        schemas: bool = True,
        cache_salt: str = "",
    ) -> None:
        self._schemas = schemas
        self._name = name
        self._model = model
        self._endpoint = endpoint
        self._habits = habits or Habits(endpoint.host)
        self._stream = stream
        self._salt = cache_salt

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
        asked = request.reply_schema is not None
        schema = asked and self._schemas and habits.takes_schema(model)
        pictures = unseen(request) > 0 and habits.takes_pictures(model)
        first: RefusedRequestError | None = None
        for way in _ways(_Way(schema, pictures)):
            try:
                reply = await self._ask(request, way, limit=habits.limit(model))
            except RefusedRequestError as refusal:
                if first is None and refusal.status not in _REFUSALS:
                    raise
                turned = "max_completion_tokens" in str(refusal) and first is None
                if turned and habits.turn_limit(model):
                    return await self.chat(request)
                first = first or refusal
                continue
            if schema and not way.schema:
                habits.refuse_schema(model)
            if pictures and not way.pictures:
                habits.refuse_pictures(model)
            return reply.model_copy(update={"constrained": way.schema}) if asked else reply
        assert first is not None
        # What was said about the request as it was meant is told.
        raise first

    async def _ask(self, request: ChatRequest, way: _Way, *, limit: MaxTokens) -> ChatReply:
        body = request_body(request, schema=way.schema, pictures=way.pictures, max_tokens=limit)
        # A secret that a tool showed is not told to the endpoint either.
        body = cast("JsonObject", self._endpoint.redactor.json(body))
        if self._salt:
            body["cache_salt"] = self._salt
        if self._stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        received = self._redacted(await self._endpoint.post(self._model, body))
        what = f"The endpoint {self._endpoint.url!r} failed at chat with {self._model!r}"
        reply = (read_stream if self._stream else read_reply)(received, request, what)
        # Once more when escapes are read and the parts of a stream are joined.
        if not way.pictures and unseen(request):
            reply = reply.model_copy(update={"pictures_unseen": unseen(request)})
        spelt = reply.message.model_dump(mode="json")
        clean = self._endpoint.redactor.json(spelt)
        if clean == spelt:
            return reply
        return reply.model_copy(update={"message": Message.model_validate(clean)})

    def _redacted(self, received: bytes) -> bytes:
        """Without the key, which a server may repeat."""
        text = received.decode("utf-8", "surrogateescape")
        return self._endpoint.redactor.text(text).encode("utf-8", "surrogateescape")
