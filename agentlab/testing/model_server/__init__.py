"""A small server that speaks the OpenAI protocol and answers by rules, for tests and benchmarks.

It is a real server over a real socket, so that what is tested with it (retries, budgets, streams,
concurrency, records of calls) is tested as it will be used. A rule sees the request alone, never a
task's answer, and the faults that it meets are drawn from a seed. **No claim of learning rests on
it**: a rule that does better with advice was written to, and what it shows is that the advice got
there.

    with ModelServer(load_rule("courier"), faults=FaultPlan(rate=0.3)) as server:
        client = openai.AsyncOpenAI(base_url=server.base_url, api_key="none")
        ...
        assert server.counters().most_tries <= 5

`POST /v1/chat/completions` knows tools and parallel tool calls, `response_format` with a JSON
schema, stop, seed, streams, usage, log probabilities and vLLM's `return_token_ids`;
`POST /v1/embeddings` and `GET /v1/models` are there; `GET /test/counters` says what was counted,
and `POST /test/faults` takes another plan. Rules for each role ship in `agentlab.testing.rules`.
"""

from __future__ import annotations

from agentlab.models.scripted import Rule
from agentlab.testing.model_server.app import Counters
from agentlab.testing.model_server.completion import Reply
from agentlab.testing.model_server.faults import (
    BAD_CALLS,
    FAILURES,
    USAGE_LIES,
    BadCall,
    Failure,
    FaultPlan,
    UsageLie,
    malformed,
)
from agentlab.testing.model_server.server import ModelServer, ServerProcess, server_process

__all__ = [
    "BAD_CALLS",
    "FAILURES",
    "USAGE_LIES",
    "BadCall",
    "Counters",
    "Failure",
    "FaultPlan",
    "ModelServer",
    "Reply",
    "Rule",
    "ServerProcess",
    "UsageLie",
    "malformed",
    "server_process",
]
