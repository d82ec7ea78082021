"""What is said to a chat model and what it says: messages, requests, replies.

The shape is that of chat completions with native tool calls, which every endpoint that agentlab
talks to understands. A model's tool call keeps its arguments as the text that the model wrote:
whether that is JSON, names a known tool and fits its schema is for whoever carries it out.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from agentlab.types.base import Frozen, JsonObject
from agentlab.types.tool import ToolSpec

Speaker = Literal["system", "user", "assistant", "tool"]
StopReason = Literal["stop", "length", "tool_calls", "content_filter"]
Role = Literal["proposer", "executor", "evaluator", "curator"]


class ToolUse(Frozen):
    """A tool call as a model wrote it."""

    id: str
    name: str
    arguments: str
    """JSON text, unchecked."""


class Picture(Frozen):
    """A picture that is shown to a model: PNG, kept elsewhere under its digest.

    Its bytes go with a request and into no record.
    """

    digest: str
    data: bytes = Field(default=b"", exclude=True, repr=False)


class Message(Frozen):
    """One message of a conversation."""

    role: Speaker
    text: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    """Only the assistant's."""
    tool_use_id: str | None = None
    """Only a tool's: which call this answers."""
    pictures: tuple[Picture, ...] = ()
    """Only a user's; a model that takes none is told how many there were."""


class Sampling(Frozen):
    """How a reply is drawn; None leaves it to the endpoint."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int = Field(default=1024, ge=1)
    """Tokens a reply may have; what is reserved from a budget before the call."""
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    token_ids: bool = False
    """Ask for the ids of prompt and output (vLLM's `return_token_ids`)."""


class PromptRef(NamedTuple):
    """Which prompt file made a request."""

    name: str
    version: str
    hash: str


class ChatRequest(Frozen):
    """One request."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    parallel_tool_calls: bool = True
    schema_name: str = ""
    reply_schema: JsonObject | None = None
    """JSON schema of the reply's text, enforced by endpoints that can."""
    sampling: Sampling = Field(default_factory=Sampling)
    prompt: PromptRef | None = None


class ChatReply(Frozen):
    """One reply."""

    message: Message
    stop_reason: StopReason = "stop"
    model: str = ""
    """As the endpoint calls it."""
    prompt_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    pictures_unseen: int = Field(default=0, ge=0)
    """Pictures of the request that the model does not take and was not shown."""
    cached_tokens: int = Field(default=0, ge=0)
    """Of the prompt's, those that the endpoint had in its cache."""
    prompt_token_ids: tuple[int, ...] | None = None
    output_token_ids: tuple[int, ...] | None = None
    log_probabilities: tuple[float, ...] | None = None
    """Of each output token that was drawn."""
    ids_verified: bool | None = None
    """Whether as many log-probabilities as output ids came, and the drawn tokens spell the message;
    None where nothing tells."""
    tokenizer_sha256: str | None = None
    """Of `tokenizer.json`, where the model's folder is known; of the template's text likewise."""
    chat_template_sha256: str | None = None
    constrained: bool | None = None
    """Whether the endpoint was told to hold the reply to the request's schema; None without one."""
