"""Skills whose effect no grammar names: judged by their check alone, which more controls judge.

The environment is Python functions over nested facts, of which nothing can be asked in words: the
start states are its own, the arguments are what calls of practice were given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from agentlab.environments.tools import ToolsWorld
from agentlab.errors import EnvironmentFaultError
from agentlab.graph.given import Told, told_of
from agentlab.graph.replays import replay_skill
from agentlab.graph.starts import ReplayRequest
from agentlab.library.admission import judge_replays, nameable, static_check
from agentlab.library.controls import INSTEAD, judge_controls, untouched
from agentlab.protocols import Environment
from agentlab.sandbox.runtime import BoxRuntime
from agentlab.sandbox.subprocess import PlainBox
from agentlab.types import (
    EnvironmentRef,
    GrammarSpec,
    JsonObject,
    Observation,
    Parameter,
    PastAttempt,
    Replay,
    Skill,
    Step,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    Trajectory,
)
from agentlab.types.skill import Control

BANK = '''
import random

accounts: dict[str, dict[str, object]] = {}
READS = ("look",)


def open_account(owner: str) -> None:
    """Open an empty account."""
    if owner in accounts:
        raise ValueError("there is one")
    accounts[owner] = {"balance": 0, "history": []}


def pay_in(owner: str, amount: int) -> None:
    """Pay in to an account that is open."""
    account = accounts[owner]
    account["balance"] += amount
    account["history"].append({"paid": amount})


def look(owner: str) -> int:
    """What is in an account."""
    return accounts[owner]["balance"]


def state() -> dict[str, object]:
    return {"accounts": accounts}


def reset(seed: int) -> None:
    draw = random.Random(seed)
    accounts.clear()
    for owner in draw.sample(["ann", "bob", "cyd", "dan", "eve", "fay"], 3):
        accounts[owner] = {"balance": draw.randint(5, 50), "history": []}
'''
ENOUGH = 3
REF = EnvironmentRef(name="tools:bank")
ACCOUNT = Parameter(name="owner", type="string")
AMOUNT = Parameter(name="amount", type="integer")
DOC = '    """Do it.\n\n    Precondition: none.\n    Effect: it is so.\n    """\n'
PAID = (
    "before = initial['accounts'].get(owner)\n"
    "    after = final['accounts'].get(owner)\n"
    "    return before is not None and after['balance'] == before['balance'] + amount"
)
OPENED = (
    "after = final['accounts'].get(owner)\n"
    "    return after is not None and after['balance'] == amount "
    "and owner not in initial['accounts']"
)


@pytest.fixture
def bank(tmp_path: Path) -> ToolsWorld:
    path = tmp_path / "bank.py"
    path.write_text(BANK, encoding="utf-8")
    return ToolsWorld(str(path))


def skill(
    body: str,
    check: str,
    parameters: Sequence[Parameter] = (ACCOUNT, AMOUNT),
    tools: Sequence[str] = ("pay_in",),
) -> Skill:
    """A candidate of a model's, without a clause."""
    given = ", ".join(f"{p.name}: {'int' if p.type == 'integer' else 'str'}" for p in parameters)
    star = f", *, {given}" if given else ""
    return Skill(
        id="skill-candidate",
        name="candidate",
        environment="tools-bank",
        source=f"def candidate(env{star}):\n{DOC}    {body}\n",
        parameters=tuple(parameters),
        summary="Do it.",
        effect_source=f"def check(initial, final{star}):\n    {check}\n",
        tools=tuple(tools),
        origin="model",
    )


PAY = skill("env.pay_in(owner=owner, amount=amount)", PAID)
OPEN = skill(
    "env.open_account(owner=owner)\n    env.pay_in(owner=owner, amount=amount)",
    OPENED,
    tools=("open_account", "pay_in"),
)


async def attempted(world: ToolsWorld, seed: int, calls: Sequence[ToolCall]) -> PastAttempt:
    """A solved attempt that made these calls."""
    task = world.grammar().compose(None, "start", seed)
    initial = await world.reset(task, 0)
    before = await world.state()
    steps: list[Step] = []
    for call in calls:
        result = await world.step(call)
        steps.append(Step(call=call, result=result, state=await world.state()))
    return PastAttempt(
        task=task,
        attempt_id=f"attempt-{seed}",
        success=True,
        trajectory=Trajectory(initial=initial, initial_state=before, steps=tuple(steps)),
        tool_calls=len(steps),
    )


async def practised(world: ToolsWorld) -> list[PastAttempt]:
    """What practice left: payments into accounts that are there, and accounts that are new."""
    found: list[PastAttempt] = []
    for number, (new, amount) in enumerate(
        [("gus", 3), ("hal", 7), ("ida", 11), ("jim", 13), ("kay", 17), ("lou", 19)]
    ):
        task = world.grammar().compose(None, "start", number)
        await world.reset(task, 0)
        accounts = (await world.state())["accounts"]
        assert isinstance(accounts, dict)
        found.append(
            await attempted(
                world,
                number,
                [
                    call("pay_in", owner=sorted(accounts)[0], amount=amount),
                    call("pay_in", owner=sorted(accounts)[1], amount=amount + 1),
                    call("open_account", owner=new),
                ],
            )
        )
    return found


def call(tool: str, /, **arguments: str | int) -> ToolCall:
    return ToolCall(tool=tool, arguments=dict(arguments))


def replayed(world: ToolsWorld, candidate: Skill, *, untold: bool = False) -> tuple[Replay, ...]:
    async def work() -> tuple[Replay, ...]:
        past = await practised(world)
        told = Told() if untold else told_of(candidate, {}, past, world.tools)
        request = ReplayRequest(
            skill=candidate, environment=REF, setups=("start",), count=ENOUGH, seed=3, told=told
        )
        runtime = BoxRuntime(PlainBox(unsafe_local=True))
        try:
            return await replay_skill(request, world, runtime)
        finally:
            await runtime.close()

    return asyncio.run(work())


def verdict(candidate: Skill, replays: Sequence[Replay]) -> str | None:
    """As the gates ask: what the replays say, unless they say nothing, and then the controls."""
    if not (replays and all(map(untouched, replays))):
        reason = judge_replays(replays, ENOUGH)
        if reason is not None:
            return reason
    return judge_controls(candidate, replays)


def test_nothing_can_be_asked_for_there_in_words(bank: ToolsWorld) -> None:
    spec = bank.grammar().spec
    assert not spec.templates and not spec.complete and "nothing to practise" in spec.nothing
    assert nameable(PAY, spec) is None, "a skill need not name what it achieves"


@pytest.mark.parametrize("candidate", [PAY, OPEN], ids=["what is there", "what is new"])
def test_a_right_skill_passes(bank: ToolsWorld, candidate: Skill) -> None:
    assert static_check(candidate, {t.name for t in bank.tools}, (), specs=bank.tools) is None
    replays = replayed(bank, candidate)
    assert verdict(candidate, replays) is None
    assert len([r for r in replays if not untouched(r)]) == ENOUGH
    assert all(r.unseen and r.changes and r.success is None for r in replays)
    assert len({str(r.arguments) for r in replays}) == ENOUGH
    others = [c for r in replays for c in r.controls if c.wrong == INSTEAD]
    assert others and not any(c.passed for c in others)


HOSTILE: Mapping[str, tuple[Skill, str]] = {
    "an effect that is always true": (
        skill("env.pay_in(owner=owner, amount=amount)", "return True"),
        "effect: it passes before anything was done",
    ),
    "an effect that ignores the state": (
        skill("env.pay_in(owner=owner, amount=amount)", "return owner != '' and amount > 0"),
        "effect: it passes before anything was done",
    ),
    "an effect that any change has": (
        skill("env.pay_in(owner=owner, amount=amount)", "return initial != final"),
        "effect: it passes when something else was called",
    ),
    "an effect that any change has, of nothing in particular": (
        skill("env.open_account(owner='zoe')", "return initial != final", (), ("open_account",)),
        "effect: it passes when something else was called",
    ),
    "an effect that ignores one argument": (
        skill(
            "env.pay_in(owner=owner, amount=amount)",
            "return final['accounts'].get(owner) != initial['accounts'].get(owner)",
        ),
        "effect: it passes for wrong arguments",
    ),
    "nothing that lasts": (
        skill(
            "env.pay_in(owner=owner, amount=amount)\n    env.pay_in(owner=owner, amount=-amount)",
            PAID,
        ),
        "effect: the effect did not show",
    ),
    "arguments that practice never gave": (
        skill("env.pay_in(owner=owner + '', amount=amount)", PAID),
        "replay: only 0 of 3 unseen argument sets were found",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_one_does_not(bank: ToolsWorld, what: str) -> None:
    candidate, reason = HOSTILE[what]
    found = verdict(candidate, replayed(bank, candidate))
    assert found is not None and found.startswith(reason)


def test_what_only_reads_is_no_skill(bank: ToolsWorld) -> None:
    reading = skill("env.look(owner=owner)", "return True", (ACCOUNT,), ("look",))
    found = static_check(reading, {t.name for t in bank.tools}, (), specs=bank.tools)
    assert found == "static: it calls no tool that changes anything, so no effect is its own"
    assert verdict(reading, replayed(bank, reading)) is not None, "nor would its replays pass"


def test_a_check_that_nothing_contradicts_is_not_believed() -> None:
    """Where nothing could be done in the skill's place, what it passed for says too little."""
    wrong = [Control(wrong=name, passed=False) for name in ("", "owner", "amount", "*")]
    replay = Replay(
        task_id="task", arguments={}, completed=True, used=True, effect=True, controls=tuple(wrong)
    )
    found = judge_controls(PAY, [replay])
    assert found is not None and found.startswith("effect: no negative control could be made")
    other = Control(wrong=INSTEAD, passed=False)
    assert judge_controls(PAY, [replay.model_copy(update={"controls": (*wrong, other)})]) is None


def test_without_practice_nothing_is_known_to_pass(bank: ToolsWorld) -> None:
    found = verdict(PAY, replayed(bank, PAY, untold=True))
    assert found == "replay: only 0 of 3 unseen argument sets were found"


def test_a_grammar_that_is_complete_must_be_named() -> None:
    whole = GrammarSpec(templates=(), setups=("start",))
    clauses = nameable(PAY, whole)
    assert clauses is not None
    found = static_check(PAY, {"pay_in"}, (), clauses=clauses)
    assert found is not None and "`achieves` is missing" in found


class Plain:
    """The bank without a grammar, whose start states are told by tasks alone."""

    def __init__(self, bank: ToolsWorld) -> None:
        self._bank = bank

    @property
    def tools(self) -> Sequence[ToolSpec]:
        return self._bank.tools

    async def reset(self, task: Task, seed: int) -> Observation:
        return await self._bank.reset(task, seed)

    async def step(self, call: ToolCall) -> StepResult:
        return await self._bank.step(call)

    async def state(self) -> JsonObject:
        return await self._bank.state()

    async def close(self) -> None:
        await self._bank.close()


def test_where_there_is_no_grammar_practice_tasks_are_the_starts(bank: ToolsWorld) -> None:
    async def work(tasks: int) -> tuple[Replay, ...]:
        past = await practised(bank)
        told = told_of(PAY, {}, past, bank.tools)
        starts = tuple(each.task for each in past[:tasks])
        request = ReplayRequest(
            skill=PAY, environment=REF, setups=("",), count=ENOUGH, seed=3, told=told, tasks=starts
        )
        runtime = BoxRuntime(PlainBox(unsafe_local=True))
        environment: Environment = Plain(bank)
        try:
            return await replay_skill(request, environment, runtime)
        finally:
            await runtime.close()

    replays = asyncio.run(work(6))
    assert verdict(PAY, replays) is None
    assert len({replay.task_id for replay in replays}) >= 3
    with pytest.raises(EnvironmentFaultError, match="other practice tasks to start from"):
        asyncio.run(work(0))
