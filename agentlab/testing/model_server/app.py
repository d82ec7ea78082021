"""What the server answers to each address, and what it counts.

One thread, one loop: counters need no lock. A rule is called in it, so a rule that is slow makes
everyone wait; the injected latency is slept and makes nobody else wait.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from email.utils import formatdate
from hashlib import blake2b

from pydantic import Field, ValidationError

from agentlab.models.scripted import Rule
from agentlab.testing.model_server.completion import (
    CREATED,
    Completion,
    Reply,
    as_reply,
    chunks,
    complete,
    whole,
)
from agentlab.testing.model_server.connection import (
    Answer,
    Events,
    HttpRequest,
    Silence,
    Whole,
    json_answer,
)
from agentlab.testing.model_server.faults import (
    RAW_BYTE,
    Failure,
    FaultPlan,
    Faults,
    lied,
    malformed,
)
from agentlab.testing.model_server.vectors import answer_embeddings
from agentlab.testing.model_server.wire import Asked, WireError, error_body, read_chat
from agentlab.types import ChatRequest, Frozen

CHAT, EMBEDDINGS, MODELS = "/v1/chat/completions", "/v1/embeddings", "/v1/models"
COUNTERS, FAULTS = "/test/counters", "/test/faults"
KEPT_REQUESTS = 10_000
_RAW = json.dumps(RAW_BYTE)[1:-1].encode()


class Counters(Frozen):
    """What has happened since the start, or since the counters were last set back."""

    requests: int = 0
    """That reached an address of the protocol, faulty or not."""
    chat: int = 0
    embeddings: int = 0
    distinct: int = 0
    """Different contents among them."""
    served: int = 0
    """Completions and embeddings that were answered in full."""
    refused: int = 0
    """Requests that break the protocol (status 4xx other than 429)."""
    refusals: tuple[str, ...] = ()
    """The first of their reasons."""
    rule_errors: int = 0
    """Times that the rule raised."""
    failures: dict[str, int] = Field(default_factory=dict)
    """By their kind; `outage` is one of them."""
    distortions: dict[str, int] = Field(default_factory=dict)
    """Lies about usage and malformed calls, by their kind."""
    most_tries: int = 0
    """How often the most asked content, or call, was asked."""
    in_flight: int = 0
    most_in_flight: int = 0
    prompt_tokens: int = 0
    """Of what was served, as they are and not as they were told."""
    output_tokens: int = 0
    connections: int = 0


class App:
    """Answers requests by a rule. See `server.ModelServer` for the arguments."""

    def __init__(
        self,
        rule: Rule,
        *,
        faults: FaultPlan,
        latency: float,
        models: Sequence[str],
        key: str | None,
        schemas: bool,
        pictures: bool,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._rule = rule
        self._faults = Faults(faults)
        self._latency = latency
        self._models = tuple(models)
        self._key = key
        self._schemas = schemas
        self._pictures = pictures
        self._clock, self._wall = clock, wall
        self._began = clock()
        self.seen: deque[ChatRequest] = deque(maxlen=KEPT_REQUESTS)
        self.connections = 0
        self._in_flight = self._most_in_flight = 0
        self._refusals: list[str] = []
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._distortions: Counter[str] = Counter()
        self._contents: set[str] = set()

    def counters(self) -> Counters:
        """The counters now."""
        names = ("requests", "chat", "embeddings", "served", "refused", "rule_errors")
        return Counters.model_validate(
            {name: self._counts[name] for name in (*names, "prompt_tokens", "output_tokens")}
            | {
                "distinct": len(self._contents),
                "refusals": tuple(self._refusals),
                "failures": dict(sorted(self._failures.items())),
                "distortions": dict(sorted(self._distortions.items())),
                "most_tries": self._faults.most_tries,
                "in_flight": self._in_flight,
                "most_in_flight": self._most_in_flight,
                "connections": self.connections,
            }
        )

    def plan(self, faults: FaultPlan) -> None:
        """Follow another plan from now on; tries are counted afresh, outages from now."""
        self._faults = Faults(faults)
        self._began = self._clock()

    async def answer(self, request: HttpRequest) -> Answer:
        """The answer to one request."""
        match request.method, request.path:
            case "GET", "/test/counters":
                return Whole(self.counters().model_dump_json().encode())
            case "POST", "/test/faults":
                return self._replan(request.body)
            case ("GET", "/v1/models") | ("POST", "/v1/chat/completions" | "/v1/embeddings"):
                pass
            case _, _:
                return self._elsewhere(request)
        self._counts["requests"] += 1
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)
        try:
            return await self._serve(request)
        except WireError as error:
            return self._refusal(error)
        finally:
            self._in_flight -= 1

    async def _serve(self, request: HttpRequest) -> Answer:
        if self._key is not None:
            if request.headers.get("authorization") != f"Bearer {self._key}":
                raise WireError("Incorrect API key provided.", status=401, code="invalid_api_key")
        if self._faults.down(self._clock() - self._began):
            self._failures["outage"] += 1
            return json_answer(error_body("The server is down.", kind="server_error"), 503)
        if request.path == MODELS:
            return self._list_models()
        asked = None
        if request.path == CHAT:
            self._counts["chat"] += 1
            asked = read_chat(request.body, schemas=self._schemas, pictures=self._pictures)
            self.seen.append(asked.request)
        else:
            self._counts["embeddings"] += 1
        content = blake2b(request.path.encode() + request.body, digest_size=16).hexdigest()
        self._contents.add(content)
        failure = self._faults.failure(
            f"{content} {request.headers.get('idempotency-key', '')}".strip()
        )
        if self._latency:
            await asyncio.sleep(self._latency)
        if failure is not None:
            self._failures[failure] += 1
        early = self._fail_early(failure)
        if early is not None:
            return early
        return self._body(request.body, asked, content, failure)

    def _body(
        self, body: bytes, asked: Asked | None, content: str, failure: Failure | None
    ) -> Answer:
        if asked is None:
            told, count = answer_embeddings(body)
            answer: Whole | Events = json_answer(told)
            tokens = (count, 0)
        else:
            try:
                said = self._distorted(self._say(asked), asked.request, content)
            except Exception as error:
                self._counts["rule_errors"] += 1
                told = error_body(f"The rule raised {error!r}.", kind="rule_error")
                return json_answer(told, 500)
            completion = complete(asked, said, content)
            tokens = (len(completion.prompt), len(completion.output))
            answer = _encoded(self._told_usage(completion, content))
        if failure == "cut":
            return replace(answer, cut=True)
        if failure == "malformed":
            return _broken(answer)
        self._counts["served"] += 1
        self._counts["prompt_tokens"] += tokens[0]
        self._counts["output_tokens"] += tokens[1]
        return answer

    def _say(self, asked: Asked) -> Reply:
        """What is replied; a server of several models asks the one that is named."""
        return self._rule(asked.request)

    def _elsewhere(self, request: HttpRequest) -> Answer:
        """The answer at an address that is not of the protocol."""
        return self._refusal(
            WireError(f"There is no {request.method} {request.path} here.", status=404)
        )

    def _fail_early(self, failure: Failure | None) -> Answer | None:
        """A failure that needs no reply; None for one that spoils a reply, and for none."""
        plan = self._faults.plan
        wait = math.ceil(plan.retry_after)
        busy = error_body("Rate limit reached.", kind="requests", code="rate_limit_exceeded")
        match failure:
            case "429":
                return json_answer(busy, 429)
            case "429-seconds":
                return json_answer(busy, 429, Retry_After=str(wait))
            case "429-date":
                date = formatdate(math.ceil(self._wall()) + wait, usegmt=True)
                return json_answer(busy, 429, Retry_After=date)
            case "500":
                return json_answer(error_body("It broke.", kind="server_error"), 500)
            case "503":
                return json_answer(error_body("Overloaded.", kind="server_error"), 503)
            case "timeout":
                return Silence(plan.hang)
            case "hangup":
                return Silence(0)
            case _:
                return None

    def _distorted(self, said: Reply, request: ChatRequest, content: str) -> Reply:
        reply = as_reply(said)
        uses = reply.message.tool_uses
        kind = self._faults.bad_call(content) if uses else None
        if kind is None:
            return reply
        self._distortions[kind] += 1
        first = malformed(uses[0], kind, request, self._faults.plan.seed)
        message = reply.message.model_copy(update={"tool_uses": (first, *uses[1:])})
        return reply.model_copy(update={"message": message})

    def _told_usage(self, completion: Completion, content: str) -> Completion:
        lie = self._faults.usage_lie(content)
        if lie is None or completion.usage is None:
            return completion
        self._distortions[lie] += 1
        return replace(completion, usage=lied(completion.usage, lie))

    def _list_models(self) -> Whole:
        return json_answer(
            {
                "object": "list",
                "data": [
                    {"id": name, "object": "model", "created": CREATED, "owned_by": "agentlab"}
                    for name in self._models
                ],
            }
        )

    def _replan(self, body: bytes) -> Whole:
        try:
            self.plan(FaultPlan.model_validate_json(body))
        except ValidationError as error:
            return self._refusal(WireError(f"No plan of faults: {error}."))
        return Whole(self._faults.plan.model_dump_json().encode())

    def _refusal(self, error: WireError) -> Whole:
        self._counts["refused"] += 1
        if len(self._refusals) < 20:
            self._refusals.append(str(error)[:500])
        return json_answer(error.body, error.status)


def _encoded(completion: Completion) -> Whole | Events:
    if not completion.asked.stream:
        return Whole(_bytes(whole(completion)))
    lines = [b"data: " + _bytes(chunk) + b"\n\n" for chunk in chunks(completion)]
    return Events((*lines, b"data: [DONE]\n\n"))


def _bytes(body: object) -> bytes:
    return json.dumps(body).encode().replace(_RAW, b"\xff")


def _broken(answer: Whole | Events) -> Whole | Events:
    """The answer, whole in length and no JSON: a proxy's page, or a chunk that lacks its end."""
    if isinstance(answer, Whole):
        return Whole(answer.body[: len(answer.body) // 2])
    events = answer.events
    middle = len(events) // 2
    spoilt = events[middle][: len(events[middle]) // 2].rstrip() + b"\n\n"
    return Events((*events[:middle], spoilt, *events[middle + 1 :]))
