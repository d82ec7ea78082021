"""What a model wrote, as a task: templates, verifiers, and why a draft is refused."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.envs.courier.environment import Courier
from agentlab.proposers.drafts import (
    JUDGED,
    PARTICULARS,
    Draft,
    DraftRefusedError,
    check_verifier,
    particulars_of,
    task_of,
    template_of,
)
from agentlab.proposers.surroundings import Scene, look
from agentlab.protocols import Environment
from agentlab.types import CodeVerifier, Entity, EnvironmentVerifier, Observation, SplitRule
from tests.unit.proposers.ledger import (
    RULE,
    TOOLS,
    Ledger,
    MuteLedger,
    a_draft,
    call,
    context_of,
)

SEEN = Observation(
    text="",
    entities=(
        Entity(type="place", reference={"id": 4}, properties={"name": "Old Mill", "at": ["east"]}),
        Entity(type="person", reference="Ada", properties={"age": 41}),
    ),
)


@pytest.mark.parametrize(
    ("instruction", "template"),
    [
        ("Rename 'a b' to \"c\", please.", "rename _ to _ please"),
        ("Don't go to the Old Mill on 2024-05-01!", "don t go to the _ on _"),
        ("Copy notes/todo.txt to ada's folder", "copy _ to _ s folder"),
        ("Pay 12.50 to x@y.org and 3 to Ada", "pay _ to _ and _ to _"),
        ("Walk east, east & east > stop", "walk _ stop"),
        ("Put “x” into `y`", "put _ into _"),
    ],
)
def test_particulars_are_taken_out(instruction: str, template: str) -> None:
    assert template_of(instruction, SEEN) == template
    assert template_of(instruction, SEEN, "hard") == f"hard: {template}"


def test_the_same_kind_of_task_has_one_template() -> None:
    first = template_of("Enter 'lamp' with the amount 7.", SEEN)
    assert first == template_of('Enter "reading light" with the amount 1,200.', SEEN)


def test_the_particulars_are_kept_for_whoever_looks_for_constants() -> None:
    found = particulars_of("Copy 'a b' and notes/x.txt, 3 times, to \"c 4\" (3 times); not it's.")
    assert found == ["a b", "c 4", "notes/x.txt", 3]
    task = task_of(_draft(), _scene(Ledger()), TOOLS, RULE, source="x", solved=True)
    assert task.parameters == {PARTICULARS: ["lamp", 7]}


@given(st.text(max_size=80))
def test_a_template_holds_no_particular_and_no_grammar(text: str) -> None:
    template = template_of(text, SEEN)
    assert not re.search(r"[0-9'\"&>:]", template)
    assert "_ _" not in template
    assert template == template_of(text, SEEN)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("", "no verifier"),
        ("def verify(:", "verifier unreadable"),
        ("x = 1", "verifier missing"),
        ("def verify(initial, final): return True", "verifier takes other arguments"),
        ("def verify(a, b, c): return True", "verifier takes other arguments"),
        ("def verify(initial, final, answer, /): return True", "verifier takes other arguments"),
        ("async def verify(initial, final, answer): return True", "verifier missing"),
        ("(" * 5_000, "verifier unreadable"),
        ("\0", "verifier unreadable"),
    ],
)
def test_verifiers_that_are_none(source: str, kind: str) -> None:
    with pytest.raises(DraftRefusedError) as raised:
        check_verifier(source)
    assert raised.value.kind == kind


def _scene(environment: Environment) -> Scene:
    return asyncio.run(look(environment, context_of(None), "here"))


def _draft(**changes: object) -> Draft:
    return Draft.model_validate(a_draft(**changes))  # pyright: ignore[reportArgumentType]  # fields


def test_a_task_of_a_draft() -> None:
    scene = _scene(Ledger())
    task = task_of(_draft(), scene, TOOLS, RULE, source="context", solved=True)
    assert task.instruction == "Enter 'lamp' with the amount 7."
    assert task.template == "enter _ with the amount _"
    assert isinstance(task.verifier, CodeVerifier) and task.verifier.origin == "model"
    assert (task.setup, task.seed) == (scene.bare.setup, scene.bare.seed)
    assert task.split == "practice" and task.source == "context" and len(task.failing) == 2
    again = task_of(_draft(), scene, TOOLS, RULE, source="context", solved=True)
    assert again == task
    assert task.id != scene.bare.id


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"instruction": "  \n "}, "no instruction"),
        ({"solution": []}, "no solution"),
        ({"solution": [call("launch")]}, "no such tool"),
        ({"failing": [[call("launch")], [call("show")]]}, "no such tool"),
        ({"failing": []}, "failing cases missing"),
        ({"failing": [[call("show")], [call("show")]]}, "failing cases missing"),
        ({"failing": [[], [call("show")]]}, "failing cases missing"),
        (
            {"failing": [[call("enter", name="lamp", amount=7)], [call("show")]]},
            "failing cases missing",
        ),
        ({"verify": ""}, "no verifier"),
        ({"instruction": "Please erase everything."}, "reserved template"),
    ],
)
def test_drafts_that_make_no_task(changes: dict[str, object], kind: str) -> None:
    with pytest.raises(DraftRefusedError) as raised:
        task_of(_draft(**changes), _scene(Ledger()), TOOLS, RULE, source="x", solved=True)
    assert raised.value.kind == kind


def test_a_reserved_seed_makes_no_task() -> None:
    scene = _scene(Ledger())
    rule = SplitRule(modulus=1, heldout=frozenset({0}))
    with pytest.raises(DraftRefusedError, match="reserved seed"):
        task_of(_draft(), scene, TOOLS, rule, source="x", solved=True)


def test_without_a_state_a_task_is_for_a_judge() -> None:
    scene = _scene(MuteLedger())
    task = task_of(_draft(), scene, TOOLS, RULE, source="context", solved=False)
    assert task.verifier == EnvironmentVerifier()
    assert task.parameters == {JUDGED: True, PARTICULARS: ["lamp", 7]}
    assert task.solution is None and task.failing == ()


def test_an_instruction_in_the_environments_language_is_the_environments_to_check() -> None:
    courier = Courier()
    scene = asyncio.run(look(courier, context_of(None, Courier), "here"))
    places = [e.properties["name"] for e in scene.observation.entities if e.type == "place"]
    failing = [[call("leave")], [call("read_sign")]]
    here, there = places[-1], places[0]
    draft = Draft.model_validate({"instruction": f"Go to the {there}.", "failing": failing})
    task = task_of(draft, scene, courier.tools, courier.split_rule, source="x", solved=False)
    assert task.mission is not None
    assert task.verifier == EnvironmentVerifier()
    assert task.template == f"{scene.family}: {task.mission.structure}"
    for instruction, kind in (
        (f"Go to the {here}.", "impossible there"),
        ("Sing.", "not in the environment's language"),
    ):
        other = draft.model_copy(update={"instruction": instruction})
        with pytest.raises(DraftRefusedError) as raised:
            task_of(other, scene, courier.tools, courier.split_rule, source="x", solved=False)
        assert raised.value.kind == kind
