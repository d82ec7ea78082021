"""The executor that acts by native tool calls, one turn of a chat model after another.

Yao et al. 2023, "ReAct: Synergizing Reasoning and Acting in Language Models": think, act, see, and
again. We differ in that thoughts are left to the model and acts are tool calls with schemas, not
lines of text. Retrieved skills stand among the tools, insights in the prompt as quoted advice.
"""

from __future__ import annotations

import re

from agentlab.errors import ConfigError
from agentlab.executors.acting import (
    Acting,
    Ended,
    advice_of,
    model_of,
    offered_skills,
    shown,
    told,
)
from agentlab.executors.conversation import FOLDED, Conversation
from agentlab.executors.toolbox import (
    Fault,
    Toolbox,
    Wanted,
    free_name,
    read_arguments,
    spelled,
)
from agentlab.models.prompts import Prompt, quoted
from agentlab.protocols import EpisodeOver, ExecutionContext
from agentlab.types import (
    ChatReply,
    ChatRequest,
    Frozen,
    Message,
    Observation,
    Sampling,
    ToolCall,
    ToolUse,
)

REPAIRS = 2
"""How many replies in a row that cannot be used are answered with what is wrong with them."""
LEAST_CONTEXT = 512
"""Tokens below which no prompt of ours fits."""


class ReactInputs(Frozen):
    """What the prompt is filled in with."""

    task: str
    seen: str
    advice: tuple[str, ...]
    calls: int


PROMPT = Prompt("agentlab.executors", "react", ReactInputs)


class ReactExecutor:
    """Asks a chat model for tool calls until it answers, the episode ends or limits are spent.

    A reply may hold several calls, which are carried out in their order. One that the environment
    refuses does not stop those after it, one that cannot be read does: it is written again.

    Args:
        context_tokens: most tokens of the messages of a request; older observations are folded.
        temperature: of the replies; None leaves it to the endpoint.
        max_tokens: most tokens of a reply.
        parallel: whether a reply may hold several calls.

    Raises:
        ConfigError: `context_tokens` is too small for any prompt.
    """

    cpu_bound = False
    needs_model = True
    reads_advice = True
    """What it is told in `spec.insights` can change what it does."""

    def __init__(
        self,
        *,
        context_tokens: int = 24_000,
        temperature: float | None = None,
        max_tokens: int = 1024,
        parallel: bool = True,
    ) -> None:
        self._most = checked_context(context_tokens)
        self._sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
        self._parallel = parallel

    async def execute(self, context: ExecutionContext) -> Ended:
        """Try the task. See `protocols.Executor`.

        Raises:
            UsageError: the context has no model.
            ModelFaultError: the model's endpoint failed for good.
        """
        model = model_of(context, "react")
        spec, environment = context.spec, context.environment
        acting = await Acting.begin(context, model)
        if spec.skills:
            await context.runtime.open(spec.skills, environment.tools)
        toolbox = Toolbox(environment.tools, offered_skills(spec))
        inputs = ReactInputs(
            task=spec.task.instruction,
            seen=first_seen(acting.initial, self._most),
            advice=advice_of(spec),
            calls=spec.limits.tool_calls,
        )
        talk = Conversation(PROMPT.messages(inputs), most_tokens=self._most)
        ids: set[str] = set()
        faults = 0
        while True:
            messages = talk.messages()
            if messages is None:
                return acting.finish("context", reason=too_long(self._most))
            request = ChatRequest(
                messages=messages,
                tools=toolbox.specs,
                parallel_tool_calls=self._parallel,
                sampling=self._sampling,
                prompt=PROMPT.ref,
            )
            reply = await acting.say(request)
            if not isinstance(reply, ChatReply):
                return acting.finish(reply)
            talk.learn(request, reply)
            answer = answer_of(reply)
            if answer is not None:
                return acting.finish("answer", answer=answer)
            said, answers, fault = await _carry_out(reply, toolbox, acting, ids)
            if acting.over:
                return acting.finish("episode")
            faults = 0 if fault is None else faults + 1
            if fault is not None and faults > REPAIRS:
                return acting.finish("malformed", reason=fault)
            talk.add(said, answers)


def checked_context(tokens: int) -> int:
    """The bound, if a prompt can fit it.

    Raises:
        ConfigError: it cannot.
    """
    if tokens < LEAST_CONTEXT:
        raise ConfigError(
            f"An executor's 'context_tokens' is {tokens}, in which no prompt fits; give at least "
            f"{LEAST_CONTEXT}."
        )
    return tokens


def first_seen(observation: Observation, most: int) -> str:
    """The first observation for the prompt, which is never folded later.

    One that would fill half the context is left out, and that is said.
    """
    text = shown(observation)[1:-1]  # the prompt sets the marks again
    if len(text) // 4 > most // 2:
        return FOLDED.format(tokens=len(text) // 4)
    return text


def too_long(most: int) -> str:
    """Why an attempt ended whose prompt does not fit."""
    return (
        f"The prompt and the last turn do not fit {most} tokens; raise 'context_tokens' or offer "
        "fewer insights."
    )


def answer_of(reply: ChatReply) -> str | None:
    """The final answer, where the reply is one: whole, with words and without calls."""
    if reply.message.tool_uses or reply.stop_reason in ("length", "content_filter"):
        return None
    return without_thoughts(reply.message.text) or None


def without_thoughts(text: str) -> str:
    """A reply without the thoughts that some local models put before it."""
    return re.sub(r"(?s)\A\s*<think>.*?</think>", "", text).strip()


def unusable(reply: ChatReply) -> str:
    """What is wrong with a reply that holds neither a call nor an answer."""
    match reply.stop_reason:
        case "length":
            return "The reply was cut off, because it was too long. Reply again, more briefly."
        case "content_filter":
            return "The endpoint's filter kept the reply back. Go on in other words."
        case _:
            return "The reply was empty. Call a tool, or give your final answer as plain text."


async def _carry_out(
    reply: ChatReply, toolbox: Toolbox, acting: Acting, ids: set[str]
) -> tuple[Message, tuple[Message, ...], str | None]:
    """Carry out a reply's calls in order.

    Returns:
        What was said in a form that can be sent back, what answers it, and the first fault.
    """
    text = reply.message.text
    if not reply.message.tool_uses:
        fault = unusable(reply)
        said = Message(role="assistant", text=text or "(nothing)")
        return said, (Message(role="user", text=fault),), fault
    uses: list[ToolUse] = []
    answers: list[Message] = []
    first: str | None = None
    for use in reply.message.tool_uses:
        wanted = toolbox.read(use)
        sent = _sendable(use, ids)
        if isinstance(wanted, Fault):
            told_ = f"Error ({wanted.kind}): {wanted.text}"
            first = first or told_
        elif first is not None:
            # Whoever wrote it may have counted on the call before it.
            told_ = "Not carried out, because a call before it in this reply could not be read."
        else:
            told_ = await _one(wanted, acting)
        uses.append(sent)
        answers.append(Message(role="tool", text=told_, tool_use_id=sent.id))
        if acting.over:
            break
    return Message(role="assistant", text=text, tool_uses=tuple(uses)), tuple(answers), first


async def _one(wanted: Wanted, acting: Acting) -> str:
    """Carry out one call; what the model is told of it."""
    try:
        if acting.meter.left <= 0:
            raise EpisodeOver
        if wanted.skill is not None:
            return told(await acting.use_skill(wanted.skill, wanted.arguments), acting)
        before = acting.seen
        result = await acting.use_tool(ToolCall(tool=wanted.name, arguments=wanted.arguments))
    except EpisodeOver:
        return "Not carried out: the attempt is at its limits."
    if result.error is None:
        return shown(result.observation)
    refused = f"The call was refused: {quoted(result.error)}"
    if result.observation == before or not result.observation.text:
        return refused
    return f"{refused}\nWhat there is now: {shown(result.observation)}"


def _sendable(use: ToolUse, ids: set[str]) -> ToolUse:
    """The call as it can be sent back: endpoints refuse a history that they cannot parse."""
    arguments = use.arguments.strip()
    if not arguments or isinstance(read_arguments(arguments), Fault):
        arguments = "{}"
    identity = free_name(use.id or "call", ids)
    ids.add(identity)
    return ToolUse(id=identity, name=spelled(use.name), arguments=arguments)
