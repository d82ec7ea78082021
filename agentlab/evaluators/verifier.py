"""Scores by the task's own verifier: the environment's, or code over JSON state."""

from __future__ import annotations

from agentlab.protocols import EvaluationContext, SkillRuntime
from agentlab.types import CodeVerifier, Score, Trajectory, is_judged


class Verifier:
    """The evaluator for tasks whose success can be read; it outranks any judge."""

    async def evaluate(self, context: EvaluationContext) -> Score:
        """The verdict of the task's verifier. See `protocols.Evaluator`.

        Raises:
            SkillFaultError: a generated verifier raised or did not end in time.
        """
        task, trajectory = context.task, context.trajectory
        if isinstance(task.verifier, CodeVerifier):
            return await _by_code(task.verifier, trajectory, context.runtime)
        if is_judged(task):
            return Score(explanation="nothing can verify this task; a judge could")
        last = trajectory.steps[-1].result if trajectory.steps else None
        success = last is not None and last.succeeded
        if success:
            explanation = "the environment's verifier ended the episode as a success"
        elif last is not None and last.truncated:
            explanation = "the episode was cut off before success"
        elif last is not None and last.terminated:
            explanation = "the environment's verifier ended the episode as a failure"
        else:
            explanation = "the goal was not reached"
        return _score(success, explanation)


async def _by_code(verifier: CodeVerifier, trajectory: Trajectory, runtime: SkillRuntime) -> Score:
    final = trajectory.steps[-1].state if trajectory.steps else trajectory.initial_state
    if trajectory.initial_state is None or final is None:
        return Score(explanation="the environment's state cannot be read")
    verdict = await runtime.evaluate(
        verifier.source,
        "verify",
        {"initial": trajectory.initial_state, "final": final, "answer": trajectory.answer},
        origin=verifier.origin,
    )
    if not isinstance(verdict, bool):
        return Score(explanation=f"the verifier gave {verdict!r}, which is neither true nor false")
    return _score(verdict, "the task's verify() returned " + str(verdict))


def _score(success: bool, explanation: str) -> Score:
    return Score(value=float(success), success=success, explanation=explanation)
