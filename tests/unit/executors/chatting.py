"""What the tests of executors that ask a model share: replies, specs and contexts."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agentlab.models.scripted import Rule, ScriptedModel
from agentlab.protocols import ChatModel, Environment, ExecutionContext, SkillRuntime
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import (
    AttemptSpec,
    ChatReply,
    ChatRequest,
    EnvironmentRef,
    Insight,
    JsonObject,
    Limits,
    Message,
    Offer,
    Skill,
    Task,
    ToolUse,
)
from tests.unit.executors.warehouse import a_task


def use(name: str, arguments: JsonObject | str, number: int = 1) -> ToolUse:
    """A tool call as a model writes it; text is passed as it is."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolUse(id=f"call_{number}", name=name, arguments=text)


def calling(*uses: ToolUse, text: str = "") -> Message:
    return Message(role="assistant", text=text, tool_uses=uses)


def pushes(*names: str) -> Message:
    return calling(*(use("push", {"x": name}, n) for n, name in enumerate(names)))


def in_turn(*replies: ChatReply | Message | str) -> Rule:
    """Replies by how many assistant messages the request holds; the last one is repeated."""

    def rule(request: ChatRequest) -> ChatReply | Message | str:
        said = sum(message.role == "assistant" for message in request.messages)
        return replies[min(said, len(replies) - 1)]

    return rule


def spec_of(
    *,
    task: Task | None = None,
    executor: str = "react",
    limits: Limits | None = None,
    skills: Sequence[Skill] = (),
    insights: Sequence[Insight] = (),
    offers: Sequence[Offer] = (),
    slot: int = 0,
) -> AttemptSpec:
    return AttemptSpec(
        id=f"attempt-{slot}",
        run_id="run",
        round=0,
        slot=slot,
        task=task or a_task(),
        group_id="group",
        seed=7 + slot,
        environment=EnvironmentRef(name="shelf"),
        executor=executor,
        limits=limits or Limits(),
        skills=tuple(skills),
        insights=tuple(insights),
        offers=tuple(offers),
    )


def context_of(
    environment: Environment,
    model: ChatModel | Rule | None,
    spec: AttemptSpec | None = None,
    runtime: SkillRuntime | None = None,
) -> ExecutionContext:
    if model is not None and not hasattr(model, "chat"):
        model = ScriptedModel(model)  # pyright: ignore[reportArgumentType] - a rule, then
    return ExecutionContext(
        spec or spec_of(),
        environment,
        runtime or SubprocessRuntime(),
        model,  # pyright: ignore[reportArgumentType] - made a model above
    )


def an_insight(number: int, advice: str, condition: str = "always") -> Insight:
    return Insight(id=f"insight-{number}", environment="shelf", condition=condition, advice=advice)
