"""A small environment that takes any instruction, and a model that reads nothing but its request.

The ledger holds named amounts. Whatever is asked, a generated verifier says whether it was done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import cast

from agentlab.models.scripted import ScriptedModel
from agentlab.protocols import EnvironmentFactory, HasTasks, ProposalContext
from agentlab.types import (
    ChatRequest,
    Entity,
    JsonObject,
    Message,
    Observation,
    PastAttempt,
    Split,
    SplitRule,
    Step,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    ToolUse,
    Trajectory,
    task_id,
)

RULE = SplitRule(heldout_templates=("erase everything",))
NAMES = ("rent", "food", "tram", "books", "gifts")


def _tool(name: str, effect: str, /, **properties: str) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=f"{name} an entry",
        parameters={
            "type": "object",
            "properties": {key: {"type": kind} for key, kind in properties.items()},
            "required": list(properties),
        },
        effect="none" if effect == "none" else "changes",
    )


TOOLS = (
    _tool("enter", "changes", name="string", amount="integer"),
    _tool("strike", "changes", name="string"),
    _tool("show", "none"),
)


class MuteLedger:
    """The ledger without a state that can be read."""

    def __init__(self) -> None:
        self.entries: dict[str, int] = {}
        self.resets = 0

    @property
    def tools(self) -> Sequence[ToolSpec]:
        return TOOLS

    @property
    def split_rule(self) -> SplitRule:
        return RULE

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        made: list[Task] = []
        while len(made) < count:
            if RULE.split_of_seed(seed) == split:
                setup: JsonObject = {"pages": 1}
                made.append(
                    Task(
                        id=task_id("ledger", "Look.", setup, seed),
                        environment="ledger",
                        instruction="Look.",
                        setup=setup,
                        seed=seed,
                        template="look",
                    )
                )
            seed += 1
        return made

    def describe(self) -> str:
        return "A ledger of named amounts."

    async def reset(self, task: Task, seed: int) -> Observation:
        self.resets += 1
        self.entries = {NAMES[task.seed % 5]: 10 + task.seed % 7, NAMES[(task.seed + 1) % 5]: 3}
        return self._seen()

    async def step(self, call: ToolCall) -> StepResult:
        name, amount = call.arguments.get("name"), call.arguments.get("amount")
        if call.tool == "enter" and isinstance(name, str) and isinstance(amount, int):
            self.entries[name] = amount
        elif call.tool == "strike" and isinstance(name, str) and name in self.entries:
            del self.entries[name]
        elif call.tool != "show":
            return StepResult(observation=self._seen(), error=f"{call.tool} cannot do that.")
        return StepResult(observation=self._seen())

    async def close(self) -> None:
        self.entries = {}

    def _seen(self) -> Observation:
        return Observation(
            text="; ".join(f"{name}: {amount}" for name, amount in self.entries.items()),
            entities=tuple(
                Entity(type="entry", reference=name, properties={"name": name})
                for name in self.entries
            ),
        )


class Ledger(MuteLedger):
    """The ledger with its state."""

    async def state(self) -> JsonObject:
        return {"entries": dict(self.entries)}


def context_of(
    model: ScriptedModel | None,
    factory: EnvironmentFactory = Ledger,
    *,
    count: int = 4,
    seed: int = 1,
    **more: object,
) -> ProposalContext:
    given: dict[str, object] = {"templates": (), "recent": (), **more}
    environment = factory()
    rule = environment.split_rule if isinstance(environment, HasTasks) else RULE
    return ProposalContext(
        environment=factory,
        split_rule=rule,
        count=count,
        seed=seed,
        round=cast("int", given.pop("round_", 0)),
        model=model,
        **given,  # pyright: ignore[reportArgumentType]  # the fields of the dataclass
    )


# --- what a model writes ----------------------------------------------------------------------


def call(tool: str, /, **arguments: object) -> dict[str, object]:
    return {"tool": tool, "arguments": arguments}


def a_draft(name: str = "lamp", amount: int = 7, **changes: object) -> dict[str, object]:
    """A sound task: enter an amount under a new name."""
    return {
        "instruction": f"Enter '{name}' with the amount {amount}.",
        "verify": (
            "def verify(initial, final, answer):\n"
            f"    wanted = dict(initial['entries'], **{{{name!r}: {amount}}})\n"
            "    return final['entries'] == wanted and initial != final\n"
        ),
        "solution": [call("enter", name=name, amount=amount)],
        "failing": [
            [call("enter", name=name, amount=amount + 1)],
            [call("enter", name=name + "s", amount=amount)],
        ],
        **changes,
    }


def said(request: ChatRequest) -> str:
    return "\n".join(message.text for message in request.messages)


def start_of(request: ChatRequest) -> dict[str, int]:
    """The entries of the start state that the prompt shows."""
    found = re.search(r"start state as data: ⟦({.*?)⟧", said(request))
    return json.loads(found[1])["entries"] if found else {}


def sound(request: ChatRequest) -> str | Message:
    """Explores a little, then writes sound tasks; each depends on the start state shown."""
    if request.tools:
        turns = sum(message.role == "assistant" for message in request.messages)
        if turns >= 2:
            return "enough"
        use = ToolUse(id=f"c{turns}", name="show", arguments="{}")
        return Message(role="assistant", tool_uses=(use,))
    number = sum(start_of(request).values())
    if request.schema_name == "Draft":
        return json.dumps(a_draft(f"lamp{number}", number))
    tasks = [a_draft(f"lamp{number}{letter}", number) for letter in "abcde"]
    return "Here they are:\n```json\n" + json.dumps({"tasks": tasks}) + "\n```"


def sound_model() -> ScriptedModel:
    return ScriptedModel(sound)


# --- what was attempted -----------------------------------------------------------------------


def a_task(instruction: str = "Enter rent.", *, seed: int = 11, **changes: object) -> Task:
    (task,) = Ledger().tasks("practice", 1, seed)
    named = {"id": task_id("ledger", instruction, task.setup, task.seed)}
    return task.model_copy(update={"instruction": instruction, **named, **changes})


async def attempted(
    task: Task, calls: Sequence[ToolCall], success: bool | None, feedback: str = ""
) -> PastAttempt:
    """The record of calls carried out."""
    ledger = Ledger()
    initial = await ledger.reset(task, 0)
    before = await ledger.state()
    steps: list[Step] = []
    for each in calls:
        result = await ledger.step(each)
        steps.append(Step(call=each, result=result, state=await ledger.state()))
    trajectory = Trajectory(initial=initial, initial_state=before, steps=tuple(steps))
    return PastAttempt(task, f"attempt-{task.id}", success, trajectory, len(calls), feedback)
