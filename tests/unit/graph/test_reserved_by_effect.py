"""A task in other words is kept out of practice when it asks for what is held out."""

from __future__ import annotations

import asyncio

from agentlab.envs.courier.environment import Courier
from agentlab.graph.task_gate import check_task, reserved_by_effect
from agentlab.types import CodeVerifier, Task, task_id

VERIFIER = CodeVerifier(
    source="def verify(initial, final, answer):\n    return True\n", origin="model"
)


def reworded(task: Task) -> Task:
    words = f"{task.instruction} please"
    seed = next(n for n in range(task.seed, task.seed + 20) if n % 10 == 1)
    return task.model_copy(
        update={
            "id": task_id(task.environment, words, task.setup, seed),
            "instruction": words,
            "template": f"open: {words}",
            "mission": None,
            "split": "practice",
            "verifier": VERIFIER,
        }
    )


async def answer(task: Task, world: Courier) -> tuple[str | None, int]:
    """What is said of the task in other words, and how much its solution brings about."""
    solution = await world.oracle(task)
    assert solution
    await world.reset(task, 0)
    before = await world.state()
    for call in solution:
        await world.step(call)
    effects = world.grammar().achieved(before, await world.state())
    other = reworded(task).model_copy(update={"solution": tuple(solution), "seed": task.seed})
    return await reserved_by_effect(other, world), len(effects)


def test_held_out_missions_in_other_words_are_found() -> None:
    async def ask() -> list[tuple[str | None, int]]:
        world = Courier()
        return [await answer(task, world) for task in world.tasks("heldout", 20, 3)]

    found = asyncio.run(ask())
    assert sum(effects >= 3 for _, effects in found) >= 5
    for said, effects in found:
        # Courier keeps three clauses and more; its code verifiers see first and last state.
        if effects >= 3:
            assert said is not None and said.startswith("reserved template: ")


def test_what_is_practised_may_be_said_in_other_words() -> None:
    async def ask() -> list[tuple[str | None, int]]:
        world = Courier()
        return [await answer(task, world) for task in world.tasks("practice", 20, 3)]

    assert sum(said is None for said, _ in asyncio.run(ask())) >= 5


def test_without_a_solution_nothing_vouches_for_it() -> None:
    async def ask() -> str | None:
        world = Courier()
        (task,) = world.tasks("practice", 1, 0)
        return await reserved_by_effect(reworded(task).model_copy(update={"solution": None}), world)

    assert "no solution shows" in (asyncio.run(ask()) or "")


def test_tasks_of_the_grammar_are_judged_by_their_template_alone() -> None:
    async def ask() -> tuple[str | None, str | None]:
        world = Courier()
        (task,) = world.tasks("practice", 1, 0)
        return await reserved_by_effect(task, world), await check_task(
            task.model_copy(update={"failing": ((), ())}), world
        )

    assert asyncio.run(ask())[0] is None


def test_a_verifier_of_code_for_words_of_the_grammar_needs_no_solution() -> None:
    """What they ask for is parsed, so nothing has to vouch for it; other words are not."""

    async def ask() -> tuple[str | None, str | None]:
        world = Courier()
        (task,) = world.tasks("practice", 1, 0)
        bare = task.model_copy(update={"solution": None, "verifier": VERIFIER})
        other = bare.model_copy(update={"instruction": f"{bare.instruction} please"})
        return await reserved_by_effect(bare, world), await reserved_by_effect(other, world)

    own, others = asyncio.run(ask())
    assert own is None
    assert "no solution shows" in (others or "")
