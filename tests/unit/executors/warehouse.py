"""A counter with a door: a world of ten lines for what a search must do with any world."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from agentlab.types import (
    Clause,
    Entity,
    JsonObject,
    Limits,
    Mission,
    Observation,
    Parameter,
    Skill,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
)


class Saved(NamedTuple):
    key: tuple[str, ...]


def pointing(name: str, *, effect: str = "changes", kind: str = "*") -> ToolSpec:
    return ToolSpec.model_validate(
        {
            "name": name,
            "description": name,
            "parameters": {
                "type": "object",
                "properties": {"x": {"x-entity": kind}},
                "required": ["x"],
            },
            "effect": effect,
        }
    )


def box(name: str, **properties: str) -> Entity:
    return Entity(type="box", reference=name, properties={"name": name, **properties})


class Shelf:
    """Boxes are pushed in an order; a given order is the goal. `wreck` ends the episode."""

    tools: Sequence[ToolSpec] = (pointing("push"), pointing("wreck"))

    def __init__(self, goal: Sequence[str], names: str = "abc", *, most: int = 6) -> None:
        self.goal = tuple(goal)
        self.names = names
        self.most = most
        self.pushed: tuple[str, ...] = ()
        self.calls: list[ToolCall] = []
        self.restores = 0
        self.closed = False

    def _show(self) -> Observation:
        return Observation(text=" ".join(self.pushed), entities=tuple(box(n) for n in self.names))

    async def reset(self, task: Task, seed: int) -> Observation:
        self.pushed = ()
        return self._show()

    async def step(self, call: ToolCall) -> StepResult:
        self.calls.append(call)
        name = call.arguments.get("x")
        if call.tool == "wreck":
            return StepResult(observation=self._show(), terminated=True)
        if not isinstance(name, str) or name not in self.names:
            return StepResult(observation=self._show(), error="no such box", steps=0)
        if self.pushed and self.pushed[-1] == name:
            return StepResult(observation=self._show(), error="it is pushed already", steps=0)
        self.pushed = (*self.pushed, name)
        won = self.pushed == self.goal
        return StepResult(
            observation=self._show(),
            reward=1.0 if won else 0.0,
            terminated=won,
            truncated=not won and len(self.pushed) >= self.most,
            steps=2,
        )

    async def close(self) -> None:
        self.closed = True

    async def snapshot(self) -> Saved:
        return Saved(self.pushed)

    async def restore(self, snapshot: object) -> Observation:
        assert isinstance(snapshot, Saved)
        self.restores += 1
        self.pushed = snapshot.key
        return self._show()

    async def state(self) -> JsonObject:
        last = self.pushed[-1] if self.pushed else None
        return {"last": last, "pushed": list(self.pushed)}


def mission(*names: str) -> Mission:
    clauses = tuple(Clause(predicate="pushed", arguments={"x": {"name": name}}) for name in names)
    return Mission(groups=(clauses,))


def a_task(wanted: Mission | None = None) -> Task:
    return Task(
        id="task-1",
        environment="shelf",
        instruction="push them",
        setup={},
        seed=1,
        template="shelf: pushed",
        mission=wanted,
    )


def a_skill(
    body: str, *names: str, name: str = "do", achieves: str | None = None, **options: object
) -> Skill:
    """A skill over the parameters `names`, whose clause names the first of them."""
    signature = "".join(f", {n}" for n in names)
    return Skill.model_validate(
        {
            "id": f"skill-{name}",
            "name": name,
            "environment": "shelf",
            "source": f"def {name}(env, *{signature}):\n    {body}\n",
            "parameters": [Parameter(name=n, type="box") for n in names],
            "achieves": Clause(predicate=achieves, arguments={"x": names[0]}) if achieves else None,
            "summary": "",
            "effect_source": "def check(initial, final, **_):\n    return True\n",
            "tools": tuple(sorted(set(re.findall(r"env\.(\w+)\(", body)))),
            "skills": tuple(sorted(set(re.findall(r"env\.skills\.(\w+)\(", body)))),
            **options,
        }
    )


def limits(calls: int = 100, *, steps: int | None = None) -> Limits:
    return Limits(tool_calls=calls, steps=steps)
