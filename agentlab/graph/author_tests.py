"""The tests that came with a skill, run where the skill is to serve.

They are its author's words: what fails them is refused, and what passes them has shown nothing
yet. A test whose start state cannot be found here says neither. Runs in a worker, in a box of
its own for each call; reads and writes no record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Literal, NamedTuple, cast

from agentlab.environments.registration import make_environment
from agentlab.errors import EnvironmentFaultError, InvalidTaskError
from agentlab.executors.fitting import bindings, holds
from agentlab.graph.replays import effect_shows, run_skill
from agentlab.protocols import Environment, HasGrammar, HasState, HasTasks, SkillRuntime
from agentlab.sandbox import open_settled
from agentlab.types import (
    EnvironmentRef,
    Frozen,
    JsonObject,
    Observation,
    Skill,
    SplitRule,
    Task,
)

MOST = 6
"""Tests of a skill that are run."""
STARTS = 6
"""Start states in which a test is looked for that does not name its own."""
MOST_BOUND = 5_000
"""Sets of arguments of a start state that are looked at for those of a test."""
Outcome = Literal["passed", "failed", "not found"]


class AuthorTestRequest(Frozen):
    """Whose tests are to be run, and where."""

    skill: Skill
    callees: tuple[Skill, ...] = ()
    environment: EnvironmentRef
    box: str


class AuthorTest(NamedTuple):
    """What came of one test."""

    arguments: JsonObject
    outcome: Outcome
    why: str = ""


def author_tests(request: AuthorTestRequest) -> tuple[AuthorTest, ...]:
    """Run the tests, in this process and its box."""
    return asyncio.run(_run(request))


def judge_author_tests(tests: tuple[AuthorTest, ...]) -> str | None:
    """Why a skill does not do what its own tests say, or None."""
    failed = [test for test in tests if test.outcome == "failed"]
    if not failed:
        return None
    return f"run: {len(failed)} of its author's {len(tests)} tests failed: {failed[0].why}"


async def _run(request: AuthorTestRequest) -> tuple[AuthorTest, ...]:
    environment = make_environment(request.environment)
    runtime = open_settled(request.box, single_use=True)
    try:
        if not isinstance(environment, HasGrammar) or not isinstance(environment, HasState):
            raise EnvironmentFaultError(
                "An imported skill can be verified only where the environment has grammar() and "
                "state()."
            )
        await runtime.open((request.skill, *request.callees), environment.tools)
        found: list[AuthorTest] = []
        for test in request.skill.tests[:MOST]:
            outcome, why = await _try(request.skill, test, environment, runtime)
            arguments = test.get("arguments")
            shown: JsonObject = arguments if isinstance(arguments, dict) else {}
            found.append(AuthorTest(shown, outcome, why))
        return tuple(found)
    finally:
        await runtime.close()
        await environment.close()


async def _try(
    skill: Skill, test: JsonObject, environment: Environment, runtime: SkillRuntime
) -> tuple[Outcome, str]:
    """One test, from the first start state in which it can be tried, twice."""
    given = test.get("arguments")
    if not isinstance(given, dict) or not given.keys() <= {p.name for p in skill.parameters}:
        return "failed", "its arguments are not those of the skill"
    for task in _starts(test, environment):
        observation = await environment.reset(task, 0)
        state = await cast("HasState", environment).state()
        arguments = _bound(skill, given, observation)
        if arguments is None or not holds(skill.precondition, state):
            continue
        if await effect_shows(skill, state, state, arguments, runtime):
            continue  # it holds before anything was done, which says nothing
        once = await _once(skill, arguments, task, environment, runtime)
        if once is None:
            continue
        again = await _once(skill, arguments, task, environment, runtime)
        if once is not again:
            return "failed", "it came out otherwise from the same start"
        return ("passed", "") if once else ("failed", "it ended and its effect did not show")
    return "not found", ""


def _bound(skill: Skill, given: JsonObject, observation: Observation) -> JsonObject | None:
    """All arguments, of which the test gives those that the clause names; None if it cannot be."""
    for arguments in islice(bindings(skill, None, observation.entities), MOST_BOUND):
        if all(arguments[name] == value for name, value in given.items()):
            return arguments
    return None


async def _once(
    skill: Skill,
    arguments: JsonObject,
    task: Task,
    environment: Environment,
    runtime: SkillRuntime,
) -> bool | None:
    """Whether the effect showed; None where it broke off, for which a start may be to blame."""
    ran = await run_skill(skill.name, arguments, task, (), environment, runtime)
    if ran is None:
        return None
    if await effect_shows(skill, ran.initial, ran.final, arguments, runtime):
        return True
    return False if ran.completed else None


def _starts(test: JsonObject, environment: Environment) -> Iterator[Task]:
    """The start state that the test names; without one, the first ones of each family."""
    grammar = cast("HasGrammar", environment).grammar()
    rule = environment.split_rule if isinstance(environment, HasTasks) else SplitRule()
    setup, seed = test.get("setup"), test.get("seed")
    if isinstance(setup, str) and isinstance(seed, int) and setup in grammar.spec.setups:
        places = [(setup, seed)]
    else:
        places = [(name, number) for number in range(STARTS) for name in grammar.spec.setups[:3]]
    for name, number in places:
        if rule.split_of_seed(number) != "practice":
            continue
        try:
            yield grammar.compose(None, name, number)
        except InvalidTaskError:
            continue
