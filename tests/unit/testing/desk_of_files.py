"""A small environment of files in memory, with tools, tasks and a state."""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.types import (
    JsonObject,
    Observation,
    Split,
    SplitRule,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    task_id,
)

RULE = SplitRule(heldout_templates=("never asked",))


def _tool(name: str, effect: str, *parameters: str) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=f"{name.replace('_', ' ')}.",
        parameters={
            "type": "object",
            "properties": {each: {"type": "string"} for each in parameters},
            "required": list(parameters),
        },
        effect="none" if effect == "none" else "changes",
    )


TOOLS = (
    _tool("read_file", "none", "path"),
    _tool("write_file", "changes", "path", "content"),
    _tool("move_file", "changes", "source", "destination"),
    _tool("list_directory", "none", "path"),
)


class Desk:
    """Files by their names."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

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
                made.append(
                    Task(
                        id=task_id("desk", "Look.", {}, seed),
                        environment="desk",
                        instruction="Look.",
                        setup={},
                        seed=seed,
                        template="look",
                    )
                )
            seed += 1
        return made

    def describe(self) -> str:
        return "Files on a desk, which can be read, written and moved."

    async def reset(self, task: Task, seed: int) -> Observation:
        self.files = {f"memo{task.seed % 7}.txt": "remember", "plan.txt": "first this"}
        return self._seen()

    async def state(self) -> JsonObject:
        return {"files": dict(self.files)}

    async def step(self, call: ToolCall) -> StepResult:
        given = {name: str(value) for name, value in call.arguments.items()}
        try:
            if call.tool == "read_file":
                return StepResult(observation=Observation(text=self.files[given["path"]]))
            if call.tool == "write_file":
                self.files[given["path"]] = given["content"]
            elif call.tool == "move_file":
                self.files[given["destination"]] = self.files.pop(given["source"])
        except KeyError as error:
            return StepResult(observation=self._seen(), error=f"ENOENT: {error}", steps=0)
        return StepResult(observation=self._seen())

    async def close(self) -> None:
        self.files = {}

    def _seen(self) -> Observation:
        return Observation(text="On the desk: " + ", ".join(sorted(self.files)))
