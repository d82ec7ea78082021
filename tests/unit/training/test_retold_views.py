"""Views that put attempts together anew, against the worked examples of their papers."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from agentlab.training.advantages import grpo
from agentlab.training.dialogues import request_of
from agentlab.training.estimating import Estimating
from agentlab.training.formats.chat import OpenAIChat
from agentlab.training.formats.trl import TrlGrpoReplay, TrlSft
from agentlab.training.refusals import Refusal, RefusedError
from agentlab.training.rollouts import Rollout
from agentlab.training.samples import Composed, Group
from agentlab.training.tries import tries
from agentlab.training.views.chains import chain_rewards, chains
from agentlab.training.views.hinted import hinted, quotes
from agentlab.training.views.reflections import reflectors, repairs, retries
from agentlab.training.views.replayed import ramp, recalibrated, replayed
from agentlab.training.views.splices import splice, splices
from agentlab.training.views.verifier import verifier_pairs
from agentlab.types import ChatReply, ChatRequest, Message, ModelCall, Score
from tests.unit.training.attempts import calls, rollout

LESSON = "Do not walk into the wall again, go around it."


def reflection() -> ModelCall:
    request = ChatRequest(messages=(Message(role="user", text="What went wrong?"),))
    body = request.model_dump(mode="json", exclude={"sampling"}, exclude_defaults=True)
    body["prompt"] = {"name": "executors/reflect", "version": "1", "hash": "h"}
    said = ChatReply(message=Message(role="assistant", text=LESSON))
    return ModelCall(
        model="m",
        request=body,
        response=said.model_dump(mode="json"),
        prompt_token_ids=(7, 8),
        output_token_ids=(70, 71, 72),
        log_probabilities=(-0.1, -0.2, -0.3),
        terms="own",
    )


def advised(places: list[str], *, hint: str = LESSON) -> tuple[ModelCall, ...]:
    """Calls whose prompt holds advice: one token and some words more."""
    made: list[ModelCall] = []
    for call in calls(places):
        request = request_of(call)
        messages = list(request.messages)
        messages[1] = messages[1].model_copy(update={"text": f"Task: go. Advice: {hint}"})
        body = request.model_copy(update={"messages": tuple(messages)}).model_dump(
            mode="json", exclude={"sampling"}, exclude_defaults=True
        )
        assert call.prompt_token_ids is not None
        ids = (*call.prompt_token_ids[:2], 99, *call.prompt_token_ids[2:])
        made.append(call.model_copy(update={"request": body, "prompt_token_ids": ids}))
    return tuple(made)


def tried_again(name: str, *, passed: bool, of: str = "a") -> Rollout:
    made = rollout(name, ["right"], of=of, assisted=True)
    return made._replace(
        calls=(*calls(["wall"]), reflection(), *advised(["right"])),
        score=Score(value=float(passed), success=passed),
    )


def test_agent_r_keeps_the_bad_way_up_to_its_error() -> None:
    # bad = ABXY, good = ABCD, X is bad: A B X | thought | C D, the last three learnt.
    found = splice("ABXY", "ABCD", 2)
    assert (found.kept, found.parted) == (3, 2)
    assert found.mask(4) == (0, 0, 0, 1, 1, 1)


def test_a_splice_goes_on_from_where_the_refused_step_left_the_world() -> None:
    bad = rollout("bad", ["a", "b", "x", "y"], reward=0.0, refused=["x"])
    good = rollout("good", ["a", "b", "c", "d"])
    refusals: list[Refusal] = []
    (found,) = splices(Group("g", (bad, good)), refusals)
    assert isinstance(found, Composed) and not refusals
    (row,) = OpenAIChat().rows(found)
    messages = cast("list[dict[str, Any]]", row["messages"])
    replies = [each for each in messages if each["role"] == "assistant"]
    assert [each["tool_calls"][0]["function"]["arguments"] for each in replies] == [
        '{"to":"a"}', '{"to":"b"}', '{"to":"x"}', '{"to":"c"}', '{"to":"d"}'
    ]  # fmt: skip
    assert [each["weight"] for each in replies] == [0, 0, 0, 1, 1]
    assert "refused (no)" in replies[3]["content"]
    ids = [each["tool_calls"][0]["id"] for each in replies]
    assert len(set(ids)) == 5
    assert [m["tool_call_id"] for m in messages if m["role"] == "tool"] == ids[:4]


def test_a_splice_needs_an_error_on_record_and_a_way_back() -> None:
    good = rollout("good", ["a", "b"])
    blameless = rollout("blameless", ["a", "x"], reward=0.0)
    astray = rollout("astray", ["z", "x"], reward=0.0, refused=["x"])
    refusals: list[Refusal] = []
    assert not list(splices(Group("g", (good, blameless, astray)), refusals))
    assert {r.rollout: r.reason for r in refusals} == {
        "blameless": "no step known to be wrong",
        "astray": "no way back",
    }


def test_a_detour_is_spliced_where_the_states_are_known_to_be_equal() -> None:
    good = rollout("good", ["a", "b"])
    # Looking changes nothing, so after the refusal the world stands as it did after `a`.
    bad = rollout("bad", ["a", "look", "x", "y"], reward=0.0, refused=["x"])
    refusals: list[Refusal] = []
    assert not list(splices(Group("g", (bad, good)), refusals))
    assert refusals[0].reason == "no way back"
    states = [{"at": "a"}, {"at": "a"}, {"at": "a"}, {"at": "y"}]
    known = [
        each._replace(
            steps=tuple(
                step.model_copy(update={"state": state})
                for step, state in zip(each.steps, states, strict=False)
            )
        )
        for each in (bad, good)
    ]
    (found,) = splices(Group("g", tuple(known)), refusals)
    assert found.weights[-1] == 1 and sum(found.weights) == 1


def test_tries_are_told_by_the_reflections_between_them() -> None:
    parts = tries(tried_again("r", passed=True))
    assert [len(part.calls) for part in parts] == [1, 1]
    assert [part.solved for part in parts] == [False, True]
    # A reflection that led to no try leaves the one before it the last.
    ended = rollout("r", ["wall"], reward=0.0)
    (only,) = tries(ended._replace(calls=(*ended.calls, reflection())))
    assert only.solved is False and only.reflection is None


def test_re_rest_adds_what_was_repaired() -> None:
    # 10 tasks, 4 solved at once, 2 of 6 failures repaired: 6 rows for the agent, 2 for the other.
    made = [rollout(f"direct{n}", ["a"], of=f"d{n}") for n in range(4)]
    made += [tried_again(f"repaired{n}", passed=True, of=f"r{n}") for n in range(2)]
    made += [tried_again(f"lost{n}", passed=False, of=f"l{n}") for n in range(4)]
    refusals: list[Refusal] = []
    agent = list(repairs(made, refusals))
    reflector = list(reflectors(made))
    assert (len(agent), len(reflector), refusals) == (6, 2, [])


def test_a_repaired_try_is_learnt_without_what_repaired_it() -> None:
    (shown,) = repairs([tried_again("r", passed=True)], [])
    (row,) = OpenAIChat().rows(shown)
    assert LESSON not in str(row)
    assert "right" in str(row)
    # In tokens too: the prompt is the one that was recorded without advice.
    (tokens,) = TrlSft().rows(shown)
    assert tokens["input_ids"] == [1, 2, 10, 20]


def test_what_a_hard_task_gives_is_capped() -> None:
    refusals: list[Refusal] = []
    made = [tried_again(f"r{n}", passed=True) for n in range(6)]
    assert len(list(repairs(made, refusals))) == 4
    assert [r.reason for r in refusals] == ["enough of its task"] * 2


def test_reflect_retry_reward_rewards_reflections_alone() -> None:
    # Retries [1, 0, 0, 1] give [1, -1, -1, 1]; the mask covers the reflections' tokens.
    made = [
        tried_again(f"r{n}", passed=passed) for n, passed in enumerate([True, False, False, True])
    ]
    (group,) = retries(Group("g", (*made, rollout("direct", ["right"]))))
    assert [member.reward for member in group.rollouts] == [1, 0, 0, 1]
    values = Estimating("reflect").of(group)
    assert [values[f"r{n}"]["value"] for n in range(4)] == pytest.approx([1, -1, -1, 1])
    rows = list(TrlGrpoReplay().rows(group))
    assert [sum(cast("list[int]", row["env_mask"])) for row in rows] == [3] * 4
    assert all(row["completion_ids"] == [70, 71, 72] for row in rows)


def test_reflections_need_two_attempts_that_failed_at_first() -> None:
    one = tried_again("one", passed=True)
    assert not list(retries(Group("g", (one, rollout("direct", ["right"])))))


def test_spear_keeps_what_is_better_than_the_median() -> None:
    # Rewards [1, .4], median .5: [.5, -.1], so the first is kept.
    assert recalibrated([1.0, 0.4], 0.5) == pytest.approx((0.5, -0.1))
    assert ramp(25) == pytest.approx(0.146447, abs=1e-6)
    assert (ramp(0), ramp(100), ramp(500)) == (0.0, 1.0, 1.0)


def aged(name: str, reward: float, round_: int) -> Rollout:
    return rollout(name, ["a"], reward=reward)._replace(round=round_, slot=int(name[1:]))


def test_spear_forgets_what_is_old_and_what_no_longer_stands_out() -> None:
    old = Group("old", (aged("r0", 1.0, 0), aged("r1", 0.0, 0)))
    new = Group("new", (aged("r2", 0.4, 9), aged("r3", 0.0, 9), aged("r4", 1.0, 9)))
    found = list(replayed([old, new]))
    # The median of the group means .5 and .4667 is .4833: .4 is below it, and round 0 too old.
    assert [group.rollouts[0].id for group in found] == ["r4"]
    assert found[0].advantages == pytest.approx((1 - 0.48333,), abs=1e-4)
    # One attempt is enough where the advantage is known.
    (row,) = TrlGrpoReplay().rows(found[0])
    # The weight of the loss is that of the ramp in the newest round, and is not the row's share of
    # its attempt.
    assert (row["replay_weight"], row["weight"]) == (ramp(9), 1.0)
    assert "hint_removed" not in row


def hint_group(*, wins: tuple[bool, ...] = (True, False), plain: float = 0.0) -> Group:
    alone = rollout("alone", ["wall"], reward=plain)
    helped = [
        rollout(f"helped{n}", ["right"], reward=float(won))._replace(
            calls=advised(["right"]), insights=("insight-1",)
        )
        for n, won in enumerate(wins)
    ]
    return Group("g", (alone, *helped))


def test_guide_takes_the_hint_out_and_keeps_what_was_drawn_under_it() -> None:
    refusals: list[Refusal] = []
    (found,) = hinted(hint_group(), refusals, lambda _: LESSON)
    assert [member.id for member in found.rollouts] == ["helped0", "helped1"]
    rows = list(TrlGrpoReplay().rows(found))
    assert rows[0]["prompt_ids"] == [1, 2]
    assert rows[0]["logprobs"] == [-0.5, -0.25]
    # The loss treats such a ratio otherwise, so each row says what was done to it; no other does.
    assert [row["hint_removed"] for row in rows] == [True, True]
    assert not any("replay_weight" in row for row in rows)
    (plain, *_) = TrlGrpoReplay().rows(hint_group())
    assert not {"hint_removed", "replay_weight"} & set(plain)
    assert not refusals


@pytest.mark.parametrize(
    "group",
    [
        hint_group(wins=(True, True)),
        hint_group(wins=(False, False)),
        hint_group(plain=1.0),
    ],
)
def test_guide_hints_only_what_failed_and_only_helps_in_part(group: Group) -> None:
    assert not list(hinted(group, [], lambda _: LESSON))


def test_guide_leaves_out_what_quotes_its_hint() -> None:
    refusals: list[Refusal] = []
    group = hint_group(wins=(True, False, True))
    assert len(list(hinted(group, refusals, lambda _: "right"))) == 0
    assert {r.reason for r in refusals} >= {"a hint that is quoted"}
    assert quotes("Well, DO NOT walk  into the wall again!", LESSON)
    assert not quotes("I walk.", LESSON)


@pytest.mark.parametrize(
    ("first", "second", "used", "expected"),
    [
        (True, True, True, (2, 2)),
        (True, True, False, (1, 1)),
        (True, False, True, (1, 0)),
    ],
)
def test_sage_rewards_a_skill_that_was_used(
    first: bool, second: bool, used: bool, expected: tuple[int, int]
) -> None:
    assert chain_rewards(first, second, used=used) == expected


def test_chains_are_found_by_the_skill_between_them() -> None:
    first = rollout("first", ["a"])
    used = rollout("used", ["a"])._replace(skills_offered=("s",), skills_used=("s",))
    unused = rollout("unused", ["a"], reward=0.0)._replace(skills_offered=("s",))
    other = rollout("other", ["a"], of="b")._replace(skills_offered=("s",), skills_used=("s",))
    (group,) = chains([first, used, unused, other], {"s": ["first"]})
    assert [(m.id, m.reward) for m in group.rollouts] == [
        ("first#used", 2.0),
        ("used#first", 2.0),
        ("first#unused", 1.0),
        ("unused#first", 0.0),
    ]


@pytest.mark.parametrize(("solved", "expected"), [(3, 15), (8, 0)])
def test_v_star_pairs_across_rounds(solved: int, expected: int) -> None:
    members = [
        rollout(str(n), [f"p{n}"], reward=float(n < solved))._replace(round=n) for n in range(8)
    ]
    assert len(list(verifier_pairs(members, {"task-a": 8}, most=100))) == expected


def test_a_try_cannot_be_put_under_the_prompt_of_other_tools() -> None:
    bare = [
        call.model_copy(update={"request": {**call.request, "tools": []}}) for call in calls(["a"])
    ]
    refusals: list[Refusal] = []
    made = tried_again("r", passed=True)
    list(repairs([made._replace(calls=(*bare, *made.calls[1:]))], refusals))
    assert [r.reason for r in refusals] == ["different tools"]


def test_grpo_is_the_scale_of_reflections_up_to_its_constants() -> None:
    by_sample = grpo([1, 0, 0, 1])
    assert by_sample[0] == pytest.approx(math.sqrt(3 / 4), abs=1e-3)
    with pytest.raises(RefusedError):
        list(TrlGrpoReplay().rows(Group("g", (rollout("one", ["a"]),))))
