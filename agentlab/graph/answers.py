"""What roles of others answer, looked at where it comes in, so that a mistake is told by its role.

A plugin's proposer, evaluator or curriculum is somebody's first attempt at a contract. What breaks
it is said in one sentence that names the role and what is asked of it, here and not where the
answer would be used. Whether an answer is good is judged elsewhere.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from typing import SupportsFloat, TypeVar, cast

from agentlab.errors import AgentLabError, UsageError, VerifierFaultError
from agentlab.models.redaction import known
from agentlab.protocols import EvaluationContext, Evaluator
from agentlab.types import Score, Task

T = TypeVar("T")


def tasks_of(proposer: str, given: object) -> list[Task]:
    """What `propose()` of the proposer of that name gave.

    Raises:
        UsageError: it is no sequence of tasks.
    """
    asked = "propose() is to give a list of Tasks"
    return _each("proposer", proposer, asked, given, Task)


async def score_of(name: str, evaluator: Evaluator, context: EvaluationContext) -> Score:
    """What `evaluate()` of the evaluator of that name gives.

    Raises:
        VerifierFaultError: it raised, which is that attempt's fault alone.
        UsageError: it is no score.
    """
    try:
        given = cast("object", await evaluator.evaluate(context))
    except AgentLabError:
        raise
    except Exception as error:  # foreign code: it may fail in any way
        raise VerifierFaultError(f"the evaluator {name!r} raised {raised(error)}") from error
    if not isinstance(given, Score):
        raise _wrong("evaluator", name, "evaluate() is to give a Score", given)
    return given


def probabilities_of(curriculum: str, given: object) -> list[float]:
    """What `probabilities()` of the curriculum of that name gave.

    Raises:
        UsageError: it is no sequence of numbers.
    """
    asked = "probabilities() is to give a list of numbers"
    return list(map(float, _each("curriculum", curriculum, asked, given, SupportsFloat)))


def raised(error: Exception) -> str:
    """What a role raised, and where; with nothing secret in it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(place.filename)}:{place.lineno}"
    return known().text(f"{type(error).__name__}: {error} ({where})")


def _each(role: str, name: str, asked: str, given: object, kind: type[T]) -> list[T]:
    """A list of one kind of thing."""
    if not isinstance(given, Iterable):
        raise _wrong(role, name, asked, given)
    found: list[T] = []
    for one in cast("Iterable[object]", given):
        if not isinstance(one, kind):
            raise _wrong(role, name, asked, one, "in it")
        found.append(one)
    return found


def _wrong(role: str, name: str, asked: str, given: object, where: str = "") -> UsageError:
    gave = " ".join(["gave", type(given).__name__, *([where] if where else [])])
    return UsageError(f"The {role} {name!r} {gave}: {asked}; correct it, or choose another {role}.")
