"""A practice round for insight curators: attempts in a few words, and models that follow rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from agentlab.embeddings.lexical import LexicalEmbedder
from agentlab.models.scripted import ScriptedModel
from agentlab.protocols import ChatModel, InsightContext, InsightCurator
from agentlab.types import (
    ChatRequest,
    Insight,
    InsightChange,
    Observation,
    Outcomes,
    PastAttempt,
    Split,
    Step,
    StepResult,
    Task,
    ToolCall,
    Trajectory,
)

WORDS = {"negative_condition": "", "example": ""}


def attempt(
    number: int,
    instruction: str,
    success: bool | None,
    *,
    insights: Sequence[str] = (),
    template: str = "kind",
    seen: str = "a page",
    name: str | None = None,
    feedback: str = "",
    split: Split = "practice",
) -> PastAttempt:
    """Attempt `number` at a task of its own, or at the task `name`."""
    shown = Observation(text=seen)
    return PastAttempt(
        task=Task(
            id=name or f"task-{number}",
            environment="shop",
            instruction=instruction,
            setup={},
            seed=number,
            template=template,
            split=split,
        ),
        attempt_id=f"attempt-{number}",
        success=success,
        trajectory=Trajectory(
            initial=shown,
            steps=(
                Step(
                    call=ToolCall(tool="search", arguments={"text": instruction}),
                    result=StepResult(observation=shown),
                ),
            ),
            answer="done",
        ),
        tool_calls=1,
        feedback=feedback,
        insights=tuple(insights),
    )


def insight(
    name: str,
    condition: str,
    advice: str = "Compare the prices first.",
    *,
    sources: Sequence[str] = ("old",),
    taxonomy: Sequence[str] = (),
    outcomes: Outcomes | None = None,
) -> Insight:
    """A served insight."""
    return Insight(
        id=name,
        environment="shop",
        condition=condition,
        advice=advice,
        source_tasks=tuple(sources),
        taxonomy=tuple(taxonomy),
        outcomes=outcomes or Outcomes(),
    )


def context(
    model: ChatModel, attempts: Sequence[PastAttempt] = (), library: Sequence[Insight] = ()
) -> InsightContext:
    return InsightContext(
        environment="shop",
        attempts=attempts,
        library=library,
        model=model,
        embedder=LexicalEmbedder(),
        seed=7,
    )


def model_of(**answers: object) -> ScriptedModel:
    """A model with a reply for each prompt, by the prompt's name; data is spelled as JSON.

    A callable is given the text of the request. A prompt without an answer gets words that fit
    no schema.
    """

    def rule(request: ChatRequest) -> str:
        assert request.prompt is not None
        answer = answers.get(request.prompt.name.partition("/")[2], "I would rather not.")
        if callable(answer):
            answer = answer("\n".join(message.text for message in request.messages))
        return answer if isinstance(answer, str) else json.dumps(answer)

    return ScriptedModel(rule)


def saying(reply: object) -> ScriptedModel:
    """A model that always replies the same."""
    return ScriptedModel(lambda _: reply if isinstance(reply, str) else json.dumps(reply))


def curate(curator: InsightCurator, given: InsightContext) -> list[InsightChange]:
    return list(asyncio.run(curator.curate(given)))


def asked(model: ScriptedModel, prompt: str) -> list[str]:
    """The texts of the requests that a prompt made."""
    return [
        "\n".join(message.text for message in request.messages)
        for request in model.requests
        if request.prompt is not None and request.prompt.name == f"curators/{prompt}"
    ]
