"""Finding a way again: renamed, reordered, by another tool; and knowing when there is none."""

from __future__ import annotations

import asyncio

from agentlab.executors.retracing import GAP, Found, Retracer, templated
from agentlab.types import StepResult, Task, ToolCall
from tests.unit.executors.booth import NEW, OLD, Booth, Words

SAID = {"mail": "ann@example.com", "secret": "otter-21"}
TASK = Task(
    id="task-x", environment="booth", instruction="Sign in.", setup={}, seed=0, template="booth"
)


def call(tool: str, **arguments: str) -> ToolCall:
    return ToolCall(tool=tool, arguments=dict(arguments))


OLDS = (
    call("click", role="link", name=OLD.door),
    call("fill", label=OLD.mail, text=SAID["mail"]),
    call("fill", label=OLD.secret, text=SAID["secret"]),
    call("click", role="button", name=OLD.go),
)


def search(
    words: Words,
    renamed: dict[str, str] | None = None,
    calls: int = 400,
    right: dict[str, str] = SAID,
) -> tuple[Found, Booth]:
    booth = Booth(words, right)

    async def reached(result: StepResult) -> bool:
        return result.succeeded

    async def work() -> Found:
        shown = await booth.reset(TASK, 0)
        return await Retracer(
            booth,
            TASK,
            OLDS,
            given=[*SAID.values()],
            renamed=renamed or {},
            reached=reached,
            calls=calls,
        ).find(shown)

    return asyncio.run(work()), booth


def test_what_still_works_is_found_at_once() -> None:
    found, booth = search(OLD)
    assert found.way is not None
    assert found.way.calls == OLDS
    assert found.way.olds == (0, 1, 2, 3)
    assert booth.made == 4


def test_other_words_are_found() -> None:
    found, _ = search(NEW)
    assert found.way is not None
    assert [dict(each.arguments) for each in found.way.calls] == [
        {"role": "link", "name": "Log in"},
        {"label": "Your e-mail", "text": SAID["mail"]},
        {"label": "Secret word", "text": SAID["secret"]},
        {"role": "button", "name": "Log in"},
    ]
    assert found.tool_calls <= 100


def test_a_button_with_quite_another_name_goes_before_links_that_sound_alike() -> None:
    signs = ("Signs in here", "Sign it", "Singing", "Signing", "Sign on", "Assign in", "Sin", "Sig")
    found, _ = search(NEW._replace(go="Enter", others=(*signs, "Designs in", "Signed")))
    assert found.way is not None
    assert found.way.calls[-1].arguments["name"] == "Enter"


def test_what_another_skill_showed_is_tried_first() -> None:
    known = {OLD.door: NEW.door, OLD.mail: NEW.mail, OLD.secret: NEW.secret}
    found, _ = search(NEW, known)
    bare, _ = search(NEW)
    assert found.way is not None
    assert bare.way is not None
    assert found.way.calls == bare.way.calls
    assert found.tool_calls < bare.tool_calls


def test_there_is_an_end_to_it() -> None:
    found, _ = search(NEW, calls=60, right={**SAID, "secret": "not what the skill is given"})
    assert found.way is None
    assert found.tool_calls <= 60


def test_a_template_keeps_apart_what_belongs_to_the_task() -> None:
    assert templated("Add Oak Desk to cart", ["Oak Desk", "2"]) == f"Add {GAP}0{GAP} to cart"
    assert templated("2", ["Oak Desk", "2"]) == f"{GAP}1{GAP}"
    assert templated("Reply #2", ["Oak Desk"]) == "Reply"
    assert templated("20 things", ["2"]) == "20 things", "a digit alone says nothing"
