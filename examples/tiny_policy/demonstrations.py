"""Episodes in the burrow as a chat endpoint would be sent them, to train a policy from nothing.

They are played by the executor that will later ask the policy, so that what is trained on and what
is asked are the same text. The player acts on what it was shown alone and strays now and then:
what a player who knows the map does cannot be learnt from what is seen, and one who never errs
shows no way back from an error. Tasks are practice tasks; what is kept for evaluation is not seen.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.environments.registration import make_environment
from agentlab.executors.react import ReactExecutor
from agentlab.models.scripted import ScriptedModel
from agentlab.models.wire import message_body, request_body, wire_names
from agentlab.protocols import ExecutionContext, HasTasks
from agentlab.sandbox.subprocess import SubprocessRuntime
from agentlab.testing.rules.burrow import play, views_of
from agentlab.testing.rules.reading import Call, acting
from agentlab.types import (
    AttemptSpec,
    ChatRequest,
    EnvironmentRef,
    JsonObject,
    Limits,
    Message,
    Task,
    derive_seed,
)

ENVIRONMENT = "burrow"
TOOL_CALLS = 16
"""Calls that an attempt may make; the player who never strays needs 7 on average."""


class Player(NamedTuple):
    """How an episode is played."""

    stray: float
    """Share of the calls that are drawn at random from those that make sense."""
    seed: int

    def reply(self, request: ChatRequest) -> tuple[Message, bool]:
        """The next call, and whether it was meant; straying depends on the request's own seed."""
        rng = random.Random(derive_seed("stray", self.seed, request.sampling.seed))
        views = views_of(request)
        if not views or rng.random() >= self.stray:
            return play(request), True
        view = views[-1][0]
        calls: list[Call] = [("go", {"way": way}) for way in view.ways]
        calls.extend(("take", {"thing": thing}) for thing in view.things)
        calls.extend(
            ("open", {"chest": colour})
            for colour, is_open in view.chests.items()
            if not is_open and f"{colour} key" in view.carried
        )
        return acting(request, [rng.choice(calls)]), False


class Turn(NamedTuple):
    """A request and what was replied."""

    request: ChatRequest
    reply: Message
    meant: bool


def write_demonstrations(path: Path, *, count: int, stray: float, seed: int) -> float:
    """Play and write one conversation a line: `{"messages": […], "tools": […], "meant": […]}`.

    `meant` says of each of the player's messages whether it was the one to learn from.

    Args:
        path: the file, replaced.
        count: episodes, each at a task of its own.
        stray: see `Player`.
        seed: chooses tasks and draws.

    Returns:
        The share of the episodes that reached their goal.
    """
    environment = make_environment(EnvironmentRef(name=ENVIRONMENT))
    assert isinstance(environment, HasTasks)
    tasks = environment.tasks("practice", count, derive_seed("demonstrations", seed))
    solved = 0
    with path.open("w", encoding="utf-8") as file:
        for slot, task in enumerate(tasks):
            turns, succeeded = asyncio.run(_episode(task, slot, Player(stray, seed)))
            solved += succeeded
            file.write(json.dumps(conversation(turns), ensure_ascii=False) + "\n")
    return solved / count


def conversation(turns: Sequence[Turn]) -> JsonObject:
    """An episode's last request with the reply to it, as it goes to an endpoint."""
    request, reply, _ = turns[-1]
    body = request_body(request)
    messages = cast("list[JsonValue]", body["messages"])
    said = message_body(reply, wire_names(request.tools))
    return {
        "messages": [*messages, said],
        "tools": body["tools"],
        "meant": [turn.meant for turn in turns],
    }


async def _episode(task: Task, slot: int, player: Player) -> tuple[list[Turn], bool]:
    turns: list[Turn] = []

    def rule(request: ChatRequest) -> Message:
        turns.append(Turn(request, *player.reply(request)))
        return turns[-1].reply

    spec = AttemptSpec(
        id=f"demonstration-{slot}",
        run_id="demonstrations",
        round=0,
        slot=slot,
        task=task,
        group_id=task.id,
        seed=derive_seed("demonstration", player.seed, slot),
        environment=EnvironmentRef(name=ENVIRONMENT),
        executor="react",
        limits=Limits(tool_calls=TOOL_CALLS),
    )
    environment = make_environment(spec.environment)
    try:
        context = ExecutionContext(spec, environment, SubprocessRuntime(), ScriptedModel(rule))
        steps = (await ReactExecutor().execute(context)).trajectory.steps
    finally:
        await environment.close()
    return turns, bool(steps) and steps[-1].result.succeeded
