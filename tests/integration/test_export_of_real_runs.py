"""Views on what runs really record: tries, refused steps, advice, and skills of other attempts.

Only the model is scripted, and it draws: half of the time it begins badly.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

import agentlab
from agentlab.errors import UsageError
from agentlab.records import Records, Workspace
from agentlab.testing.model_server.completion import Reply
from agentlab.testing.model_server.server import ModelServer
from agentlab.testing.rules import load_rule
from agentlab.training.exporting import ExportReport, ExportRequest, ViewName, export
from agentlab.training.rollouts import rollouts
from agentlab.training.tries import tries
from agentlab.types import ChatRequest, Insight, Message, Skill, Status, ToolUse, skill_id

HINT = "Begin with a step that you can make, and do not put down what you do not hold."
pytestmark = pytest.mark.timeout(300)
OPTIONS: dict[str, Any] = {
    "attempts": 8,
    "group": 4,
    "heldout": 0,
    "seed": 5,
    "model": "vllm:rules",
    "index": "exact",
    "proposer": "grammar",
    "evaluator": "verifier",
    "insights": "none",
    "concurrency": 1,
    "models": {"vllm:rules": {"terms": "own"}},
}


def sloppy(likely: Callable[[ChatRequest], float]) -> Callable[[ChatRequest], Reply]:
    """The courier's rule, which begins with what is refused, and then gives up, so often."""
    courier = load_rule("courier")
    dice = random.Random(0)

    def rule(request: ChatRequest) -> Reply:
        if not any(tool.name == "leave" for tool in request.tools):
            return courier(request)
        begun = [message for message in request.messages if message.role == "assistant"]
        if not begun and dice.random() < likely(request):
            use = ToolUse(id="call_0", name="leave", arguments="{}")
            return Message(role="assistant", tool_uses=(use,))
        if begun and begun[0].tool_uses[0].name == "leave":
            return Message(role="assistant", text="I give up.")
        return courier(request)

    return rule


def practise(workspace: Path, rule: Callable[[ChatRequest], Reply], **more: Any) -> str:
    with ModelServer(cast("Any", rule)) as server:
        options: dict[str, Any] = {**OPTIONS, "endpoint.base_url": server.base_url, **more}
        return agentlab.practice("courier", workspace=workspace, **options).run_id


def exported(records: Records, run: str, form: str, view: ViewName, out: Path) -> ExportReport:
    return export(records, ExportRequest((run,), form, view=view), out)


def lines(folder: Path, name: str = "data") -> list[dict[str, Any]]:
    text = (folder / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def opened(workspace: Path) -> Records:
    return Records.open(Workspace.open(workspace, create=False))


def test_attempts_that_were_tried_again(tmp_path: Path) -> None:
    run = practise(
        tmp_path / "ws",
        sloppy(lambda _: 0.5),
        rounds=1,
        executor="reflect:react",
        **{"endpoint.schemas": False},
    )
    with opened(tmp_path / "ws") as records:
        found = list(rollouts(records, [run]))
        again = [each for each in found if len(tries(each)) > 1]
        repaired = [each for each in again if each.score.success]
        assert repaired and len(again) < len(found)
        report = exported(records, run, "chat", "repairs", tmp_path / "repairs")
        assert report.samples == len(repaired) + sum(each.solved for each in found)
        rows = lines(tmp_path / "repairs")
        assert not any("reflection-1" in json.dumps(row) for row in rows)
        report = exported(records, run, "trl-sft", "reflectors", tmp_path / "reflectors")
        assert report.samples == len(repaired)
        report = exported(records, run, "trl-grpo-replay", "retries", tmp_path / "retries")
        assert report.rows == sum(
            sum(1 for each in again if each.group_id == group) for group in groups_of_two(again)
        )
        # The whole attempt is no one's reward, so it is in no group.
        with pytest.raises(UsageError, match="tried again"):
            exported(records, run, "trl-grpo-replay", "groups", tmp_path / "groups")


def groups_of_two(found: list[Any]) -> set[str]:
    ids = [each.group_id for each in found]
    return {each for each in ids if ids.count(each) > 1}


def test_attempts_that_were_refused_a_step(tmp_path: Path) -> None:
    run = practise(tmp_path / "ws", sloppy(lambda _: 0.5), rounds=1)
    with opened(tmp_path / "ws") as records:
        report = exported(records, run, "chat", "splices", tmp_path / "splices")
        replies = [
            [m for m in row["messages"] if m["role"] == "assistant"]
            for row in lines(tmp_path / "splices")
        ]
        assert report.rows == len(replies) > 0
        for said in replies:
            assert said[0]["tool_calls"][0]["function"]["name"] == "leave"
            assert [m["weight"] for m in said] == [0] + [1] * (len(said) - 1)
            assert said[1]["content"].startswith("That was refused (")
        masked = exported(records, run, "ms-swift", "masked", tmp_path / "masked")
        assert masked.rows > 0
        assert exported(records, run, "trl-dpo", "verifier", tmp_path / "verifier").rows > 0
        replayed = exported(records, run, "trl-grpo-replay", "replayed", tmp_path / "replayed")
        assert replayed.estimator is not None and replayed.estimator.startswith("spear")
        assert all(each["value"] >= 0 for each in lines(tmp_path / "replayed", "advantages"))
        # A run's first round replays with no weight yet.
        assert all(each["replay_weight"] == 0 for each in lines(tmp_path / "replayed"))
        assert "0 in a run's first round" in replayed.notes[0]


def test_attempts_that_were_advised(tmp_path: Path) -> None:
    with Records.open(Workspace.open(tmp_path / "ws")) as records:
        hint = Insight(id="insight-1", environment="courier", condition="any delivery", advice=HINT)
        records.items.save_insight(hint)
        moves: tuple[Status, ...] = ("quarantined", "verified", "active")
        for status in moves:
            records.items.move(hint.id, status, reason="for the test")

    def likely(request: ChatRequest) -> float:
        return 0.4 if HINT in request.messages[1].text else 1.0

    run = practise(tmp_path / "ws", sloppy(likely), rounds=2, attempts=24, group=6)
    with opened(tmp_path / "ws") as records:
        exported(records, run, "trl-grpo-replay", "hinted", tmp_path / "hinted")
        exported(records, run, "chat", "successes", tmp_path / "successes")
        found = {each.id: each for each in rollouts(records, [run])}
    rows, origins = lines(tmp_path / "hinted"), lines(tmp_path / "hinted", "provenance")
    assert {row["reward"] for row in rows} == {0.0, 1.0}
    assert all(row["hint_removed"] is True for row in rows)
    for row, origin in zip(rows, origins, strict=True):
        (attempt,) = origin["rollouts"]
        assert found[attempt].insights == ("insight-1",)
        assert "off-policy" in origin["notes"][0]
        # The prompt is one that was recorded without advice, and not the attempt's own.
        own = found[attempt].calls[0].prompt_token_ids
        plain = [e.calls[0].prompt_token_ids for e in found.values() if not e.insights]
        assert own is not None and row["prompt_ids"][: len(own)] != list(own)
        assert any(ids and row["prompt_ids"][: len(ids)] == list(ids) for ids in plain)
    # With advice left in, it is there to be learnt.
    assert HINT in (tmp_path / "successes" / "data.jsonl").read_text(encoding="utf-8")


def test_attempts_with_a_skill_of_another(tmp_path: Path) -> None:
    courier = cast("Any", load_rule("courier"))
    first = practise(tmp_path / "ws", courier, rounds=1, attempts=4, group=1)
    with opened(tmp_path / "ws") as records:
        solved = [each.id for each in rollouts(records, [first]) if each.solved]
        source = 'def read(env):\n    """Read the sign."""\n    env.read_sign()\n'
        skill = Skill(
            id=skill_id("courier", "read", 1, source),
            name="read",
            environment="courier",
            toolset="leave+put_in+take+unlock+walk",
            source=source,
            parameters=(),
            summary="Read the sign where you are: deliver, take, unlock, walk.",
            effect_source="def check(initial, final):\n    return True\n",
            tools=("read_sign",),
            source_attempts=tuple(solved),
        )
        records.items.save_skill(skill)
        moves: tuple[Status, ...] = ("quarantined", "verified", "active")
        for status in moves:
            records.items.move(skill.id, status, reason="for the test")
    second = practise(tmp_path / "ws", courier, rounds=1, attempts=8, group=1, seed=6)
    with opened(tmp_path / "ws") as records:
        request = ExportRequest((first, second), "trl-grpo-replay", view="chains")
        report = export(records, request, tmp_path / "chains")
        found = list(rollouts(records, [first, second]))
    offered = [each.id for each in found if each.skills_offered]
    origins = lines(tmp_path / "chains", "provenance")
    assert report.groups > 0 and offered
    assert {each for origin in origins for each in origin["rollouts"]} <= {*solved, *offered}
    # Offered and not used, each has what it earned by itself; used with success, one more.
    most = 2.0 if any(each.skills_used for each in found) else 1.0
    assert {row["reward"] for row in lines(tmp_path / "chains")} <= {0.0, 1.0, most}
