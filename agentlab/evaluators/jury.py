"""Several judges that must agree, for verdicts that much depends on.

Jurors differ in what makes them err: one weighs the evidence, one looks for what is wrong, one is
a stronger model. They do not see each other's verdicts. All must have one and all the same;
anything else is undecided. Their verdicts are never averaged and the majority does not win: two
against one is a disagreement about what happened, and no number says who is right.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from agentlab.errors import ConfigError, UsageError
from agentlab.evaluators.judge import Judge, confidence, verified
from agentlab.protocols import EvaluationContext
from agentlab.types import JsonObject, Score


class Jury:
    """The evaluator `jury`.

    Args:
        jurors: at least two judges that do not ask verifiers; otherwise a weighing and a doubting
            reading by the context's model and, where it has a stronger one, a weighing one by
            that.
        samples: readings of each juror, where none are given.
        verify: ask the task's verifier first. See `Judge`.

    Raises:
        ConfigError: fewer than two jurors, or an option out of range.
    """

    needs_model = True

    def __init__(
        self, *, jurors: Sequence[Judge] = (), samples: int = 1, verify: bool = True
    ) -> None:
        if len(jurors) == 1:
            raise ConfigError("jury: one juror is a judge; give two or none.")
        self._jurors = tuple(jurors)
        self._verify = verify
        self._weighing = Judge(samples=samples, verify=False)
        self._doubting = Judge(samples=samples, style="doubt", verify=False)
        self._stronger = Judge(samples=samples, asks="stronger", verify=False)

    def identity(self, model: str, stronger: str | None = None) -> JsonObject:
        """What makes this jury one and no other, for `records.calibrations.judge_digest`."""
        jurors = self._seated(has_stronger=stronger is not None)
        return {
            "evaluator": "jury",
            "jurors": [juror.identity(model, stronger) for juror in jurors],
        }

    async def evaluate(self, context: EvaluationContext) -> Score:
        """The verdict that all jurors share; unknown where they do not.

        Raises:
            UsageError: a model is needed and the context has none.
            SkillFaultError: a generated verifier raised or did not end in time.
            ModelFaultError: an endpoint failed for good.
            BudgetSpentError: a budget did not allow a call.
        """
        if self._verify:
            known = await verified(context)
            if known is not None:
                return known
        if context.model is None:
            raise UsageError(
                "The evaluator 'jury' needs a chat model and the run names none; name one, such "
                "as `--model openai:<model>` or 'model' of 'roles.evaluator' in a --config file, "
                "or choose the evaluator 'verifier'."
            )
        # One after another: the order of their calls is part of what is recorded.
        scores = [
            await juror.evaluate(context)
            for juror in self._seated(has_stronger=context.stronger is not None)
        ]
        return united(scores)

    def _seated(self, *, has_stronger: bool) -> tuple[Judge, ...]:
        if self._jurors:
            return self._jurors
        if has_stronger:
            return (self._weighing, self._doubting, self._stronger)
        return (self._weighing, self._doubting)


def united(scores: Sequence[Score]) -> Score:
    """The score that independent scores share; undecided where one is unknown or they differ."""
    said = ", ".join(
        "undecided" if score.success is None else "success" if score.success else "failure"
        for score in scores
    )
    told: list[JsonValue] = [
        {
            "success": score.success,
            "explanation": score.explanation,
            "confidence": score.confidence,
            "evidence": score.evidence,
        }
        for score in scores
    ]
    evidence: JsonObject = {"jurors": told}
    verdicts = {score.success for score in scores}
    if len(verdicts) != 1 or None in verdicts:
        return Score(
            explanation=f"undecided: the jurors say {said}",
            evidence=evidence,
            source="judge",
            confidence=0.0,
        )
    success = verdicts.pop()
    return Score(
        value=float(bool(success)),
        success=success,
        explanation=f"{len(scores)} jurors of {len(scores)} agree. {scores[0].explanation}",
        evidence=evidence,
        source="judge",
        # No surer than the least sure of them allows, and no surer than so many jurors can be.
        confidence=min(
            confidence(len(scores), len(scores)), *(score.confidence for score in scores)
        ),
    )
