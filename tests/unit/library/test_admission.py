"""Admission fails closed at each gate, and the reason says which."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.library.admission import (
    LEAST_SAVING,
    Regression,
    Trial,
    enough,
    exact_duplicate,
    fingerprint,
    judge_regression,
    judge_replays,
    judge_trials,
    mean_saving,
    near_duplicate,
    passed,
    static_check,
)
from agentlab.library.constants import Particulars
from agentlab.types import Clause, JsonObject, Parameter, Replay, Skill
from agentlab.types.skill import Control

DOC = '    """Carry it.\n\n    Precondition: none.\n    Effect: it is there.\n    """\n'
CHECK = "def check(initial, final, *, x: dict):\n    return x in final['on']\n"


def _skill(body: str = "    env.push(x=x)\n", **changes: object) -> Skill:
    name = str(changes.get("name", "carry"))
    return Skill.model_validate(
        {
            "id": f"skill-{name}",
            "name": name,
            "environment": "shelf",
            "source": f"def {name}(env, *, x: dict):\n{DOC}{body}",
            "parameters": [Parameter(name="x", type="box")],
            "achieves": Clause(predicate="on", arguments={"x": "x"}),
            "summary": "",
            "effect_source": CHECK,
            "effect": ["x in final['on']"],
            "tools": ["push"],
            "skills": ["lift"],
            **changes,
        }
    )


def _check(skill: Skill) -> str | None:
    return static_check(skill, {"push", "pull"}, {"lift", "drop"})


def test_a_plain_skill_passes() -> None:
    assert _check(_skill()) is None
    assert _check(_skill("    env.skills.lift(x=x)\n    env.push(x={'a': x['a']})\n")) is None
    assert (
        _check(_skill("    for n in sorted(x):\n        env.push(x=n)\n    return len(x)\n"))
        is None
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    env.push(x=x\n", "does not parse"),
        ("    env.push(x='\x00')\n", "does not parse"),
        ("    import os\n", "imports"),
        ("    from os import path\n", "imports"),
        ("    global y\n    y = 1\n", "imports or reaches outside"),
        ("    env._host.push(x=x)\n", "private name '_host'"),
        ("    x.__class__\n", "private name '__class__'"),
        ("    __import__('os').system('true')\n", "private name '__import__'"),
        ("    print(__builtins__)\n", "private name '__builtins__'"),
        ("    eval('1')\n", "beyond env with 'eval'"),
        ("    open('/etc/passwd')\n", "beyond env with 'open'"),
        ("    getattr(env, 'pull')(x=x)\n", "beyond env with 'getattr'"),
        ("    other = env\n    other.pull(x=x)\n", "hands on env"),
        ("    (lambda e: e.pull(x=x))(env)\n", "hands on env"),
        ("    s = env.skills\n    s.drop(x=x)\n", "hands on env"),
        ("    env.pull(x=x)\n", "does not declare"),
        ("    env.skills.drop(x=x)\n", "does not declare"),
    ],
)
def test_what_the_body_may_not_do(body: str, reason: str) -> None:
    found = _check(_skill(body))
    assert found is not None
    assert found.startswith("static: ")
    assert reason in found


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "exactly one function"),
        ("x = 1\n", "exactly one function"),
        (f"def carry(env, *, x: dict):\n{DOC}\nprint(1)\n", "exactly one function"),
        (f"async def carry(env, *, x: dict):\n{DOC}", "exactly one function"),
        (f"def other(env, *, x: dict):\n{DOC}", "called 'other'"),
        (f"def carry(*, x: dict):\n{DOC}", "must take env"),
        (f"def carry(world, *, x: dict):\n{DOC}", "must take env"),
        (f"def carry(a, /, env, *, x: dict):\n{DOC}", "must take env"),
        (f"def carry(env, *more, x: dict):\n{DOC}", "must take env"),
        (f"def carry(env, *, x: dict, **more):\n{DOC}", "must take env"),
        (f"def carry(env, x: dict):\n{DOC}", "must take env"),
        (f"def carry(env, *, y: dict):\n{DOC}", "not the declared ones"),
        (f"def carry(env):\n{DOC}", "not the declared ones"),
        (f"def carry(env, *, x):\n{DOC}", "no type"),
        ("def carry(env, *, x: dict):\n    env.push(x=x)\n", "docstring"),
        ('def carry(env, *, x: dict):\n    """Precondition: none."""\n', "docstring"),
        ("def carry(env, *, x: dict = __import__('os')):\n" + DOC, "private name"),
        ("def carry(env, *, x: dict):\n" + DOC + "    def inner(e=env): return e\n", "hands on"),
    ],
)
def test_what_the_function_must_be(source: str, reason: str) -> None:
    found = _check(_skill(source=source))
    assert found is not None
    assert reason in found


FRAME = """    def g():
        yield it.gi_frame.f_back.f_back.f_locals['self']
    it = g()
    for box in it:
        pass
"""
SEEN = """    if not hasattr(ToolRefused, 'seen'):
        ToolRefused.seen = initial
    return ToolRefused.seen == initial
"""


@pytest.mark.parametrize(
    "body",
    [
        FRAME,
        "    it = (n for n in x)\n    it.gi_frame\n",
        "    it = (n for n in x)\n    it.gi_code.co_consts\n",
        "    (lambda: (yield))()\n",
        "    async def f():\n        pass\n    f()\n",
        "    try:\n        env.push(x=x)\n    except Exception as e:\n        e.tb_frame\n",
        "    class A:\n        pass\n",
        "    match env.push:\n        case object(__closure__=c):\n            pass\n",
        "    match x:\n        case object(keys=c):\n            pass\n",
        "    '{0.keys}'.format(x)\n",
        "    '{0.keys}'.format_map(x)\n",
        "    f = str.format\n",
        "    ToolRefused.seen = 1\n",
        "    x.mro\n",
        "    type(env.push)\n",
        "    help('modules')\n",
        "    quit()\n",
        "    dir()\n",
        "    env.push.seen = 1\n",
        "    def f(seen=[]):\n        return seen\n    f()\n",
        "    with env.push(x=x):\n        pass\n",
        "    (lambda eval: eval)(1)\n    eval('1')\n",
        "    [type for type in x]\n    type(x)\n",
        "    del x\n",
    ],
)
def test_only_what_is_listed_may_be_said(body: str) -> None:
    found = _check(_skill(body))
    assert found is not None
    assert found.startswith("static: ")
    assert (
        _check(_skill(effect_source=CHECK.replace("    return", f"{body}    return"))) is not None
    )


@pytest.mark.parametrize(
    "body",
    [
        "    for _ in range(3):\n        env.push(x=x)\n",
        "    try:\n        env.push(x=x)\n    except ToolRefused as error:\n        str(error)\n",
        "    seen = {}\n    seen['a'] = sorted(x, key=lambda n: x[n])\n    return f'{seen!r:>9}'\n",
        "    match x:\n        case {'a': str(), **rest}:\n            return rest.get('b')\n",
        "    def first(values, *, number=0):\n        return values[number]\n"
        "    if any(n for n in x) and (type := first(list(x))):\n        env.push(x={'a': type})\n",
    ],
)
def test_plain_code_passes(body: str) -> None:
    assert _check(_skill(body)) is None


@pytest.mark.parametrize(
    "body",
    [
        SEEN,
        "    initial['seen'] = 1\n    return True\n",
        "    initial['seen'] += 1\n    return True\n",
        "    return (seen := initial) == final\n",
        "    def f(seen=1):\n        return seen\n    return f()\n",
        "    return ToolRefused is None\n",
        "    return env.x\n",
    ],
)
def test_an_effect_check_stores_nothing(body: str) -> None:
    found = _check(_skill(effect_source=f"def check(initial, final, *, x: dict):\n{body}"))
    assert found is not None
    assert found.startswith("static: ")


@pytest.mark.parametrize(
    "effect",
    [
        CHECK.replace("x: dict", "x: dict, seen=[]"),
        f"@str\n{CHECK}",
        f"async {CHECK}",
        "class check:\n    pass\n",
        "def check(initial, final, *, x: dict)",
        "",
        "True",
        "def verify(initial, final, *, x: dict):\n    return True\n",
        CHECK + "\nimport os\n",
        "def check(initial, final, *, x: dict):\n    import os\n    return True\n",
        "def check(initial, final, *, x: dict):\n    return x.__class__\n",
        "def check(initial, final, *, x: dict):\n    return eval('True')\n",
    ],
)
def test_the_effect_is_checked_too(effect: str) -> None:
    found = _check(_skill(effect_source=effect))
    assert found is not None
    assert found.startswith("static: ")


def test_declared_but_unknown() -> None:
    assert static_check(_skill(), (), ()) == "static: there is no tool 'push'"
    calls = _skill("    env.skills.lift(x=x)\n")
    found = static_check(calls, {"push"}, ())
    assert found == "static: it calls 'lift', which is not in the library"


def _replay(**changes: object) -> Replay:
    return Replay.model_validate(
        {
            "task_id": "t",
            "arguments": {},
            "completed": True,
            "used": True,
            "effect": True,
            "success": True,
            **changes,
        }
    )


GOOD = _replay()
UNASKED = _replay(success=None)
BROKEN = _replay(completed=False, effect=False, success=False, error="stuck")
IDLE = _replay(completed=False, used=False, effect=False, success=False, error="refused")


def test_enough_good_replays_pass() -> None:
    assert judge_replays([GOOD] * 5, 5) is None
    assert judge_replays([UNASKED] * 5, 5) is None
    assert passed(GOOD)
    assert passed(UNASKED)


def test_none_found_is_failure() -> None:
    assert judge_replays([], 5) == "replay: only 0 of 5 unseen argument sets were found"
    found = judge_replays([GOOD] * 4, 5)
    assert found == "replay: only 4 of 5 unseen argument sets were found"


def test_one_break_is_borne_and_two_are_not() -> None:
    assert judge_replays([GOOD, BROKEN, GOOD, GOOD], 3) is None
    found = judge_replays([BROKEN, GOOD, GOOD, BROKEN, GOOD], 3)
    assert found == "replay: it broke off in 2 of 5: stuck"
    alone = judge_replays([BROKEN], 3)
    assert alone is not None
    assert "stuck" in alone, "what went wrong is told where nothing else was found either"


@pytest.mark.parametrize(
    ("replay", "reason"),
    [
        (_replay(effect=False), "the effect did not show on replay 2"),
        (_replay(effect=False, success=True), "the effect did not show on replay 2"),
        (_replay(success=False), "verifier was not satisfied on replay 2"),
        (_replay(used=False), "made no call of its own on replay 2"),
        (_replay(completed=False, error="late"), "broke off on replay 2: late"),
    ],
)
def test_one_bad_replay_is_final(replay: Replay, reason: str) -> None:
    for replays in ([GOOD, replay], [GOOD, replay, *[GOOD] * 9]):
        found = judge_replays(replays, 2)
        assert found is not None
        assert reason in found
        assert enough(replays, 9)


def test_where_it_does_not_apply_says_little() -> None:
    assert judge_replays([*[IDLE] * 3, *[GOOD] * 3], 3) is None
    found = judge_replays([*[IDLE] * 4, *[GOOD] * 3], 3)
    assert found == "replay: it did nothing in 4 of 7: refused"


def test_enough() -> None:
    assert not enough([], 2)
    assert not enough([GOOD, BROKEN, IDLE, IDLE], 2)
    assert enough([GOOD, GOOD], 2)
    assert enough([BROKEN, BROKEN], 2)
    assert enough([IDLE] * 3, 2)


REPLAYS = st.builds(
    _replay,
    completed=st.booleans(),
    used=st.booleans(),
    effect=st.booleans(),
    success=st.sampled_from([True, False, None]),
)


@given(st.lists(REPLAYS, max_size=8), st.integers(1, 5))
def test_nothing_passes_without_as_many_good_replays(replays: list[Replay], needed: int) -> None:
    reason = judge_replays(replays, needed)
    if reason is None:
        assert sum(map(passed, replays)) >= needed
    else:
        assert reason.startswith(("replay: ", "effect: "))
    if enough(replays, needed) and reason is None:
        assert judge_replays([*replays, GOOD], needed) is None


TASKS = itertools.count()


def _trial(
    without: int | None, with_: int | None, *, budget: int = 500, used: bool = True, task: str = ""
) -> Trial:
    """On a task of its own; None is one that was not solved."""
    return Trial(
        task or f"t{next(TASKS)}",
        without is not None,
        with_ is not None,
        without or budget,
        with_ or budget,
        used,
    )


def test_worth_it() -> None:
    assert judge_trials([_trial(100, 50), _trial(100, 60)]) is None
    assert judge_trials([_trial(None, 60), _trial(None, 90), _trial(20, 20)]) is None


def test_no_trials_is_failure() -> None:
    assert judge_trials([]) == "use: there was no practice task to prove it on"


def test_losing_more_than_winning_is_failure() -> None:
    fast = [_trial(400, 2) for _ in range(5)]
    found = judge_trials([*fast, _trial(20, None)])
    assert found == "use: it broke 1 of 6 practice tasks and solved 0 more"
    assert judge_trials([*fast, _trial(20, None), _trial(None, 20)]) is None


def test_saving_too_little_is_failure() -> None:
    found = judge_trials([_trial(100, 100)] * 3)
    assert found == "use: it saved 0 % of the calls, on 0 of 3 tasks"
    assert judge_trials([_trial(100, 2), _trial(100, 100)]) is not None, "on one task alone"
    assert judge_trials([_trial(100, 95)] * 9) is not None
    assert judge_trials([_trial(100, 110), _trial(100, 115)]) is not None


def test_mean_saving() -> None:
    assert mean_saving([]) == 0.0
    assert math.isclose(mean_saving([_trial(99, 9), _trial(9, 99)]), 0.0, abs_tol=1e-9)
    assert math.isclose(mean_saving([_trial(99, 9)]), math.log(10))
    just = [_trial(999, round(1000 * math.exp(-LEAST_SAVING)) - 2) for _ in range(2)]
    assert judge_trials(just) is None


def test_useful_in_two_different_tasks() -> None:
    assert judge_trials([_trial(100, 2, task="a"), _trial(100, 2, task="b")]) is None
    for same in (
        [_trial(100, 2, task="a")] * 4,
        [_trial(100, 2, task="a"), _trial(100, 2, task="b", used=False)],
        [_trial(None, 2, task="a"), _trial(100, None, task="b"), _trial(None, None, task="c")],
    ):
        found = judge_trials(same)
        assert found is not None
        assert "on 1 of" in found
    assert not _trial(100, 2, used=False).useful, "something else saved the calls"
    assert not _trial(2, 2).useful
    assert _trial(None, 500).useful


def test_regression() -> None:
    solved, unasked = Regression("a", True), Regression("b", False, None, None)
    assert judge_regression([], 500) is None
    assert judge_regression([solved, unasked], 500) is None
    beyond = Regression("c", False, True, 251)
    assert judge_regression([solved, beyond], 500) is None, "nearer to the edge is chance"
    unsolved = Regression("d", False, False, 10)
    assert judge_regression([unsolved], 500) is None, "it is not the candidate that lost it"
    broken = Regression("e", False, True, 250)
    found = judge_regression([solved, broken, solved], 500)
    assert found == "regression: it breaks 1 of 3 tasks that its callees solved"


def test_two_replays_for_each_shape() -> None:
    box, bag = _replay(shape=("box",)), _replay(shape=("bag",))
    assert judge_replays([box, box, bag, bag], 4) is None
    assert not enough([box, box, box, bag], 4)
    assert judge_replays([box, box, box, bag], 4) == "replay: only 1 of 2 passed with bag"
    stuck = _replay(shape=("bag",), completed=False, used=False, effect=False, error="no")
    assert judge_replays([box, box, stuck], 2) == "replay: only 0 of 2 passed with bag"
    assert judge_replays([bag], 1) is None


def test_a_start_where_the_effect_held_counts_for_nothing() -> None:
    void = _replay(completed=False, used=False, controls=(Control(wrong="", passed=True),))
    assert judge_replays([void, GOOD, void, GOOD], 2) is None
    assert judge_replays([void] * 9, 2) == "replay: only 0 of 2 unseen argument sets were found"


def test_a_constant_of_one_task_is_refused() -> None:
    found = Particulars(values=frozenset({'"Ann"'}))
    skill = _skill("    env.push(x='Ann')\n")
    assert static_check(skill, {"push"}, (), found) == "static: it is about one task's 'Ann'"
    assert static_check(skill, {"push"}, ()) is None
    assert static_check(_skill("    env.push(x='Bob')\n"), {"push"}, (), found) is None


def _renamed(skill: Skill, old: str, new: str) -> Skill:
    achieves = skill.achieves
    assert achieves is not None
    return skill.model_copy(
        update={
            "source": skill.source.replace(f"{old}:", f"{new}:").replace(f"={old})", f"={new})"),
            "parameters": (Parameter(name=new, type="box"),),
            "achieves": Clause(predicate=achieves.predicate, arguments={"x": new}),
        }
    )


def test_names_and_words_do_not_make_another_skill() -> None:
    skill = _skill()
    other = _skill(name="bring", source=skill.source.replace("carry", "bring"))
    assert fingerprint(other) == fingerprint(skill)
    assert fingerprint(_renamed(skill, "x", "box")) == fingerprint(skill)
    spaced = skill.source.replace("Carry it", "Take it").replace("x=x)", "x = x)  # so")
    assert fingerprint(_skill(source=spaced)) == fingerprint(skill)
    assert exact_duplicate(other, [_skill("    env.pull(x=x)\n"), skill]) == skill


def test_what_does_make_another_skill() -> None:
    skill = _skill()
    for other in (
        _skill("    env.pull(x=x)\n"),
        _skill("    env.push(y=x)\n"),
        _skill("    env.push(x=x)\n    env.push(x=x)\n"),
        _skill(achieves=Clause(predicate="off", arguments={"x": "x"})),
        _skill(achieves=None),
    ):
        assert fingerprint(other) != fingerprint(skill)
        assert exact_duplicate(other, [skill]) is None


def test_swapped_parameters_are_another_skill() -> None:
    def two(body: str) -> Skill:
        return _skill(
            source=f"def carry(env, *, x: dict, y: dict):\n{DOC}{body}",
            parameters=(Parameter(name="x", type="box"), Parameter(name="y", type="box")),
        )

    assert fingerprint(two("    env.push(x=x)\n")) != fingerprint(two("    env.push(x=y)\n"))


def test_near_duplicates_promise_the_same() -> None:
    skill = _skill()
    longer = _skill("    env.push(x=x)\n    env.push(x=x)\n", name="longer")
    assert near_duplicate(longer, [skill]) == skill
    requires: JsonObject = {"hue": "red"}
    for other in (
        _skill(effect=("x in final['off']",)),
        _skill(precondition={"held": {"present": True}}),
        _skill(parameters=(Parameter(name="x", type="box", requires=requires),)),
        _skill(achieves=None),
    ):
        assert near_duplicate(other, [skill]) is None
