"""What the grammar proposer asks for: practice only, harder step by step, and hindsight."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from agentlab.environments.babyai import BabyAI
from agentlab.environments.probing import properties_of
from agentlab.environments.registration import make_environment
from agentlab.envs.courier.environment import Courier
from agentlab.errors import UsageError
from agentlab.executors.recorder import Recorder
from agentlab.executors.searcher import PlannedMove
from agentlab.graph.task_gate import check_task
from agentlab.proposers.grammar import (
    ENOUGH_OUTCOMES,
    GrammarProposer,
    describe_entity,
    open_kinds,
    practice_seed,
    random_mission,
    wrong_calls,
)
from agentlab.protocols import Environment, EnvironmentFactory, HasTasks, ProposalContext
from agentlab.types import (
    Clause,
    ClauseTemplate,
    Entity,
    EnvironmentRef,
    GrammarSpec,
    Mission,
    Observation,
    PastAttempt,
    SplitRule,
    StepResult,
    Task,
    Template,
    ToolCall,
    ToolSpec,
    Trajectory,
    satisfies,
)

ENVIRONMENTS: list[EnvironmentFactory] = [Courier, BabyAI]
IDS = ["courier", "babyai"]


def _context(
    factory: EnvironmentFactory,
    *,
    count: int = 20,
    seed: int = 3,
    round_: int = 0,
    templates: Sequence[Template] = (),
    recent: Sequence[PastAttempt] = (),
) -> ProposalContext:
    return ProposalContext(
        environment=factory,
        split_rule=_rule(factory()),
        count=count,
        seed=seed,
        round=round_,
        templates=templates,
        recent=recent,
    )


def _rule(environment: Environment) -> SplitRule:
    assert isinstance(environment, HasTasks)
    return environment.split_rule


def _propose(context: ProposalContext, *, hindsight: float = 0.15) -> list[Task]:
    return list(asyncio.run(GrammarProposer(hindsight=hindsight).propose(context)))


def _solved_everywhere(factory: EnvironmentFactory) -> list[Template]:
    """So many successes that every rung which may be opened is open."""
    environment = factory()
    assert isinstance(environment, Courier | BabyAI)
    return [
        Template(name=f"{setup}: " + " & ".join(["x"] * clauses), outcomes=(True,) * 9)
        for setup in environment.grammar().spec.setups
        for clauses in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize("factory", ENVIRONMENTS, ids=IDS)
@pytest.mark.parametrize("mastered", [False, True])
def test_only_practice_is_proposed(factory: EnvironmentFactory, mastered: bool) -> None:
    templates = _solved_everywhere(factory) if mastered else []
    context = _context(factory, count=40, templates=templates)
    tasks = _propose(context)
    assert len(tasks) > 30
    for task in tasks:
        assert context.split_rule.refusal(task) is None
        assert context.split_rule.split_of_seed(task.seed) == "practice"
        assert not context.split_rule.reserved_template(task.template)
    clauses = {len(task.mission.clauses) for task in tasks if task.mission}
    assert clauses == ({1, 2} if mastered else {1})


@pytest.mark.parametrize("factory", ENVIRONMENTS, ids=IDS)
def test_the_same_seed_the_same_tasks(factory: EnvironmentFactory) -> None:
    first = _propose(_context(factory))
    assert first == _propose(_context(factory))
    assert first != _propose(_context(factory, seed=4))
    assert first != _propose(_context(factory, round_=1))
    assert len({task.id for task in first}) > 15


@pytest.mark.parametrize("factory", ENVIRONMENTS, ids=IDS)
def test_most_proposals_pass_the_gate(factory: EnvironmentFactory) -> None:
    async def work() -> list[str | None]:
        environment = factory()
        return [await check_task(task, environment) for task in _made]

    _made = _propose(_context(factory, count=20))
    assert sum(reason is None for reason in asyncio.run(work())) >= 15
    assert any(task.failing for task in _made)


@pytest.mark.parametrize("factory", ENVIRONMENTS, ids=IDS)
def test_never_more_than_asked_for(factory: EnvironmentFactory) -> None:
    for count in (1, 3):
        assert len(_propose(_context(factory, count=count))) <= count


def _template(setup: str, clauses: int, outcomes: Sequence[bool]) -> Template:
    return Template(name=f"{setup}: " + " & ".join(["x"] * clauses), outcomes=tuple(outcomes))


def _ladder(*templates: Template, rule: SplitRule | None = None) -> list[tuple[str, int]]:
    spec = GrammarSpec(templates=(), setups=("easy", "hard"), max_groups=2, max_group_size=2)
    context = ProposalContext(Courier, rule or SplitRule(), 1, 0, 0, templates, ())
    return [(kind.setup, kind.clauses) for kind in open_kinds(spec, context)]


def test_the_ladder_opens_with_success() -> None:
    assert _ladder() == [("easy", 1), ("hard", 1)]
    few = _template("easy", 1, [True] * (ENOUGH_OUTCOMES - 1))
    assert _ladder(few) == [("easy", 1), ("hard", 1)]
    enough = _template("easy", 1, [True, False] * (ENOUGH_OUTCOMES // 2))
    assert _ladder(enough) == [("easy", 1), ("easy", 2), ("hard", 1)]
    mostly_failed = _template("easy", 1, [True, False, False] * 3)
    assert _ladder(mostly_failed) == [("easy", 1), ("hard", 1)]
    second = _template("easy", 2, [True] * 6)
    assert ("easy", 3) in _ladder(enough, second)
    assert _ladder(second) == [("easy", 1), ("hard", 1)], "no rung is left out"


def test_templates_of_one_length_count_together() -> None:
    halves = [Template(name=f"easy: {name}", outcomes=(True,) * 3) for name in ("go_to", "open")]
    assert ("easy", 2) in _ladder(*halves)
    sequence = Template(name="easy: open > open", outcomes=(True,) * 6)
    assert ("easy", 3) in _ladder(*halves, sequence)


def test_reserved_rungs_stay_shut() -> None:
    mastered = [_template("easy", n, [True] * 9) for n in (1, 2, 3)]
    assert _ladder(*mastered, rule=SplitRule(heldout_templates=(r"&.*&",))) == [
        ("easy", 1),
        ("easy", 2),
        ("hard", 1),
    ]
    assert _ladder(rule=SplitRule(heldout_templates=("^hard",))) == [("easy", 1)]
    with pytest.raises(UsageError, match="reserved; nothing to propose"):
        _ladder(rule=SplitRule(heldout_templates=("",)))


@given(st.integers(0, 10**9), st.frozensets(st.integers(0, 9), max_size=9))
def test_practice_seed(number: int, reserved: frozenset[int]) -> None:
    rule = SplitRule(dev=frozenset(), heldout=reserved)
    seed = practice_seed(number, rule)
    assert rule.split_of_seed(seed) == "practice"
    assert number <= seed < number + 10


def _things(count: int) -> list[Entity]:
    return [
        Entity(type="thing", reference=n, properties={"kind": "ball", "hue": n, "near": ["a", "b"]})
        for n in range(count)
    ]


PAIR = ClauseTemplate(
    predicate="joined", parameters={"x": {"kind": "ball"}, "y": {}}, descriptors=("kind", "hue")
)


@given(st.integers(1, 4), st.integers(0, 5), st.integers(0, 10**6))
def test_missions_keep_to_the_limits(clauses: int, things: int, seed: int) -> None:
    spec = GrammarSpec(templates=(PAIR,), setups=("easy",), max_groups=2, max_group_size=2)
    entities = _things(things)
    mission = random_mission(spec, clauses, entities, random.Random(seed))
    if things < 2:
        assert mission is None
    if mission is None:
        return
    assert len(mission.clauses) == clauses
    assert 1 <= len(mission.groups) <= 2
    assert all(1 <= len(group) <= 2 for group in mission.groups)
    for clause in mission.clauses:
        x, y = clause.arguments["x"], clause.arguments["y"]
        assert any(
            satisfies(a, x) and satisfies(b, y) for a in entities for b in entities if a != b
        )


@given(st.integers(0, 10**6))
def test_descriptions_fit_and_say_something(seed: int) -> None:
    (entity, *_) = _things(1)
    template = PAIR.model_copy(update={"descriptors": ("kind", "hue", "near", "unknown")})
    description = describe_entity(template, entity, random.Random(seed))
    assert satisfies(entity, description)
    assert description.keys() & {"kind", "hue"}
    assert description.keys() <= {"kind", "hue", "near"}


def _past(
    courier: Courier, task: Task, calls: Sequence[ToolCall], *, success: bool | None = False
) -> PastAttempt:
    async def work() -> Trajectory:
        recorder = Recorder(courier, await courier.reset(task, 0))
        await recorder.start()
        await recorder.follow([PlannedMove((call,)) for call in calls])
        return recorder.trajectory()

    return PastAttempt(task, f"attempt-{task.id}", success, asyncio.run(work()), len(calls))


def _missed(courier: Courier, seed: int) -> PastAttempt:
    """An attempt at one task that did what another one in the same start state asks."""
    tasks = courier.tasks("practice", 1, seed)
    setup = str(tasks[0].setup["setup"])
    asked = tasks[0]
    calls = asyncio.run(courier.oracle(asked))
    assert calls is not None
    free = courier.grammar().compose(None, setup, asked.seed)
    other = free.model_copy(update={"template": f"{setup}: something else"})
    return _past(courier, other, calls)


def test_hindsight_tasks_bring_a_solution_that_passes() -> None:
    courier = Courier()
    recent = [_missed(courier, seed) for seed in range(12)]
    tasks = _propose(_context(Courier, count=12, recent=recent), hindsight=1.0)
    relabelled = [task for task in tasks if task.source == "hindsight"]
    assert len(relabelled) >= 8
    by_id = {past.task.id: past for past in recent}
    for task in relabelled:
        assert asyncio.run(check_task(task, courier)) is None
        assert task.solution is not None
        (origin,) = task.derived_from
        assert task.seed == by_id[origin].task.seed
        trajectory = by_id[origin].trajectory
        assert trajectory is not None
        assert trajectory.calls[: len(task.solution)] == task.solution


def test_hindsight_keeps_to_its_share() -> None:
    recent = [_missed(Courier(), seed) for seed in range(8)]
    tasks = _propose(_context(Courier, count=10, recent=recent), hindsight=0.2)
    assert sum(task.source == "hindsight" for task in tasks) == 2
    assert all(
        task.source == "grammar"
        for task in _propose(_context(Courier, count=10, recent=recent), hindsight=0.0)
    )


def test_hindsight_learns_from_failures_alone() -> None:
    past = _missed(Courier(), 0)
    blind = past.trajectory
    assert blind is not None
    stateless = blind.model_copy(update={"initial_state": None})
    for useless in (
        past._replace(success=True),
        past._replace(success=None),
        past._replace(trajectory=None),
        past._replace(trajectory=stateless),
        past._replace(trajectory=blind.model_copy(update={"steps": ()})),
    ):
        tasks = _propose(_context(Courier, count=2, recent=[useless]), hindsight=1.0)
        assert all(task.source == "grammar" for task in tasks)


def test_hindsight_in_a_reserved_start_state_is_refused_by_the_rule() -> None:
    courier = Courier()
    heldout = courier.tasks("heldout", 1, 0)[0]
    calls = asyncio.run(courier.oracle(heldout))
    assert calls is not None
    past = _past(courier, heldout, calls)
    context = _context(Courier, count=1, recent=[past])
    for task in _propose(context, hindsight=1.0):
        if task.source == "hindsight":
            assert context.split_rule.refusal(task) is not None


ROLES = """
STAFF = {}

def assign(role: str, name: str) -> str:
    \"\"\"Give somebody a role.\"\"\"
    STAFF[role] = name
    return "assigned"

def swap(one: str, other: str) -> str:
    \"\"\"Let two roles change hands.\"\"\"
    STAFF[one], STAFF[other] = STAFF[other], STAFF[one]
    return "swapped"

def state() -> dict:
    return {"staff": [{"role": role, "name": name} for role, name in STAFF.items()]}

def reset(seed: int) -> None:
    STAFF.clear()
    STAFF.update({"cook": "Ann", "guard": "Bea", "clerk": ("Cy", "Dan")[seed % 2]})

VALUES = {"role": ["pilot", "baker"], "name": ["Eve", "Finn"]}
"""


def test_tools_that_take_several_things_fail_on_what_the_mission_does_not_name(
    tmp_path: Path,
) -> None:
    (tmp_path / "roles.py").write_text(ROLES)
    ref = EnvironmentRef(name=f"tools:{tmp_path / 'roles.py'}")
    tasks = _propose(_context(lambda: make_environment(ref), count=12))
    assert len(tasks) >= 6
    tools = {tool.name: tool for tool in make_environment(ref).tools}
    for task in tasks:
        assert task.mission is not None
        named = {v for clause in task.mission.clauses for v in map(str, _values(clause.arguments))}
        assert len(task.failing) == 2
        for (call,) in task.failing:
            assert set(call.arguments) == set(properties_of(tools[call.tool]))
            assert not named & set(map(str, call.arguments.values()))

    async def checked() -> list[str | None]:
        return [await check_task(task, make_environment(ref)) for task in tasks]

    found = asyncio.run(checked())
    assert found.count(None) >= len(tasks) // 2, found


def _values(value: JsonValue) -> Iterator[JsonValue]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _values(each)
    else:
        yield value


def test_where_tools_take_one_thing_nothing_else_is_drawn() -> None:
    things = [Entity(type="t", reference=f"thing {n}", properties={"n": n}) for n in range(8)]
    one = ToolSpec(
        name="press",
        description="",
        parameters={"type": "object", "properties": {"x": {"x-entity": "*"}}, "required": ["x"]},
    )
    two = ToolSpec(
        name="join",
        description="",
        parameters={
            "type": "object",
            "properties": {"x": {"x-entity": "*"}, "y": {"x-entity": "*"}},
            "required": ["x", "y"],
        },
    )
    mission = Mission(groups=((Clause(predicate="on", arguments={"x": {"n": 0}}),),))
    alone = wrong_calls([one], mission, things, random.Random(4))
    assert wrong_calls([one, two], mission, things, random.Random(4)) == alone
    for (call,) in wrong_calls([two], mission, things, random.Random(4)):
        assert call.tool == "join"
        assert "thing 0" not in call.arguments.values()


def test_needs_a_grammar() -> None:
    class Bare:
        tools: Sequence[ToolSpec] = ()
        closed = 0

        async def reset(self, task: Task, seed: int) -> Observation:
            return Observation(text="")

        async def step(self, call: ToolCall) -> StepResult:
            return StepResult(observation=Observation(text=""))

        async def close(self) -> None:
            Bare.closed += 1

    context = ProposalContext(Bare, SplitRule(), 1, 0, 0, (), ())
    with pytest.raises(UsageError, match=r"needs an environment with grammar\(\)"):
        asyncio.run(GrammarProposer().propose(context))
    assert Bare.closed == 1


def test_seeds_spread() -> None:
    seeds = sorted(task.seed for task in _propose(_context(Courier, count=30)))
    assert seeds[-1] > 10**8
    assert all(a != b for a, b in pairwise(seeds))
