"""The gate that a proposal passes before it is a task that may be practised.

Code-as-Task: what says when a task is solved is code, and is believed only once the reference
solution has passed it and what must fail has failed it. A proposal in free words must also ask
for nothing that is kept for measuring. Nothing here is on record; who asks decides what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

from agentlab.errors import InvalidTaskError, VerifierFaultError
from agentlab.protocols import (
    Environment,
    Grammar,
    HasGrammar,
    HasState,
    HasTasks,
    SkillRuntime,
)
from agentlab.types import (
    Clause,
    CodeVerifier,
    JsonObject,
    Task,
    ToolCall,
    canonical_json,
    is_judged,
)

MOST_ACHIEVED = 5
"""Clauses that a solution brings about, of which every order is looked at."""
FAILING = 2
"""Failing cases that a proposal must bring; one that nothing fails is no test."""


async def check_task(
    task: Task, environment: Environment, runtime: SkillRuntime | None = None
) -> str | None:
    """Code-as-Task's gate (Self-Challenging): the solution passes twice, the rest fails.

    Args:
        task: the proposal.
        environment: an instance that nobody else uses.
        runtime: where a generated verifier runs; needed only for one.

    Returns:
        `<rule>: <what happened>`, or None when the task is fit.

    Raises:
        SkillFaultError: its generated verifier raised or did not end in time.
        VerifierFaultError: its generated verifier gave two answers to one question.
    """
    if is_judged(task):
        return await _can_begin(task, environment)
    if task.solution is not None:
        for _ in range(2):
            if not await _passes(task, task.solution, environment, runtime):
                return "solution fails: the reference solution did not pass from a fresh reset"
    if await _passes_alike(task, (), environment, runtime):
        return "empty trajectory passes: there is nothing to do"
    for calls in task.failing:
        if await _passes_alike(task, calls, environment, runtime):
            named = ", ".join(call.tool for call in calls)
            return f"failing case passes: {named} on things the mission does not name"
    if len(task.failing) < FAILING:
        return f"failing cases missing: {len(task.failing)} of {FAILING}"
    return None


async def reserved_by_effect(task: Task, environment: Environment) -> str | None:
    """Why a freely worded task may not be practised: it asks for what is kept, in other words.

    What it asks for is told by what its reference solution brings about. Whatever of that the
    grammar could state as a reserved template keeps the task out, so this errs on the safe side.
    """
    if not isinstance(task.verifier, CodeVerifier) or not isinstance(environment, HasTasks):
        return None
    rule = environment.split_rule
    if not (rule.heldout_templates or rule.dev_templates):
        return None
    if not isinstance(environment, HasGrammar) or not isinstance(environment, HasState):
        return None
    if _says_its_mission(task, environment.grammar()):
        return None  # in the grammar's own words, which the split rule has judged
    if not task.solution:
        return "reserved template: no solution shows that it asks for nothing that is kept"
    await environment.reset(task, 0)
    before = await environment.state()
    for call in task.solution:
        result = await environment.step(call)
        if result.terminated or result.truncated:
            break
    achieved = environment.grammar().achieved(before, await environment.state())
    # A verifier of code sees the first and the last state, so that is all that it can ask for.
    names = sorted(clause.predicate for clause in _apart(achieved))[:MOST_ACHIEVED]
    setup = str(task.setup.get("setup", task.template.partition(": ")[0]))
    for count in range(1, len(names) + 1):
        for order in sorted(set(permutations(names, count))):
            for joints in product((" > ", " & "), repeat=count - 1):
                words = [order[0], *(j + name for j, name in zip(joints, order[1:], strict=True))]
                kept = rule.split_of_template(f"{setup}: {''.join(words)}")
                if kept != "practice":
                    return f"reserved template: its solution brings about what is kept for {kept}"
    return None


def _says_its_mission(task: Task, grammar: Grammar) -> bool:
    try:
        return task.mission is not None and grammar.parse(task.instruction) == task.mission
    except InvalidTaskError:
        return False


def _apart(clauses: Sequence[Clause]) -> list[Clause]:
    """The clauses without those that say a part of another: `files_path` of one of `files`."""

    def values(clause: Clause) -> set[str]:
        return {canonical_json(value) for value in clause.arguments.values()}

    return [
        clause
        for clause in clauses
        if not any(
            clause.predicate.startswith(f"{other.predicate}_") and values(clause) <= values(other)
            for other in clauses
        )
    ]


async def _can_begin(task: Task, environment: Environment) -> str | None:
    """What a task without a verifier must show: that it begins, and is not over at once."""
    for _ in range(2):
        await environment.reset(task, 0)
        if isinstance(environment, HasState):
            await environment.state()
    return None


async def _passes_alike(
    task: Task, calls: Sequence[ToolCall], environment: Environment, runtime: SkillRuntime | None
) -> bool:
    """Whether it passes, which a fresh reset must not change."""
    verdicts = [await _passes(task, calls, environment, runtime) for _ in range(2)]
    if verdicts[0] is not verdicts[1]:
        raise VerifierFaultError(
            f"The same {len(calls)} calls passed once and failed once from a fresh reset."
        )
    return verdicts[0]


async def _passes(
    task: Task, calls: Sequence[ToolCall], environment: Environment, runtime: SkillRuntime | None
) -> bool:
    await environment.reset(task, 0)
    before = await environment.state() if isinstance(environment, HasState) else None
    succeeded = False
    for call in calls:
        result = await environment.step(call)
        if result.terminated or result.truncated:
            succeeded = result.succeeded
            break
    if not isinstance(task.verifier, CodeVerifier):
        return succeeded
    if before is None or not isinstance(environment, HasState) or runtime is None:
        raise VerifierFaultError("A generated verifier needs an environment with state().")
    after = await environment.state()
    inputs: JsonObject = {"initial": before, "final": after, "answer": None}
    code = task.verifier
    verdicts = [
        await runtime.evaluate(code.source, "verify", inputs, origin=code.origin) for _ in range(2)
    ]
    if verdicts[0] is not verdicts[1] or not isinstance(verdicts[0], bool):
        raise VerifierFaultError(f"verify() gave {verdicts[0]!r} and {verdicts[1]!r} on one state.")
    return verdicts[0]
