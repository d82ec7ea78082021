"""What the benchmarks of `react` act in: a counter, the rule that counts, and its rivals.

The rule sees the request alone: how far to count stands in it, and how often was counted is the
number of assistant messages.
"""

from __future__ import annotations

import importlib
import json
import re
import warnings
from collections.abc import Sequence
from time import perf_counter
from typing import Any, cast

import openai
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import StructuredTool

from agentlab.executors.react import ReactExecutor
from agentlab.protocols import ChatModel, ExecutionContext
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import (
    AttemptSpec,
    ChatRequest,
    EnvironmentRef,
    Limits,
    Message,
    Observation,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    ToolUse,
)

RULE = "tests.benchmarks.bench_counting:count"
MODEL = "rules"
COUNT = ToolSpec(
    name="count",
    description="Count on.",
    parameters={
        "type": "object",
        "properties": {"by": {"type": "integer", "minimum": 1}},
        "required": ["by"],
        "additionalProperties": False,
    },
)
TOOL = {
    "type": "function",
    "function": {
        "name": COUNT.name,
        "description": COUNT.description,
        "parameters": COUNT.parameters,
    },
}


def count(request: ChatRequest) -> Message:
    """Count on until the number that the request asks for, then answer."""
    said = 0
    wanted = 0
    for message in request.messages:
        said += message.role == "assistant"
        if not wanted and (found := re.search(r"Count to (\d+)", message.text)):
            wanted = int(found[1])
    if said >= wanted:
        return Message(role="assistant", text="Done.")
    use = ToolUse(id=f"call_{said}", name=COUNT.name, arguments='{"by": 1}')
    return Message(role="assistant", tool_uses=(use,))


class Counter:
    """An environment that takes no time."""

    tools: Sequence[ToolSpec] = (COUNT,)

    def __init__(self) -> None:
        self.at = 0

    async def reset(self, task: Task, seed: int) -> Observation:
        self.at = 0
        return Observation(text="at 0")

    async def step(self, call: ToolCall) -> StepResult:
        self.at += cast("int", call.arguments["by"])
        return StepResult(observation=Observation(text=f"at {self.at}"))

    async def close(self) -> None:
        self.at = 0


async def by_react(model: ChatModel, steps: int, *, slot: int = 0) -> float:
    """Seconds of an attempt by the executor; it makes one request more than it has steps."""
    task = Task(
        id=f"task-{slot}",
        environment="counter",
        instruction=f"Count to {steps}",
        setup={},
        seed=slot,
        template="counter",
    )
    spec = AttemptSpec(
        id=f"attempt-{slot}",
        run_id="run",
        round=0,
        slot=slot,
        task=task,
        group_id="group",
        seed=slot,
        environment=EnvironmentRef(name="counter"),
        executor="react",
        limits=Limits(tool_calls=10_000, seconds=600.0),
    )
    executor, context = (
        ReactExecutor(),
        ExecutionContext(spec, Counter(), SubprocessRuntime(), model),
    )
    began = perf_counter()
    ended = await executor.execute(context)
    seconds = perf_counter() - began
    assert len(ended.trajectory.steps) == steps and ended.trajectory.answer == "Done."
    return seconds


async def by_client(client: openai.AsyncOpenAI, steps: int) -> float:
    """Seconds of the same by the bare client and a loop of ten lines."""
    began = perf_counter()
    at = 0
    messages: list[Any] = [
        {"role": "system", "content": "You act through tools."},
        {"role": "user", "content": f"Task: Count to {steps}. There is: at 0"},
    ]
    tools = cast("Any", [TOOL])
    while True:
        reply = await client.chat.completions.create(
            model=MODEL, messages=messages, tools=tools, max_tokens=1024
        )
        said = reply.choices[0].message
        if not said.tool_calls:
            break
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in cast("list[Any]", said.tool_calls)
        ]
        messages.append({"role": "assistant", "content": said.content or "", "tool_calls": calls})
        for call in cast("list[Any]", said.tool_calls):
            at += json.loads(call.function.arguments)["by"]
            messages.append({"role": "tool", "tool_call_id": call.id, "content": f"at {at}"})
    assert at == steps
    return perf_counter() - began


class OverClient(BaseChatModel):
    """LangChain's interface over the same client: langchain-openai is no dependency here."""

    client: Any
    bound: Any = None

    @property
    def _llm_type(self) -> str:
        return "over-client"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """The same model with the tool; its schema is the one that everybody is given."""
        return self.model_copy(update={"bound": [TOOL]})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply = await self.client.chat.completions.create(
            model=MODEL,
            messages=convert_to_openai_messages(messages),
            tools=self.bound,
            max_tokens=1024,
        )
        said = reply.choices[0].message
        calls: list[Any] = [
            {
                "name": call.function.name,
                "args": json.loads(call.function.arguments),
                "id": call.id,
                "type": "tool_call",
            }
            for call in said.tool_calls or ()
        ]
        made = AIMessage(content=said.content or "", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=made)])


class Prebuilt:
    """LangGraph's own agent of a model and tools."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._at = 0
        tool = StructuredTool.from_function(
            coroutine=self._count, name=COUNT.name, description=COUNT.description
        )
        # By name: half of its types are unknown to a strict reader.
        prebuilt: Any = importlib.import_module("langgraph.prebuilt")
        with warnings.catch_warnings():
            # Its successor is in another package, which is no dependency here.
            warnings.simplefilter("ignore")
            self._agent: Any = prebuilt.create_react_agent(
                OverClient(client=client), [tool], prompt="You act through tools."
            )

    async def _count(self, by: int) -> str:
        self._at += by
        return f"at {self._at}"

    async def run(self, steps: int) -> float:
        """Seconds of the same."""
        self._at = 0
        said = {"messages": [{"role": "user", "content": f"Task: Count to {steps}"}]}
        began = perf_counter()
        await self._agent.ainvoke(said, {"recursion_limit": 2 * steps + 5})
        seconds = perf_counter() - began
        assert self._at == steps
        return seconds
