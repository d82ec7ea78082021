"""What a run finds out about planted skills: harmful and useless ones go, a useful one stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab import registry
from agentlab.envs.courier.environment import TOOLS
from agentlab.envs.courier.world import NAMES
from agentlab.graph.practice import toolset_name
from agentlab.protocols import CurationContext
from agentlab.records import Records, Workspace
from agentlab.records.moves import Move
from agentlab.types import Clause, Parameter, Skill
from agentlab.types.skill import skill_id

HALF: dict[str, Any] = {"attribution.floor": 0.5}
"""Withhold half throughout."""
ATTEMPTS, TOOL_CALLS = 40, 400
"""A round, and an attempt.

Measured, withholding half throughout: the harmful skill takes 0.24 to 0.33 off the success rate
and is retired after 115, 114 and 76 draws with the seeds 5, 6 and 7. With the probability that
falls to a tenth it takes longer, for few attempts are then without it: after 116 draws with
seed 7, 232 with seed 6, and not within 231 with seed 5. The useless one, alone with the useful
ones, is not shown to be without effect in 936 attempts then; see the last test.
"""

DELIVER = '''
def deliver(env, *, item: dict, container: dict):
    """Take the item to the container and put it in."""
    env.walk(to=item)
    env.take(item=item)
    env.walk(to=container)
    env.put_in(container=container)
'''
UNLOCK = '''
def unlock(env, *, container: dict):
    """Fetch the token of the container's metal and unlock it."""
    token = {"kind": "token", "metal": container["metal"]}
    env.walk(to=token)
    env.take(item=token)
    env.walk(to=container)
    env.unlock(container=container)
'''
DAWDLE = '''
def dawdle(env):
    """Walk from place to place."""
    for _ in range(100):
        for name in {names}:
            try:
                env.walk(to={{"kind": "place", "name": name}})
            except ToolRefused:
                pass
'''
GLANCE = '''
def glance(env):
    """Look at the sign."""
    env.read_sign()
'''
ITEM = Parameter(name="item", type="item", requires={"cargo": True})
CONTAINER = Parameter(name="container", type="container", requires={"container": True})
CHECK = "def check(initial, final, **arguments):\n    return True\n"


def planted(name: str, source: str, predicate: str, *parameters: Parameter) -> Skill:
    achieves = Clause(predicate=predicate, arguments={p.name: p.name for p in parameters})
    return Skill(
        id=skill_id("courier", name, 1, source),
        name=name,
        environment="courier",
        toolset=toolset_name(TOOLS),
        source=source.lstrip(),
        parameters=parameters,
        achieves=achieves if predicate else None,
        summary="Go to, pick up, unlock or deliver the red, green or blue item to the container: "
        "chest, cabinet, iron, tin, brass, parcel, letter, basket, lantern.",
        effect_source=CHECK,
        tools=("walk",),
    )


LOCKED = CONTAINER.model_copy(update={"requires": {"container": True, "locked": True}})
OPEN = CONTAINER.model_copy(update={"requires": {"container": True, "locked": False}})
USEFUL = (
    planted("deliver", DELIVER, "delivered", ITEM, OPEN),
    planted("unlock", UNLOCK, "unlocked", LOCKED),
)
HARMFUL = planted("dawdle", DAWDLE.format(names=NAMES), "")
USELESS = planted("glance", GLANCE, "")


class CuratesNothing:
    """A curator that leaves the library as it was planted."""

    async def curate(self, context: CurationContext) -> Sequence[Skill]:
        return []


def practise(workspace: Path, planted: Sequence[Skill], *, seed: int, rounds: int) -> str:
    """Practise with these skills in the library and no others; the run's id."""
    with Records.open(Workspace.open(workspace)) as records:
        for skill in planted:
            records.items.save_skill(skill)
            for status in ("quarantined", "verified", "active"):
                records.items.move(skill.id, status, reason="planted")
    report = agentlab.practice(
        "courier",
        workspace=workspace,
        seed=seed,
        rounds=rounds,
        attempts=ATTEMPTS,
        proposals=ATTEMPTS,
        tool_calls=TOOL_CALLS,
        heldout=0,
        index="exact",
        curator="nothing",
        **HALF,
    )
    assert report.status == "finished"
    return report.run_id


def last_move(workspace: Path, skill: Skill) -> Move:
    with Records.open(Workspace.open(workspace)) as records:
        return records.items.history(skill.id)[-1]


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setitem(registry.BUILT_IN, "curator/nothing", f"{__name__}:CuratesNothing")


def test_a_harmful_skill_goes_within_120_attempts_and_useful_ones_stay(tmp_path: Path) -> None:
    run_id = practise(tmp_path, (*USEFUL, HARMFUL, USELESS), seed=7, rounds=4)
    gone = last_move(tmp_path, HARMFUL)
    assert gone.after == "retired"
    assert gone.reason.startswith("harmful: Offering it changes success by -")
    assert gone.round is not None
    assert gone.round < 120 // ATTEMPTS
    assert all(last_move(tmp_path, skill).after == "active" for skill in USEFUL)
    assert "harmful" not in last_move(tmp_path, USELESS).reason
    with Records.open(Workspace.open(tmp_path)) as records:
        rows = records.attempts.all(run_id, kind="practice")
        after = [row for row in rows if row.round > gone.round]
        draws = records.draws.all(item_id=HARMFUL.id)
    assert after
    before = {row.attempt_id for row in rows if row.round <= gone.round}
    assert {draw.attempt_id for draw in draws} <= before
    assert not any(HARMFUL.id in row.skills_used for row in after)


def test_a_useless_skill_goes_in_time_and_useful_ones_stay(tmp_path: Path, kills: int) -> None:
    if kills <= 10:
        pytest.skip("takes most of a minute: `make faults` runs it")
    # Measured: retired after 550 draws with seed 6; with seed 5 not yet after 625.
    practise(tmp_path, (*USEFUL, USELESS), seed=6, rounds=16)
    assert all(last_move(tmp_path, skill).after == "active" for skill in USEFUL)
    gone = last_move(tmp_path, USELESS)
    assert gone.after == "retired"
    assert gone.reason.startswith("no effect: ")
