"""An executor: attempts a task."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from agentlab.protocols import Execution, ExecutionContext, Executor
from agentlab.registry import resolve


class FrugalExecutor:
    """Search with a tenth of the tool calls first, and with the rest only where that fails."""

    cpu_bound = True
    """It runs in a worker process, where there are no models."""

    async def execute(self, context: ExecutionContext) -> Execution:
        """Try `context.spec.task` within `context.spec.limits`."""
        search = cast("type[Executor]", resolve("executor", "search"))()
        limits = context.spec.limits
        few = max(1, limits.tool_calls // 10)
        tried = await search.execute(_with(context, few))
        if tried.first_success is not None or few >= limits.tool_calls:
            return tried
        last = await search.execute(_with(context, limits.tool_calls - few))
        spent = None if last.first_success is None else tried.usage + last.first_success
        return Execution(last.trajectory, tried.usage + last.usage, spent)


def _with(context: ExecutionContext, tool_calls: int) -> ExecutionContext:
    limits = context.spec.limits.model_copy(update={"tool_calls": tool_calls})
    return replace(context, spec=context.spec.model_copy(update={"limits": limits}))
