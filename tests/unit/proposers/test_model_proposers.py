"""Proposers that ask a model: from its reply to tasks that pass admission."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from agentlab.environments.babyai import BabyAI
from agentlab.envs.courier.environment import Courier
from agentlab.errors import UsageError
from agentlab.graph.task_gate import check_task
from agentlab.models.prompts import DATA
from agentlab.models.scripted import Rule, ScriptedModel
from agentlab.proposers.challenger import ChallengerProposer
from agentlab.proposers.compose import ComposeProposer, least_used
from agentlab.proposers.context import ContextProposer
from agentlab.proposers.drafts import JUDGED
from agentlab.proposers.hindsight import HindsightProposer, accident
from agentlab.proposers.novelty import behaviour, refusals
from agentlab.proposers.weakness import DIRECTIONS, WeaknessProposer, subjects
from agentlab.protocols import Environment, ProposalContext, Proposer
from agentlab.sandbox import open_runtime
from agentlab.types import (
    ChatRequest,
    CodeVerifier,
    Message,
    PastAttempt,
    PastProposal,
    Skill,
    Task,
    Template,
    ToolCall,
    ToolUse,
    task_id,
)
from tests.unit.proposers.ledger import (
    Ledger,
    MuteLedger,
    a_draft,
    a_task,
    attempted,
    call,
    context_of,
    said,
    sound,
    sound_model,
)

BOX = "unsafe-local"
"""Quick; one test below runs in whatever box holds here."""


def propose(proposer: Proposer, context: ProposalContext) -> list[Task]:
    return list(asyncio.run(proposer.propose(context)))


def checked(tasks: Sequence[Task], environment: Environment) -> list[str | None]:
    async def work() -> list[str | None]:
        runtime = open_runtime(BOX, single_use=True)
        try:
            return [await check_task(task, environment, runtime) for task in tasks]
        finally:
            await runtime.close()

    return asyncio.run(work())


def a_skill(name: str) -> Skill:
    return Skill(
        id=f"skill-{name}",
        name=name,
        environment="ledger",
        source=f"def {name}(env):\n    env.show()\n",
        parameters=(),
        summary=f"does {name}",
        effect_source="def check(initial, final):\n    return True\n",
    )


SKILLS = (a_skill("alpha"), a_skill("beta"), a_skill("gamma"))
TEMPLATE = a_task().template


def _failed() -> PastAttempt:
    calls = [
        ToolCall(tool="show"),
        ToolCall(tool="enter", arguments={"name": "boat", "amount": 5}),
        ToolCall(tool="show"),
    ]
    return asyncio.run(attempted(a_task("Enter rent twice."), calls, False, "rent was forgotten"))


def _context(model: ScriptedModel | None, **more: object) -> ProposalContext:
    """One in which every proposer has something to work with."""
    given: dict[str, object] = {
        "recent": [_failed()],
        "templates": [Template(name=TEMPLATE, outcomes=(False,) * 4 + (True,))],
        "library": SKILLS,
        **more,
    }
    return context_of(model, **given)  # pyright: ignore[reportArgumentType]  # its keywords


def after_the_fact(request: ChatRequest) -> str:
    """Labels what the failed attempt did."""
    assert "+/entries/boat 5" in said(request)
    return json.dumps(a_draft("boat", 5, solution=[]))


PROPOSERS: dict[str, tuple[type[Proposer], Rule]] = {
    "context": (ContextProposer, sound),
    "challenger": (ChallengerProposer, sound),
    "weakness": (WeaknessProposer, sound),
    "compose": (ComposeProposer, sound),
    "hindsight": (HindsightProposer, after_the_fact),
}
each_proposer = pytest.mark.parametrize("name", PROPOSERS)


def _make(name: str) -> Proposer:
    return PROPOSERS[name][0](box=BOX)  # pyright: ignore[reportCallIssue]  # all of them take it


@each_proposer
def test_what_is_proposed_is_admitted(name: str) -> None:
    context = _context(ScriptedModel(PROPOSERS[name][1]), count=1)
    tasks = propose(_make(name), context)
    assert len(tasks) == context.count
    assert checked(tasks, Ledger()) == [None] * len(tasks)
    for task in tasks:
        assert task.source == name
        assert context.split_rule.refusal(task) is None
        assert isinstance(task.verifier, CodeVerifier) and task.verifier.origin == "model"
        assert task.template == "enter _ with the amount _"
        assert task.id == task_id("ledger", task.instruction, task.setup, task.seed)
        assert any(fact.startswith("+/entries/") for fact in behaviour(task))


@each_proposer
def test_the_same_seed_the_same_tasks_and_requests(name: str) -> None:
    def once(seed: int, round_: int = 0) -> tuple[list[Task], list[ChatRequest]]:
        model = ScriptedModel(PROPOSERS[name][1])
        context = _context(model, seed=seed, round_=round_, count=1)
        found = propose(_make(name), context)
        return found, sorted(model.requests, key=lambda request: request.model_dump_json())

    first, requests = once(1)
    assert (first, requests) == once(1)
    for request in requests:
        assert request.prompt is not None and request.prompt.name.startswith("proposers/")
        assert request.sampling.seed is not None and 0 <= request.sampling.seed < 2**31
        assert DATA in said(request)


def test_another_seed_or_round_starts_elsewhere() -> None:
    def starts(seed: int, round_: int) -> set[int]:
        context = context_of(sound_model(), MuteLedger, seed=seed, round_=round_, count=12)
        return {task.seed for task in propose(ContextProposer(box=BOX), context)}

    found = [starts(1, 0), starts(2, 0), starts(1, 1)]
    assert [len(each) for each in found] == [3, 3, 3]
    assert len(found[0] | found[1] | found[2]) == 9


@each_proposer
def test_an_unusable_reply_is_counted(name: str) -> None:
    def unusable(request: ChatRequest) -> str:
        return "I would rather not."

    proposer = _make(name)
    assert propose(proposer, _context(ScriptedModel(unusable), count=1)) == []
    assert getattr(proposer, "dropped") == {"unusable reply (it holds no JSON object)": 1}  # noqa: B009
    assert propose(proposer, _context(sound_model(), count=0)) == []


@each_proposer
def test_without_a_model_the_sentence_names_the_fix(name: str) -> None:
    with pytest.raises(UsageError, match="--model openai:NAME"):
        propose(_make(name), _context(None))


def test_in_whatever_box_holds_here() -> None:
    (task,) = propose(ContextProposer(), context_of(sound_model(), count=1))
    assert behaviour(task), "which is known only when the solution passed"


# --- context ----------------------------------------------------------------------------------


def test_context_shows_what_there_is() -> None:
    solved = asyncio.run(attempted(a_task("Enter food."), [ToolCall(tool="show")], True))
    archive = [
        PastProposal(a_task("Strike the first entry."), "solved"),
        PastProposal(a_task("Do well."), "invalid", "empty trajectory passes"),
    ]
    model = sound_model()
    propose(ContextProposer(box=BOX), _context(model, recent=[solved], archive=archive, count=1))
    (request,) = model.requests
    text = said(request)
    for shown in (
        "A ledger of named amounts.",
        '"entries"',
        "enter an entry",
        "alpha(): does alpha",
        f"{TEMPLATE}: 20% success (n = 5,",
        "Enter food. Solved by: show {}",
        "Strike the first entry.",
        "(invalid: empty trajectory passes) Do well.",
        "Propose 1 tasks",
    ):
        assert shown in text, shown


def test_one_reply_gives_at_most_what_it_was_asked_for() -> None:
    model = sound_model()
    tasks = propose(ContextProposer(box=BOX, tasks_a_reply=2), context_of(model, count=3))
    assert len(model.requests) == 2 and len(tasks) == 3
    assert tasks[0].seed == tasks[1].seed != tasks[2].seed


def test_where_no_state_can_be_read_a_judge_scores() -> None:
    model = sound_model()
    context = context_of(model, MuteLedger, count=2)
    tasks = propose(ContextProposer(box=BOX), context)
    assert len(tasks) == 2
    assert all(task.parameters[JUDGED] is True for task in tasks)
    assert "a judge will look" in said(model.requests[0])


def test_in_an_environment_with_a_language_of_its_own() -> None:
    def rule(request: ChatRequest) -> str:
        places = ("mill", "market", "bridge", "yard", "dock", "inn", "school", "garden")
        tasks = [
            {
                "instruction": f"Go to the {place}.",
                "failing": [[call("leave")], [call("read_sign")]],
            }
            for place in places
        ]
        return json.dumps({"tasks": tasks})

    proposer = ContextProposer(box=BOX, tasks_a_reply=8)
    tasks = propose(proposer, context_of(ScriptedModel(rule), Courier, count=16))
    assert tasks and all(task.mission is not None for task in tasks)
    assert checked(tasks, Courier()) == [None] * len(tasks)
    assert proposer.dropped["impossible there"] > 0


def test_free_words_beside_a_grammar_bring_their_own_verifier() -> None:
    def rule(request: ChatRequest) -> str:
        taken = {
            "instruction": "Carry something, whatever it is.",
            "verify": "def verify(initial, final, answer):\n"
            "    return final['carrying'] is not None\n",
            "failing": [[call("look")], [call("drop")]],
        }
        return json.dumps({"tasks": [taken]})

    (task,) = propose(ContextProposer(box=BOX), context_of(ScriptedModel(rule), BabyAI, count=1))
    assert task.mission is None and isinstance(task.verifier, CodeVerifier)
    assert task.template.endswith(": carry something whatever it is")
    assert checked([task], BabyAI()) == [None]


# --- challenger -------------------------------------------------------------------------------


def test_the_challenger_explores_before_it_writes() -> None:
    model = sound_model()
    propose(ChallengerProposer(box=BOX), context_of(model, count=1))
    exploring = [request for request in model.requests if request.tools]
    assert len(exploring) == 3
    assert exploring[-1].messages[-1].role == "tool"
    assert exploring[-1].messages[-1].text.startswith("⟦")
    (writing,) = [request for request in model.requests if not request.tools]
    assert "show {} -> " in said(writing)


def test_what_fails_is_told_and_mended() -> None:
    wrong = [call("enter", name="lamp", amount=9)]
    turns = [
        a_draft(solution=wrong),
        a_draft(verify="def verify(initial, final, answer):\n    return True\n"),
        a_draft(),
    ]
    told: list[str] = []

    def rule(request: ChatRequest) -> str:
        if request.tools:
            return "enough"
        told.append(request.messages[-1].text)
        return json.dumps(turns[len(told) - 1])

    proposer = ChallengerProposer(box=BOX)
    (task,) = propose(proposer, context_of(ScriptedModel(rule), count=1))
    assert behaviour(task) and len(told) == 3
    assert "⟦solution fails: every call was carried out" in told[1]
    assert "⟦empty trajectory passes" in told[2]
    assert proposer.dropped.total() == 0


def test_after_two_repairs_admission_puts_the_reason_on_record() -> None:
    asked = 0

    def rule(request: ChatRequest) -> str:
        nonlocal asked
        asked += not request.tools
        loose = "def verify(initial, final, answer):\n    return initial != final\n"
        return "enough" if request.tools else json.dumps(a_draft(verify=loose))

    tasks = propose(ChallengerProposer(box=BOX), context_of(ScriptedModel(rule), count=1))
    assert asked == 3
    (reason,) = checked(tasks, Ledger())
    assert reason is not None and reason.startswith("failing case passes")


def test_exploring_is_bounded_and_survives_nonsense() -> None:
    bad = ['{"name":', "[]", "NaN", '{"name": 3}', "x" * 10_000, '"\\ud800"']

    def nonsense(request: ChatRequest) -> str | Message:
        if not request.tools:
            return json.dumps(a_draft())
        uses = [ToolUse(id=str(n), name="enter", arguments=text) for n, text in enumerate(bad)]
        uses.append(ToolUse(id="u", name="launch", arguments="{}"))
        return Message(role="assistant", tool_uses=tuple(uses))

    model = ScriptedModel(nonsense)
    (task,) = propose(ChallengerProposer(box=BOX, explored=10), context_of(model, count=1))
    assert behaviour(task)
    exploring = [request for request in model.requests if request.tools]
    assert len(exploring) == 2, "seven calls, then three, then no more"
    text = said(exploring[1])
    for fault in ("are no JSON", "must be a JSON object", "There is no tool 'launch'", "Refused"):
        assert fault in text


# --- weakness ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((True,) * 8 + (False,) * 2, "harder"),
        ((True,) * 7 + (False,) * 3, "lateral"),
        ((True,) * 3 + (False,) * 7, "lateral"),
        ((True,) * 2 + (False,) * 8, "prerequisite"),
    ],
)
def test_the_band_is_decided_here_and_told(outcomes: tuple[bool, ...], expected: str) -> None:
    model = sound_model()
    templates = [Template(name=TEMPLATE, outcomes=outcomes)]
    tasks = propose(WeaknessProposer(box=BOX), _context(model, templates=templates, count=1))
    text = said(model.requests[0])
    assert [name for name, words in DIRECTIONS.items() if words in text] == [expected]
    assert "(n = 10, 95 % interval" in text
    assert "rent was forgotten" in text and 'enter {"amount":5' in text
    assert {task.derived_from for task in tasks} == {(_failed().task.id,)}


def test_nothing_is_weak_before_four_attempts() -> None:
    proposer = WeaknessProposer(box=BOX)
    few = [Template(name=TEMPLATE, outcomes=(False,) * 3)]
    model = sound_model()
    assert propose(proposer, _context(model, templates=few)) == []
    assert proposer.dropped == {"too few attempts": 1} and model.requests == []


def test_kinds_with_failures_come_first_then_by_utility() -> None:
    def past(template: str, success: bool) -> PastAttempt:
        return PastAttempt(a_task(template=template), template, success, None, 1)

    templates = [
        Template(name="always", outcomes=(True,) * 8),
        Template(name="never", outcomes=(False,) * 8),
        Template(name="half", outcomes=(True, False) * 4),
    ]
    recent = [past("always", True), past("never", False), past("half", False)]
    found = subjects(_context(None, recent=recent, templates=templates))
    assert [each.template for each in found] == ["half", "never", "always"]


# --- compose ----------------------------------------------------------------------------------


def test_the_least_used_pairs_come_first() -> None:
    used = [
        PastProposal(a_task(parent_skills=("skill-alpha", "skill-beta")), "solved"),
        PastProposal(a_task(parent_skills=("skill-alpha", "skill-gamma")), "invalid"),
    ]
    first, *_ = least_used(SKILLS, used, seed=3)
    assert {skill.name for skill in first} == {"beta", "gamma"}
    assert least_used(SKILLS, [], seed=3) == least_used(tuple(reversed(SKILLS)), [], seed=3)
    assert least_used(SKILLS[:1], [], seed=3) == []


def test_a_composition_names_its_parents() -> None:
    model = sound_model()
    tasks = propose(ComposeProposer(box=BOX), _context(model, count=3))
    pairs = {task.parent_skills for task in tasks}
    assert len(pairs) == 3 and all(len(pair) == 2 for pair in pairs)
    assert "def alpha(env)" in said(model.requests[0]) or "def beta(env)" in said(model.requests[0])


def test_one_skill_makes_no_composition() -> None:
    proposer = ComposeProposer(box=BOX)
    assert propose(proposer, _context(sound_model(), library=SKILLS[:1])) == []
    assert proposer.dropped == {"fewer than two skills": 1}


# --- hindsight --------------------------------------------------------------------------------


def test_hindsight_keeps_the_attempts_own_calls() -> None:
    past = _failed()
    found = accident(past)
    assert found is not None and [each.tool for each in found.solution] == ["show", "enter"]
    (task,) = propose(HindsightProposer(box=BOX), _context(ScriptedModel(after_the_fact)))
    assert task.solution == found.solution
    assert task.derived_from == (past.task.id,) and task.seed == past.task.seed
    assert task.source == "hindsight"


@pytest.mark.parametrize(("success", "tool"), [(True, "enter"), (None, "enter"), (False, "show")])
def test_no_accident(success: bool | None, tool: str) -> None:
    calls = [ToolCall(tool=tool, arguments={"name": "boat", "amount": 5})]
    past = asyncio.run(attempted(a_task(), calls, success))
    proposer = HindsightProposer(box=BOX)
    model = sound_model()
    assert propose(proposer, _context(model, recent=[past])) == []
    assert model.requests == [] and proposer.dropped == {"nothing achieved": 1}


def test_a_label_that_is_not_true_is_refused_at_admission() -> None:
    def rule(request: ChatRequest) -> str:
        return json.dumps(a_draft("boat", 6, solution=[]))

    tasks = propose(HindsightProposer(box=BOX), _context(ScriptedModel(rule)))
    (reason,) = checked(tasks, Ledger())
    assert reason is not None and reason.startswith("solution fails")


def test_proposals_that_repeat_themselves_are_found_by_behaviour() -> None:
    def rule(request: ChatRequest) -> str:
        again = a_draft(instruction="See to it that a lamp stands at seven in the books.")
        return json.dumps({"tasks": [a_draft(), again, a_draft("kettle", 2)]})

    tasks = propose(ContextProposer(box=BOX), context_of(ScriptedModel(rule), count=3))
    assert [reason is None for reason in refusals(tasks, [])] == [True, False, True]
