"""A web environment with its task under way, as the browser tests use it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import TypeVar

from agentlab.environments.registration import make_environment
from agentlab.environments.web.environment import PageEnvironment
from agentlab.types import EnvironmentRef, JsonObject, Observation, StepResult, Task, ToolCall

T = TypeVar("T")


def task_of(
    instruction: str = "Look around.", setup: JsonObject | None = None, seed: int = 0
) -> Task:
    """A task of no template."""
    return Task(
        id="task-web",
        environment="web",
        instruction=instruction,
        setup=setup or {},
        seed=seed,
        template="none",
    )


class OpenedSite:
    """An environment on a site, begun; calls are made without waiting in the test."""

    def __init__(self, url: str, task: Task | None = None, **options: object) -> None:
        quick = {"settle": 0.05, "patience": 0.2, "seconds": 5.0}
        given: JsonObject = {**quick, **options}  # type: ignore[dict-item]
        made = make_environment(EnvironmentRef(name=f"web:{url}", options=given))
        assert isinstance(made, PageEnvironment)
        self.environment = made
        self._task = task or task_of()

    def __enter__(self) -> OpenedSite:
        self._loop = asyncio.new_event_loop()
        try:
            self.first = self.reset()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def reset(self, task: Task | None = None) -> Observation:
        """Begin again."""
        chosen = task or self._task
        return self._loop.run_until_complete(self.environment.reset(chosen, chosen.seed))

    def step(self, tool: str, **arguments: object) -> StepResult:
        """One call."""
        call = ToolCall(tool=tool, arguments=arguments)  # type: ignore[arg-type]
        return self._loop.run_until_complete(self.environment.step(call))

    def done(self, tool: str, **arguments: object) -> Observation:
        """One call that must be carried out."""
        result = self.step(tool, **arguments)
        assert result.error is None, result.error
        return result.observation

    def refused(self, tool: str, **arguments: object) -> str:
        """One call that must be refused; the sentence."""
        result = self.step(tool, **arguments)
        assert result.error is not None, result.observation.text
        assert result.steps == 0
        return result.error

    def state(self) -> JsonObject:
        """The state now."""
        return self._loop.run_until_complete(self.environment.state())

    def page(self) -> JsonObject:
        """What the state says of the page."""
        found = self.state()["page"]
        assert isinstance(found, dict)
        return found

    def wait(self, work: Coroutine[object, object, T]) -> T:
        """The result of something of the environment's."""
        return self._loop.run_until_complete(work)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.run_until_complete(self.environment.close())
        self._loop.close()
