"""A refused candidate is mended by what tells its failed replays from those that passed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from agentlab.curators.generalise import GeneralisingCurator, identity, new_version
from agentlab.protocols import Honer, HoningContext
from agentlab.types import Clause, JsonObject, Parameter, Replay, Skill, skill_id
from agentlab.types.skill import Control
from tests.unit.curators.lessons import TOOLS, WordGrammar

SOURCE = '''def bring(env, *, x: dict):
    """Bring about on(x): drop, then grab, then press.

    Precondition: none.
    Effect: x in final["on"].
    """
    env.drop()
    env.grab(x=x)
    env.press(x=x)
'''


def _skill(*parameters: Parameter, **changes: Any) -> Skill:
    return Skill(
        id=skill_id("words", "bring", 1, SOURCE),
        name="bring",
        environment="words",
        source=SOURCE,
        parameters=parameters or (Parameter(name="x", type="thing"),),
        achieves=Clause(predicate="on", arguments={"x": "x"}),
        summary="Bring about on(x): drop, then grab, then press.",
        effect_source="def check(initial, final, *, x: dict):\n    return x in final['on']\n",
        tools=("drop", "grab", "press"),
        source_tasks=("t1",),
        source_attempts=("a1",),
    ).model_copy(update=changes)


def _replay(good: bool, **changes: Any) -> Replay:
    return Replay(
        task_id="t",
        arguments={},
        completed=good,
        used=good,
        effect=good,
        shape=("thing",),
        present={"held": good},
        bound={"x": {"kind": "ball", "hue": "red" if good else "blue", "at": []}},
    ).model_copy(update=changes)


def _hone(
    skill: Skill,
    replays: Sequence[Replay],
    *,
    reason: str = "replay: it did nothing in 2 of 4",
    starts: Sequence[JsonObject] = (),
) -> Skill | None:
    curator = GeneralisingCurator()
    assert isinstance(curator, Honer)
    context = HoningContext(skill, reason, replays, starts, TOOLS, WordGrammar())
    return asyncio.run(curator.hone(context))


GOOD, BAD = _replay(True), _replay(False)
SAME: JsonObject = {"present": {"held": True}}


def test_a_fact_that_was_there_wherever_it_worked() -> None:
    skill = _skill()
    mended = _hone(skill, [GOOD, BAD, GOOD, BAD])
    assert mended is not None
    assert mended.precondition == {"held": {"present": True}}
    assert (mended.version, mended.parent, mended.name) == (2, skill.id, "bring")
    assert mended.id == skill_id("words", "bring", 2, mended.source)
    assert "Precondition: state has a held." in mended.source
    assert identity(mended) == identity(skill)
    assert mended.source_tasks == skill.source_tasks
    assert skill.version == 1


def test_where_nothing_worked_the_sources_tell() -> None:
    starts: list[JsonObject] = [{"held": "x", "on": []}, {"held": "y", "on": []}]
    mended = _hone(_skill(), [BAD, BAD], starts=starts)
    assert mended is not None
    assert mended.precondition == {"held": {"present": True}}
    assert _hone(_skill(precondition=mended.precondition), [BAD], starts=starts) is None


def test_a_property_that_things_had_wherever_it_worked() -> None:
    replays = [_replay(True, **SAME), _replay(False, **SAME)]
    mended = _hone(_skill(), replays)
    assert mended is not None
    assert mended.parameters[0].requires == {"hue": "red"}
    assert "Precondition: x is hue red." in mended.source
    common = {"x": {"hue": "red"}}
    assert _hone(_skill(), [_replay(True, **SAME), _replay(False, bound=common, **SAME)]) is None


def test_a_kind_of_thing_on_which_it_does_not_work() -> None:
    anything = _skill(Parameter(name="x", type="*"))
    mended = _hone(anything, [GOOD, _replay(False, shape=("place",))])
    assert mended is not None
    assert mended.parameters[0].type == "thing"
    assert mended.precondition == {}
    both = _hone(anything, [GOOD, BAD])
    assert both is not None
    assert both.parameters[0].type == "*", "it works on things, and does not"


def test_a_step_that_was_refused_each_time() -> None:
    mended = _hone(_skill(), [_replay(False, refused=0)] * 3)
    assert mended is not None
    assert "env.drop()" not in mended.source
    assert "env.grab(x=x)\n    env.press(x=x)\n" in mended.source
    assert mended.summary == "Bring about on(x): grab, then press."
    assert mended.summary in mended.source
    assert mended.tools == ("grab", "press")
    compile(mended.source, "mended", "exec")


@pytest.mark.parametrize(
    "replays",
    [
        [_replay(False, refused=0), _replay(False, refused=1)],
        [_replay(False, refused=None)],
        [_replay(False, refused=7)],
        [_replay(True, **SAME, bound={}), _replay(False, refused=0, **SAME, bound={})],
    ],
)
def test_no_step_is_left_out_by_guesswork(replays: Sequence[Replay]) -> None:
    assert _hone(_skill(), replays) is None


def test_only_a_list_of_calls_is_shortened() -> None:
    looped = SOURCE.replace("    env.drop()\n", "    for _ in range(2):\n        env.drop()\n")
    assert _hone(_skill(source=looped), [_replay(False, refused=0)]) is None
    assert _hone(_skill(skills=("other",)), [_replay(False, refused=0)]) is None
    alone = SOURCE.replace("    env.grab(x=x)\n    env.press(x=x)\n", "")
    assert _hone(_skill(source=alone), [_replay(False, refused=0)]) is None
    needed = SOURCE.replace("    env.grab(x=x)\n", "").replace("press(x=x)", "press()")
    needed = needed.replace("env.drop()", "env.drop(x=x)")
    assert _hone(_skill(source=needed), [_replay(False, refused=0)]) is None


def test_a_requirement_that_left_too_little() -> None:
    narrow = _skill(Parameter(name="x", type="thing", requires={"hue": "red", "kind": "ball"}))
    reason = "replay: only 1 of 5 unseen argument sets were found"
    mended = _hone(narrow, [GOOD], reason=reason)
    assert mended is not None
    assert mended.parameters[0].requires == {"hue": "red"}
    assert _hone(narrow, [GOOD], reason="use: it saved 0 %") is None
    assert _hone(_skill(), [GOOD], reason=reason) is None


def test_what_held_before_tells_nothing() -> None:
    void = _replay(False, controls=(Control(wrong="", passed=True),))
    assert _hone(_skill(), [void, GOOD]) is None


def test_a_check_that_was_fooled_is_a_failure_without_remedy() -> None:
    fooled = _replay(True, controls=(Control(wrong="x", passed=True),))
    assert _hone(_skill(), [fooled, fooled], reason="effect: it passes") is None


def test_versions_do_not_collide() -> None:
    skill = _skill()
    assert new_version(skill, skill).version == 2
    assert new_version(skill, skill, after=4).version == 5
