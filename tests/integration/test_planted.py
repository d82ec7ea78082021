"""Planted skills through the real rules: bad ones do not come in, or do not stay; good ones do.

The rates over many seeds are printed by `examples/planted.py`; here are the same parts with one
seed, and a practice run in which nothing is simulated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab import registry
from agentlab.envs.courier.environment import TOOLS
from agentlab.envs.courier.world import NAMES
from agentlab.graph.practice import toolset_name
from agentlab.records import Records, Workspace
from agentlab.records.moves import Move
from agentlab.types import Skill, skill_id
from examples import planted

ATTEMPTS, ROUNDS = 40, 5
"""Within these 200 attempts the harmful and the useless skill must be gone."""
WITHHELD: dict[str, Any] = {"attribution.floor": 0.5}
"""Half of the draws throughout, so that both arms grow alike."""


def _of_no_clause(name: str, body: str) -> Skill:
    source = f"def {name}(env):\n{body}"
    return planted.GOOD.model_copy(
        update={
            "id": skill_id("courier", name, 1, source),
            "name": name,
            "toolset": toolset_name(TOOLS),
            "source": source,
            "parameters": (),
            "achieves": None,
            "summary": "Go to, pick up, unlock or deliver the red parcel to the container.",
            "effect_source": "def check(initial, final):\n    return True\n",
        }
    )


HARMFUL = _of_no_clause(
    "dawdle",
    f"    for _ in range(100):\n        for name in {NAMES}:\n            try:\n"
    "                env.walk(to={'kind': 'place', 'name': name})\n"
    "            except ToolRefused:\n                pass\n",
)
USELESS = _of_no_clause("glance", "    env.read_sign()\n")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setitem(registry.BUILT_IN, "curator/planted", f"{planted.__name__}:PlantingCurator")
    monkeypatch.setattr(planted, "PLANTED", [])


def test_planted_harmful_and_useless_skills_go_and_the_useful_one_stays(tmp_path: Path) -> None:
    skills = (planted.GOOD, HARMFUL, USELESS)
    with Records.open(Workspace.open(tmp_path)) as records:
        for skill in skills:
            records.items.save_skill(skill)
            for status in ("quarantined", "verified", "active"):
                records.items.move(skill.id, status, reason="planted")
    report = agentlab.practice(
        "courier",
        workspace=tmp_path,
        seed=7,
        rounds=ROUNDS,
        attempts=ATTEMPTS,
        proposals=ATTEMPTS,
        tool_calls=400,
        heldout=0,
        index="exact",
        curator="planted",
        **WITHHELD,
    )
    assert report.status == "finished"
    last: dict[str, Move] = {}
    with Records.open(Workspace.open(tmp_path)) as records:
        for skill in skills:
            last[skill.name] = records.items.history(skill.id)[-1]
    assert last["deliver"].after == "active"
    assert (last["dawdle"].after, last["glance"].after) == ("retired", "retired")
    assert last["dawdle"].reason.startswith("harmful: ")
    assert last["glance"].reason.startswith(("too specific: ", "no effect: "))


def test_of_twenty_planted_bad_candidates_none_is_admitted() -> None:
    bad = [skill for skills in planted.bad_candidates().values() for skill in skills]
    assert len(bad) == 20
    assert planted.admitted([planted.GOOD, *bad], seed=3) == {planted.GOOD.name}


@pytest.mark.parametrize(
    ("item", "retired"), [(planted.ITEMS[0], 10), (planted.ITEMS[4], 10), (planted.ITEMS[6], 0)]
)
def test_planted_items_on_simulated_draws(item: planted.Planted, retired: int) -> None:
    found = [planted.served(item, seed, rounds=30) for seed in range(10)]
    assert sum(each.attempts is not None for each in found) == retired
