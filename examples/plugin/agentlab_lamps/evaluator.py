"""An evaluator: scores an attempt."""

from __future__ import annotations

from typing import cast

from agentlab.protocols import EvaluationContext, Evaluator
from agentlab.registry import resolve
from agentlab.types import Score


class TidyEvaluator:
    """The task's verifier decides; a success is worth less for each call that was refused."""

    async def evaluate(self, context: EvaluationContext) -> Score:
        """The verdict; what the verifier does not know stays unknown."""
        verifier = cast("type[Evaluator]", resolve("evaluator", "verifier"))()
        score = await verifier.evaluate(context)
        refused = sum(step.result.error is not None for step in context.trajectory.steps)
        if not score.success:
            return score
        return score.model_copy(
            update={"value": 1 / (1 + refused), "evidence": {"refused": refused}}
        )
