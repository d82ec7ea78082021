"""The recording proxy: an endpoint whose address says whose calls they are.

    POST /r/{rollout}/a/{attempt}/v1/chat/completions    passed on, recorded, answered
    GET  /r/{rollout}/a/{attempt}/v1/models              passed on
    POST /r/{rollout}/a/{attempt}/end                    {"reward": 1.0, …}: the attempt is over;
                                                         with the header x-end-key
    GET  /health

Any agent that lets its base URL be set can be recorded so, without a change to it. Upstream is
asked for whole replies with token ids and log-probabilities, whatever the agent asked for; the
agent is given what it asked for, streams made anew included. Its key is passed to nobody and
written nowhere: upstream gets the one that this process was given.

Agent and scorer share the address, and an agent that has tools can post as well as anybody. So an
attempt is ended only with a key, which the agent is not given.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Iterator
from typing import cast

from pydantic import JsonValue, ValidationError

from agentlab.errors import AgentLabError
from agentlab.models.faults import PassingFaultError, RefusedRequestError
from agentlab.models.openai_client import ChatEndpoint
from agentlab.models.recorded import Recorded
from agentlab.models.redaction import Redactor, environment_secrets
from agentlab.models.replies import read_reply
from agentlab.models.vocabulary import Vocabulary
from agentlab.models.wire import UNBENT
from agentlab.serve.recorded_runs import Ending, Place, RecordedRun
from agentlab.testing.model_server.connection import (
    MAX_HEADERS,
    Answer,
    Events,
    HttpError,
    HttpRequest,
    Whole,
    json_answer,
    read_request,
    write_answer,
)
from agentlab.testing.model_server.wire import WireError, error_body, read_chat
from agentlab.types import ChatReply, ChatRequest, JsonObject

_PLACE = re.compile(r"/r/([A-Za-z0-9][\w.-]{0,63})/a/([A-Za-z0-9][\w.-]{0,63})(/.*)")
END_KEY = "x-end-key"
IDLE_SECONDS = 120.0
"""That a connection may take to bring its next request; then it is closed, and whoever held it
opens another."""
ASKED: JsonObject = {"logprobs": True, "return_token_ids": True}
"""What upstream is asked for besides."""
PLAIN: JsonObject = {"temperature": 1.0, "top_p": 1.0}
"""What is said where the agent says nothing, beside `UNBENT` where upstream gives ids: servers take
it from the model's own files otherwise, which often truncate."""
_SETTINGS = (
    "top_k", "min_p", "typical_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
    "logit_bias", "tool_choice", "guided_json", "guided_regex", "guided_choice", "guided_grammar",
    "structured_outputs", "allowed_token_ids", "bad_words",
)  # fmt: skip
"""Settings that we have no field for, and that say whether a reply can be trained on."""


class RecordingProxy:
    """Answers an agent's requests and records them.

    Args:
        run: where they are kept.
        upstream: the endpoint.
        terms: under which its output may be trained on.
        vocabulary: of the model, to check ids with.
        plain: whether `PLAIN` is said where the agent says nothing.
        end_key: with which attempts are ended; one is drawn where none is given.
    """

    def __init__(
        self,
        run: RecordedRun,
        upstream: ChatEndpoint,
        *,
        terms: str | None = None,
        vocabulary: Vocabulary | None = None,
        plain: bool = True,
        end_key: str = "",
    ) -> None:
        self.end_key = end_key or secrets.token_urlsafe(18)
        self._run = run
        self._upstream = upstream
        self._terms = terms
        self._vocabulary = vocabulary
        self._plain = plain
        self._gives_ids = True
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> int:
        """Listen on 127.0.0.1; the port.

        Raises:
            OSError: the port is taken.
        """
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", port, limit=MAX_HEADERS)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening; requests under way are broken off."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._talks):
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        await self._upstream.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._talks.add(task)
        try:
            while True:
                try:
                    async with asyncio.timeout(IDLE_SECONDS):
                        request = await read_request(reader)
                except HttpError as error:
                    await write_answer(_refusal(str(error), error.status), reader, writer)
                    return
                except TimeoutError:
                    return
                if request is None:
                    return
                answer = await self.answer(request)
                if not await write_answer(answer, reader, writer) or not request.keeps_alive:
                    return
        except ConnectionError:
            pass  # the agent has gone: nobody is left to tell
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._talks.discard(task)
            writer.close()

    async def answer(self, request: HttpRequest) -> Answer:
        """The answer to one request."""
        if request.path == "/health":
            return json_answer({"status": "ok", "run": self._run.run_id})
        if "origin" in request.headers:
            # Browsers say so of every page that posts, and no page is to spend the key or to end
            # an attempt; agents are no pages.
            return _refusal("Pages in a browser are not answered here.", 403)
        found = _PLACE.fullmatch(request.path)
        if found is None:
            return _refusal(
                "Name rollout and attempt in the address: /r/ROLLOUT/a/ATTEMPT/v1, each of at most "
                "64 letters, digits, '.', '_' and '-'.",
                404,
            )
        place, path = Place(found[1], found[2]), found[3]
        try:
            match request.method, path:
                case "POST", "/v1/chat/completions":
                    return await self._chat(place, request)
                case "GET", "/v1/models":
                    return await self._models()
                case "POST", "/end":
                    return self._end(place, request)
                case _:
                    return _refusal(f"There is nothing at {path!r}.", 404)
        except RefusedRequestError as error:
            return _refusal(str(error), error.status if 400 <= error.status < 500 else 502)
        except PassingFaultError as error:
            return _refusal(str(error), 502)
        except AgentLabError as error:
            return _refusal(str(error), 500)

    async def _models(self) -> Answer:
        names = await self._upstream.models()
        listed: list[JsonValue] = [{"id": name, "object": "model"} for name in names]
        return json_answer({"object": "list", "data": listed})

    def _end(self, place: Place, request: HttpRequest) -> Answer:
        key = request.headers.get(END_KEY, "")
        if not secrets.compare_digest(key.encode(), self.end_key.encode()):
            return _refusal(
                "Whoever scores an attempt ends it, and not the agent: send the key that "
                f"`agentlab record` printed, as the header {END_KEY}.",
                403,
            )
        try:
            ending = Ending.model_validate_json(request.body or b"{}")
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            return _refusal(f"The end of an attempt cannot be read at {where!r}: {first['msg']}.")
        fresh = self._run.end(place, ending)
        if not fresh and not self._run.ended_as(place, ending):
            return _refusal("The attempt is on record with another end, which stays.", 409)
        return json_answer({"attempt_id": self._run.attempt_id(place), "recorded": fresh})

    async def _chat(self, place: Place, request: HttpRequest) -> Answer:
        if self._run.has_ended(place):
            return _refusal("The attempt has ended; name another in the address.", 409)
        try:
            body = _object(request.body)
            model = body["model"]
            assert isinstance(model, str)
        except (ValueError, TypeError, KeyError, AssertionError, RecursionError):
            return _refusal("The body is no JSON object with a 'model'.")
        if body.get("n") not in (None, 1):
            return _refusal("One choice is recorded for each call; leave 'n' out.")
        sent = {k: v for k, v in body.items() if k not in ("model", "stream", "stream_options")}
        if self._plain:
            ours = {*PLAIN, *UNBENT}
            sent = {**PLAIN, **{k: v for k, v in sent.items() if k not in ours or v is not None}}
        received = await self._post(model, sent)
        if self._run.has_ended(place):
            # On record as it was without this call, so what came back of it changes nothing.
            return _refusal("The attempt ended before the endpoint answered.", 409)
        try:
            asked = read_chat(json.dumps({"model": model, **sent}).encode()).request
        except WireError as error:
            # The agent is served all the same; its attempt is marked, and never exported.
            self._run.lose(place, str(error))
        else:
            self._keep(place, request, model, sent, asked, received)
        return _answer(body, received)

    async def _post(self, model: str, sent: JsonObject) -> bytes:
        """The whole answer of upstream, with ids where it gives any."""
        extra = {**(UNBENT if self._plain else {}), **sent, **ASKED} if self._gives_ids else {}
        try:
            received = await self._upstream.post(model, extra or sent)
        except RefusedRequestError as error:
            if not extra or error.status not in (400, 422):
                raise
            received = await self._upstream.post(model, sent)
            # Refused with what we asked for and taken without: it knows no ids.
            self._gives_ids = False
        return self._upstream.redactor.text(received.decode("utf-8", "surrogateescape")).encode(
            "utf-8", "surrogateescape"
        )

    def _keep(
        self,
        place: Place,
        request: HttpRequest,
        model: str,
        sent: JsonObject,
        asked: ChatRequest,
        received: bytes,
    ) -> None:
        reply = read_reply(received, asked, f"The endpoint {self._upstream.url!r}")
        schema = asked.reply_schema is not None
        if schema:
            reply = reply.model_copy(update={"constrained": True})
        shown = request.headers.get("authorization", "").rpartition(" ")[2]
        recorder = Recorded(
            _Answered(f"openai:{model}", reply),
            role="executor",
            terms=self._terms,
            vocabulary=self._vocabulary,
            redactor=Redactor([shown, *environment_secrets()]),
        )
        # The settings are the agent's, those included that we have no field for.
        settings = {name: sent[name] for name in _SETTINGS if sent.get(name) is not None}
        call = recorder.record(asked, reply)
        call = call.model_copy(update={"sampling": {**call.sampling, **settings}})
        self._run.add(place, call)


def _object(body: bytes) -> JsonObject:
    """A request as it can be passed on.

    Raises:
        ValueError: it is no JSON, or holds what cannot be said again: `NaN`, half a character.
    """
    found = cast("JsonObject", json.loads(body))
    json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    return found


class _Answered:
    """A chat model that has answered already. Implements `protocols.ChatModel`."""

    def __init__(self, name: str, reply: ChatReply) -> None:
        self.name = name
        self._reply = reply

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The reply that was given."""
        return self._reply


def _refusal(told: str, status: int = 400) -> Whole:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return json_answer(error_body(told, kind=kind), status)


def _answer(body: JsonObject, received: bytes) -> Answer:
    """The answer as the agent asked for it: whole or streamed, without what it did not ask for."""
    whole = cast("JsonObject", json.loads(received.decode("utf-8", "replace")))
    choices = cast("list[JsonObject]", whole.get("choices") or [])
    if not body.get("return_token_ids"):
        whole.pop("prompt_token_ids", None)
        for choice in choices:
            choice.pop("token_ids", None)
    if not body.get("logprobs"):
        for choice in choices:
            choice["logprobs"] = None
    if not body.get("stream"):
        return json_answer(whole)
    options = body.get("stream_options")
    usage = isinstance(options, dict) and bool(options.get("include_usage"))
    events = [b"data: " + json.dumps(part).encode() + b"\n\n" for part in _chunks(whole, usage)]
    return Events((*events, b"data: [DONE]\n\n"))


def _chunks(whole: JsonObject, usage: bool) -> Iterator[JsonObject]:
    """A whole answer as the chunks of a stream: its role, its words, its calls, its end."""
    kept = ("id", "created", "model", "system_fingerprint")
    head: JsonObject = {name: whole[name] for name in kept if name in whole}
    head["object"] = "chat.completion.chunk"
    choices = cast("list[JsonObject]", whole.get("choices") or [{}])
    choice = choices[0]
    message = cast("JsonObject", choice.get("message") or {})

    def chunk(delta: JsonObject, **more: JsonValue) -> JsonObject:
        return {
            **head,
            "choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}],
            **({"usage": None} if usage else {}),
        }

    first = chunk({"role": "assistant", "content": ""})
    if "prompt_token_ids" in whole:
        first["prompt_token_ids"] = whole["prompt_token_ids"]
    yield first
    said: JsonObject = {
        name: value
        for name, value in message.items()
        if name not in ("role", "tool_calls") and value is not None
    }
    drawn: JsonObject = {
        name: choice[name] for name in ("logprobs", "token_ids") if choice.get(name) is not None
    }
    if said or drawn:
        yield chunk(said, **drawn)
    calls = cast("list[JsonObject]", message.get("tool_calls") or [])
    for index, call in enumerate(calls):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    yield chunk({}, finish_reason=choice.get("finish_reason"))
    if usage:
        yield {**head, "choices": [], "usage": whole.get("usage")}
