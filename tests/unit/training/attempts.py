"""Rollouts for the tests of training, made by hand: whose calls and steps are known."""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.training.rollouts import Rollout
from agentlab.types import (
    ChatReply,
    ChatRequest,
    Message,
    ModelCall,
    Observation,
    Score,
    Step,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    ToolUse,
)

GO = ToolSpec(
    name="go",
    description="Go.",
    parameters={"type": "object", "properties": {"to": {"type": "string"}}},
)


def task(name: str = "a") -> Task:
    return Task(
        id=f"task-{name}", environment="world", instruction=name, setup={}, seed=0, template=name
    )


def step(to: str, *, refused: bool = False) -> Step:
    result = StepResult(
        observation=Observation(text=to), error="no" if refused else None, steps=int(not refused)
    )
    return Step(call=ToolCall(tool="go", arguments={"to": to}), result=result)


def calls(places: Sequence[str], *, ids: bool = True) -> tuple[ModelCall, ...]:
    """One call for each place to go to, each continuing the one before."""
    messages = [Message(role="system", text="Rules."), Message(role="user", text="Task: go.")]
    made: list[ModelCall] = []
    prompt = (1, 2)
    for number, to in enumerate(places):
        use = ToolUse(id=f"c{number}", name="go", arguments=f'{{"to":"{to}"}}')
        reply = Message(role="assistant", tool_uses=(use,))
        output = (10 + number, 20 + number)
        request = ChatRequest(messages=tuple(messages), tools=(GO,))
        made.append(
            ModelCall(
                model="m",
                request=request.model_dump(
                    mode="json", exclude={"sampling"}, exclude_defaults=True
                ),
                response=ChatReply(message=reply).model_dump(mode="json"),
                prompt_token_ids=prompt if ids else None,
                output_token_ids=output if ids else None,
                log_probabilities=(-0.5, -0.25) if ids else None,
                terms="own",
            )
        )
        messages += [reply, Message(role="tool", text=f"at {to}", tool_use_id=use.id)]
        prompt = (*prompt, *output, 3)
    return tuple(made)


def rollout(
    name: str,
    places: Sequence[str],
    *,
    reward: float | None = 1.0,
    of: str = "a",
    refused: Sequence[str] = (),
    assisted: bool = False,
    ids: bool = True,
) -> Rollout:
    success = None if reward is None else reward == 1.0
    return Rollout(
        id=name,
        run_id="run",
        round=1,
        slot=0,
        group_id=f"group-{of}",
        task=task(of),
        score=Score(value=reward, success=success),
        assisted=assisted,
        ending="episode",
        calls=calls(places, ids=ids),
        steps=tuple(step(to, refused=to in refused) for to in places),
        skills_used=(),
        insights=(),
    )
