"""Executors that wait rather than compute, and so run in the event loop; registered by tests."""

from __future__ import annotations

import asyncio

from agentlab.errors import ConfigError, SkillFaultError
from agentlab.protocols import Execution, ExecutionContext
from agentlab.types import Trajectory, Usage


class Waiting:
    """Looks once and gives up."""

    async def execute(self, context: ExecutionContext) -> Execution:
        observation = await context.environment.reset(context.spec.task, context.spec.seed)
        return Execution(Trajectory(initial=observation), Usage(attempts=1))


class Faulty:
    async def execute(self, context: ExecutionContext) -> Execution:
        raise SkillFaultError("The skill code broke.")


class Misused:
    async def execute(self, context: ExecutionContext) -> Execution:
        raise ConfigError("The option 'x' is wrong.")


class Hanging:
    async def execute(self, context: ExecutionContext) -> Execution:
        await asyncio.sleep(3600)
        raise AssertionError
