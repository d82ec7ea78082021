"""An attempt with everything in it that spans and logs must be able to tell, and hostile text."""

from __future__ import annotations

from typing import Any

from agentlab.types import (
    AttemptOutcome,
    Invocation,
    ModelCall,
    Observation,
    Score,
    Step,
    StepResult,
    Times,
    ToolCall,
    Trajectory,
    Usage,
)
from tests.unit.records.samples import a_spec, a_task

KEY = "sk-0123456789abcdef"
SCRIPT = "</script><script>alert(1)</script>"


def a_conversation(longest: int = 20_000) -> AttemptOutcome:
    """Two calls of a model, a skill of two steps in which one was refused, a judge's verdict."""
    steps = [
        Step(
            call=ToolCall(tool=name, arguments={"to": SCRIPT + "x" * longest}),
            result=StepResult(
                observation=Observation(text=f"{SCRIPT} {KEY}"),
                error="ToolRefused: closed" if name == "open" else None,
            ),
        )
        for name in ("walk", "open", "walk")
    ]
    asked: dict[str, Any] = {
        "messages": [
            {"role": "system", "text": f"You carry. {KEY}"},
            {"role": "assistant", "tool_uses": [{"id": "c1", "name": "walk", "arguments": "{}"}]},
            {"role": "tool", "tool_use_id": "c1", "text": "You are there."},
        ]
    }
    call = ModelCall(
        model="m-2026",
        request=asked,
        response={
            "message": {"role": "assistant", "text": "Done."},
            "stop_reason": "stop",
            "prompt_tokens": 30,
            "output_tokens": 4,
            "cached_tokens": 8,
        },
        sampling={"temperature": 0.5, "max_tokens": 64, "seed": None},
        policy_start="m",
        tokens=34,
        usd=0.25,
        began=1_000_000.5,
        seconds=0.25,
    )
    judge = call.model_copy(update={"role": "evaluator", "began": None, "seconds": None})
    return AttemptOutcome(
        attempt_id=a_spec(0, a_task(0)).id,
        trajectory=Trajectory(
            initial=Observation(text="a town"),
            steps=tuple(steps),
            invocations=(
                Invocation(skill="deliver", skill_id="skill-1", arguments={"key": KEY},
                           first_step=0, end_step=2),
            ),
            model_calls=(call, judge),
        ),
        score=Score(value=0.5, success=False, explanation=f"{SCRIPT} no", source="judge"),
        usage=Usage(tool_calls=9, steps=3, tokens=68, usd=0.5, wall_seconds=2.0),
        times=Times(
            began=1_000_000.0, ended=1_000_002.0, steps=((0.75, 1.0), (1.0, 1.25), None)
        ),
    )  # fmt: skip
