"""The executor that acts by writing Python over tools and skills.

Wang et al. 2024, "Executable Code Actions Elicit Better LLM Agents" (CodeAct): code as the action,
its output as the observation. We differ in where it runs: each block is one unverified function in
a box of its own, which sees `env` alone, keeps nothing for the next block, and can do nothing that
a tool call could not; every call it makes is an ordinary step, recorded and charged.
"""

from __future__ import annotations

from typing import cast

from pydantic import JsonValue

from agentlab.executors.acting import (
    Acting,
    Ended,
    advice_of,
    model_of,
    offered_skills,
    shown,
)
from agentlab.executors.blocks import (
    Block,
    Prepared,
    Refusal,
    find_block,
    line_of,
    prepare,
    read_block,
)
from agentlab.executors.conversation import Conversation
from agentlab.executors.react import (
    REPAIRS,
    answer_of,
    checked_context,
    first_seen,
    too_long,
    unusable,
    without_thoughts,
)
from agentlab.executors.toolbox import skill_spec
from agentlab.models.prompts import Prompt, quoted
from agentlab.protocols import ExecutionContext, SkillReturn
from agentlab.types import (
    ChatReply,
    ChatRequest,
    Frozen,
    JsonObject,
    Message,
    Observation,
    Sampling,
    Skill,
    StepResult,
    ToolCall,
    canonical_json,
)

LONGEST_OUTPUT = 8_000
"""Characters of a block's output that are shown; of more, the rest is told by its length."""


class CodeInputs(Frozen):
    """What the prompt is filled in with."""

    task: str
    seen: str
    advice: tuple[str, ...]
    calls: int
    tools: tuple[str, ...]
    skills: tuple[str, ...]


PROMPT = Prompt("agentlab.executors", "code", CodeInputs)


class CodeExecutor:
    """Asks a chat model for blocks of Python until it answers or the attempt ends.

    Args:
        context_tokens: most tokens of the messages of a request; older output is folded.
        temperature: of the replies; None leaves it to the endpoint.
        max_tokens: most tokens of a reply.

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
        max_tokens: int = 2048,
    ) -> None:
        self._most = checked_context(context_tokens)
        self._sampling = Sampling(temperature=temperature, max_tokens=max_tokens)

    async def execute(self, context: ExecutionContext) -> Ended:
        """Try the task. See `protocols.Executor`.

        Raises:
            UsageError: the context has no model.
            ModelFaultError: the model's endpoint failed for good.
            SkillRefusedError: there is no box here that takes what a model wrote.
        """
        model = model_of(context, "code")
        acting = await Acting.begin(context, model)
        bench = _Bench(context, acting)
        talk = Conversation(PROMPT.messages(bench.inputs(self._most)), most_tokens=self._most)
        faults = 0
        while True:
            messages = talk.messages()
            if messages is None:
                return acting.finish("context", reason=too_long(self._most))
            request = ChatRequest(messages=messages, sampling=self._sampling, prompt=PROMPT.ref)
            reply = await acting.say(request)
            if not isinstance(reply, ChatReply):
                return acting.finish(reply)
            talk.learn(request, reply)
            block = bench.read(reply)
            if isinstance(block, str):
                return acting.finish("answer", answer=block)
            if isinstance(block, Refusal):
                faults += 1
                if faults > REPAIRS:
                    return acting.finish("malformed", reason=block.text)
                told = f"Error: {block.text}"
            else:
                faults = 0
                told = await bench.run(block)
            if acting.over:
                return acting.finish("episode")
            said = reply.message.text or "(nothing)"
            talk.add(Message(role="assistant", text=said), (Message(role="user", text=told),))


class _Bench:
    """What blocks of one attempt are read and run with."""

    def __init__(self, context: ExecutionContext, acting: Acting) -> None:
        self._context = context
        self._acting = acting
        self._tools = tuple(context.environment.tools)
        self._names = {tool.name for tool in self._tools}
        self._offered = {skill.name: skill for skill in offered_skills(context.spec)}

    def inputs(self, most: int) -> CodeInputs:
        """What the prompt says at the beginning."""
        spec = self._context.spec
        return CodeInputs(
            task=spec.task.instruction,
            seen=first_seen(self._acting.initial, most),
            advice=advice_of(spec),
            calls=spec.limits.tool_calls,
            tools=tuple(
                f"env.{tool.name}: {tool.description} {canonical_json(tool.parameters)}"
                for tool in self._tools
            ),
            skills=tuple(
                f"env.skills.{skill.name}: {made.description} {canonical_json(made.parameters)}"
                for skill in self._offered.values()
                for made in (skill_spec(skill, skill.name, self._tools),)
            )
            or ("none",),
        )

    def read(self, reply: ChatReply) -> Block | Refusal | str:
        """What a reply holds: a block, a final answer, or neither."""
        source = find_block(without_thoughts(reply.message.text))
        if reply.message.tool_uses:
            return Refusal("There are no native tool calls here; write a block of Python.")
        if source is None:
            answer = answer_of(reply)
            return Refusal(unusable(reply)) if answer is None else answer
        if reply.stop_reason == "length":
            return Refusal(unusable(reply))
        return read_block(source, self._names, self._offered)

    async def run(self, block: Block) -> str:
        """Run a block in a box of its own; what the model is told of it."""
        context, acting = self._context, self._acting
        made = prepare(block, context.spec.task.environment, self._tools, context.spec.skills)
        # Opened again for every block: that is what gives each a box that has run nothing.
        await context.runtime.open(
            (*context.spec.skills, made.skill), (*self._tools, made.begins, made.ends)
        )
        calls = _Calls(acting, made, self._offered)
        before = acting.steps
        try:
            returned = await context.runtime.call(made.skill.name, {}, calls.perform)
        finally:
            calls.close()
            if acting.steps == before:
                acting.meter.charge_turn()
        return f"{_output(returned, block)}\nWhat there is now: {shown(acting.seen)}"


class _Calls:
    """Performs a block's calls, and notes which of them a skill made."""

    def __init__(self, acting: Acting, made: Prepared, offered: dict[str, Skill]) -> None:
        self._acting = acting
        self._begins, self._ends = made.markers
        self._offered = offered
        self._open: list[tuple[Skill, JsonObject, int]] = []

    async def perform(self, call: ToolCall) -> StepResult:
        """One call of the block: a step, or word of a skill."""
        if call.tool == self._begins:
            self._begin(call.arguments)
        elif call.tool == self._ends:
            self._end()
        else:
            return await self._acting.perform(call)
        return StepResult(observation=Observation(text=""), steps=0)

    def _begin(self, arguments: JsonObject) -> None:
        # A block can say what it likes; only an offered skill is noted, and only with its steps.
        skill = self._offered.get(str(arguments.get("skill")))
        given: JsonValue = arguments.get("arguments")
        if skill is not None and isinstance(given, dict) and not self._open:
            self._open.append((skill, given, self._acting.steps))

    def _end(self) -> None:
        if self._open:
            self._acting.invoked(*self._open.pop())

    def close(self) -> None:
        """End what a stopped block left open."""
        while self._open:
            self._end()


def _output(returned: SkillReturn, block: Block) -> str:
    """What a block printed, returned and raised."""
    if not returned.completed:
        return f"The block was ended: {quoted(returned.error or 'it was stopped')}"
    # The block made this value, or something else in its place: any shape is possible.
    answer = cast("JsonObject", returned.value) if isinstance(returned.value, dict) else {}
    lines: list[str] = []
    if (error := answer.get("error")) is not None:
        line = line_of(block, answer.get("line"))
        lines.append(
            f"The block raised {_part(str(error))}" + (f" at {quoted(line)}" if line else "")
        )
    else:
        lines.append("The block ran to its end.")
    if printed := str(answer.get("printed") or ""):
        lines.append(f"It printed: {_part(printed)}")
    if (value := answer.get("value")) is not None:
        lines.append(f"It returned: {_part(canonical_json(value))}")
    return "\n".join(lines)


def _part(text: str) -> str:
    """The text as quoted data, or as much of it as is shown, with the rest told."""
    if len(text) <= LONGEST_OUTPUT:
        return quoted(text)
    left = len(text) - LONGEST_OUTPUT
    return f"{quoted(text[:LONGEST_OUTPUT])} (and {left} more characters, which are left out)"
