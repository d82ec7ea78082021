"""A task with a lamp, records of it, and scripted judges that see the request alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from agentlab.models.scripted import Rule, ScriptedModel
from agentlab.protocols import ChatModel, EvaluationContext
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.types import (
    ChatRequest,
    Observation,
    Step,
    StepResult,
    Task,
    ToolCall,
    Trajectory,
)

ON, OFF = "The lamp is on the shelf.", "The lamp lies on the floor."
TASK = Task(
    id="lamp",
    environment="house",
    instruction="Put the lamp on the shelf.",
    setup={},
    seed=1,
    template="easy: put",
    parameters={"judged": True},
)
"""Nothing can be read of it, so there is no verifier to ask."""


def step(shown: str, *, error: str | None = None, **arguments: str) -> Step:
    result = StepResult(observation=Observation(text=shown), error=error)
    return Step(call=ToolCall(tool="move", arguments={**arguments}), result=result)


def record(*shown: str, answer: str | None = None) -> Trajectory:
    return Trajectory(
        initial=Observation(text="A hall."), steps=tuple(map(step, shown)), answer=answer
    )


SOLVED = record("You hold the lamp.", ON)
UNSOLVED = record("You hold the lamp.", OFF)


def context(
    trajectory: Trajectory,
    model: ChatModel | None = None,
    stronger: ChatModel | None = None,
    *,
    task: Task = TASK,
) -> EvaluationContext:
    return EvaluationContext(task, trajectory, SubprocessRuntime(), model, stronger)


def said(request: ChatRequest) -> str:
    return "\n".join(message.text for message in request.messages)


def unquoted(request: ChatRequest) -> str:
    """What stands outside the marks around data."""
    return re.sub("⟦[^⟦⟧]*⟧", " ", said(request))


def mark_of(request: ChatRequest) -> str:
    found = re.search(r"The mark: ([0-9a-f]{8})\b", unquoted(request))
    assert found is not None
    return found[1]


def points_of(request: ChatRequest) -> int:
    return len(re.findall(r"(?m)^⟦?\d+\. \((?:world|answer)\) ", said(request)))


POINTS = json.dumps({"points": [{"text": "The lamp is on the shelf.", "about": "world"}]})


def reply(
    request: ChatRequest,
    verdict: str,
    findings: Sequence[tuple[int, str, str]],
    *,
    mark: str | None = None,
) -> str:
    """The JSON of a reply; a finding is (point, quotation, met)."""
    listed = [{"point": n, "quotation": q, "met": m} for n, q, m in findings]
    body = {"mark": mark or mark_of(request), "findings": listed, "verdict": verdict, "why": "so"}
    return json.dumps(body)


def honest(request: ChatRequest) -> str:
    """Where the lamp was shown last, in lines that bear the label of a step."""
    if request.schema_name == "points":
        return POINTS
    shown = re.findall(rf"(?m)^⟦?\d+ shown\| ({re.escape(ON)}|{re.escape(OFF)})⟧?$", said(request))
    if shown and shown[-1] == ON:
        return reply(request, "success", [(1, ON, "yes")])
    return reply(request, "failure", [(1, "", "no")])


def always(verdict: str, quotation: str = ON) -> Rule:
    """Says the same whatever happened."""
    met = {"success": "yes", "failure": "no", "unclear": "unclear"}[verdict]

    def rule(request: ChatRequest) -> str:
        if request.schema_name == "points":
            return POINTS
        return reply(request, verdict, [(n + 1, quotation, met) for n in range(points_of(request))])

    return rule


def model(rule: Rule, name: str = "small") -> ScriptedModel:
    return ScriptedModel(rule, name)
