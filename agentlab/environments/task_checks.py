"""Checks of what surrounds tasks: oracle, verifier, grammar, splits.

Each applies only where the environment offers the thing; see `protocols`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

from agentlab.environments import probing
from agentlab.environments.pacing import in_time
from agentlab.environments.probing import Opened
from agentlab.environments.report import CheckSkipped
from agentlab.errors import InvalidTaskError
from agentlab.protocols import (
    Environment,
    EnvironmentFactory,
    HasGrammar,
    HasOracle,
    HasState,
    HasTasks,
)
from agentlab.types import Split, Task, ToolCall

SPLIT_TASKS = 20
"""Tasks asked for in each split."""


async def oracle_solves(factory: EnvironmentFactory, tasks: Sequence[Task]) -> int:
    """The oracle's calls solve the task, none of them refused."""
    solved = 0
    for task in in_time(tasks):
        async with Opened(factory) as environment:
            if not isinstance(environment, HasOracle):
                raise CheckSkipped("There is no oracle.")
            solution = await environment.oracle(task)
            if solution is None:
                continue
            await probing.start(environment, task)
            walk = await probing.follow(environment, solution)
            for call, result in zip(walk.calls, walk.results, strict=True):
                assert result.error is None, f"{probing.say(call)} of the oracle: {result.error}"
            ended = bool(walk.results) and walk.results[-1].succeeded
            assert ended, f"The oracle does not solve {task.instruction!r} (seed {task.seed})."
            unused = len(solution) - len(walk.calls)
            assert unused == 0, f"The oracle has {unused} calls too many for {task.instruction!r}."
            solved += 1
    return solved


async def empty_fails(factory: EnvironmentFactory, tasks: Sequence[Task]) -> int:
    """Doing nothing, or only looking, solves no task."""
    count = 0
    for task in in_time(tasks):
        async with Opened(factory) as environment:
            observation, _ = await probing.start(environment, task)
            idle = [ToolCall(tool=probing.UNKNOWN_TOOL)]
            for tool in environment.tools:
                if tool.effect == "none":
                    idle.extend(probing.calls_of(tool, observation.entities)[:3])
            for call in idle:
                result = await environment.step(call)
                done = result.succeeded or (result.reward > 0)
                assert not done, (
                    f"{task.instruction!r} counts as solved after {probing.say(call)} alone."
                )
        count += 1
    return count


async def grammar_round_trip(factory: EnvironmentFactory, tasks: Sequence[Task]) -> int:
    """What the grammar composes it parses back, and it names what solutions achieve."""
    count = 0
    asked: Counter[str] = Counter()
    named: set[str] = set()
    async with Opened(factory) as environment:
        if not isinstance(environment, HasGrammar):
            raise CheckSkipped("There is no grammar.")
        grammar = environment.grammar()
        spec = grammar.spec
        for task in in_time(tasks):
            if task.mission is None:
                continue
            said = repr(task.instruction)
            assert grammar.parse(task.instruction) == task.mission, f"{said} parses to another."
            setup = task.template.partition(": ")[0]
            assert setup in spec.setups, f"The template {task.template!r} names no start state."
            composed = grammar.compose(task.mission, setup, task.seed)
            assert composed == grammar.compose(task.mission, setup, task.seed), f"{said} varies."
            assert composed.mission == task.mission, f"{said} is composed with another mission."
            again = grammar.parse(composed.instruction)
            assert again == task.mission, f"{composed.instruction!r} parses to another mission."
            free = grammar.compose(None, setup, task.seed)
            await environment.reset(free, task.seed)
            asked.update(clause.predicate for clause in task.mission.clauses)
            named |= await _named(environment, task)
            count += 1
        for nonsense in ("", "Colourless green ideas sleep furiously."):
            try:
                parsed = grammar.parse(nonsense)
            except InvalidTaskError:
                continue
            raise AssertionError(f"{nonsense!r} parses to {parsed!r}.")
        if isinstance(environment, HasState) and isinstance(environment, HasOracle):
            # One call may meet a clause and undo it again, so a single task proves nothing.
            silent = sorted(name for name, n in asked.items() if n > 1 and name not in named)
            assert not silent, f"No solution is named as achieving {silent}."
    return count


async def _named(environment: Environment, task: Task) -> set[str]:
    """The predicates that the grammar names along the oracle's solution."""
    named: set[str] = set()
    if not isinstance(environment, HasState) or not isinstance(environment, HasGrammar):
        return named
    grammar = environment.grammar()
    await probing.start(environment, task)
    before = await environment.state()
    assert not grammar.achieved(before, before), "Where nothing changed, something is achieved."
    for call in await probing.oracle_of(environment, task) or ():
        await environment.step(call)
        after = await environment.state()
        named.update(clause.predicate for clause in grammar.achieved(before, after))
        before = after
    return named


async def splits_disjoint(factory: EnvironmentFactory, tasks: Sequence[Task]) -> int:
    """Each split's tasks obey the rule, share nothing with another, and are always the same."""
    async with Opened(factory) as environment:
        if not isinstance(environment, HasTasks):
            raise CheckSkipped("It brings no tasks.")
        rule = environment.split_rule
        owner: dict[str, Split] = {}
        seeds: dict[int, Split] = {}
        for split in cast("tuple[Split, ...]", ("practice", "dev", "heldout")):
            found = list(environment.tasks(split, SPLIT_TASKS, 0))
            assert found == list(environment.tasks(split, SPLIT_TASKS, 0)), f"{split} varies."
            ids = {task.id for task in found}
            assert len(ids) == SPLIT_TASKS, f"{split} has {len(ids)} of {SPLIT_TASKS} tasks."
            for task in found:
                _in_split(task, split, rule.split_of_seed(task.seed), rule.refusal(task))
                for key, known in ((task.id, owner), (task.seed, seeds)):
                    first = cast("dict[object, Split]", known).setdefault(key, split)
                    assert first == split, f"{key!r} is in {first} and in {split}."
    return 3 * SPLIT_TASKS


def _in_split(task: Task, split: Split, of_seed: Split, refusal: str | None) -> None:
    said = f"{task.instruction!r} (seed {task.seed})"
    assert task.split == split, f"{said} is given for {split} and says {task.split}."
    assert of_seed == split, f"{said} is given for {split}, but its seed belongs to {of_seed}."
    if split == "practice":
        assert refusal is None, f"{said} is given for practice, but the rule refuses: {refusal}."
