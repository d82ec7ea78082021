"""Looking around for a run: once, kept in its directory, given to whoever proposes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentlab.envs.courier.environment import Courier
from agentlab.errors import EnvironmentFaultError
from agentlab.graph import surveying
from agentlab.graph.practice import Practice
from agentlab.proposers.surroundings import described
from agentlab.protocols import ProposalContext
from agentlab.types import SplitRule, Survey, Task

ASKED: list[str] = []
BROKEN: set[str] = set()


class Surveyed(Courier):
    """A courier's world that looks around."""

    def start(self, seed: int) -> Task:
        """Not asked here: the grammar composes starts."""
        raise AssertionError(seed)

    async def survey(self, task: Task) -> Survey | None:
        """Its start state's name."""
        setup = str(task.setup["setup"])
        ASKED.append(setup)
        if setup in BROKEN:
            raise EnvironmentFaultError("it is down.")
        assert SplitRule().split_of_seed(task.seed) == "practice"
        return Survey(text=f"seen from {setup}")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    ASKED.clear()
    BROKEN.clear()
    yield


def run(place: Path, *, model: object = "model") -> list[Survey]:
    """What a run in that directory is told."""
    practice: Any = SimpleNamespace(
        run_id="r",
        config=SimpleNamespace(seed=1),
        split_rule=Courier().split_rule,
        model=lambda _role: model,  # pyright: ignore[reportUnknownLambdaType]
        make_environment=Surveyed,
        go_on=lambda: None,
        records=SimpleNamespace(
            workspace=SimpleNamespace(
                run_directory=lambda _run, create: place  # pyright: ignore[reportUnknownLambdaType]
            )
        ),
    )
    return list(asyncio.run(surveying.surveys(cast("Practice", practice))))


def test_a_run_that_goes_on_looks_only_where_it_did_not(tmp_path: Path) -> None:
    BROKEN.add("locked")
    first = run(tmp_path)
    assert "locked" in ASKED and "locked" not in {survey.start for survey in first}
    ASKED.clear()
    BROKEN.clear()
    second = run(tmp_path)
    assert ASKED == ["locked"]
    assert {survey.start for survey in second} == {*(s.start for s in first), "locked"}
    ASKED.clear()
    assert run(tmp_path) == second and not ASKED


def test_a_file_that_is_cut_short_is_made_again(tmp_path: Path) -> None:
    whole = run(tmp_path)
    path = tmp_path / surveying.FILE
    path.write_text(path.read_text()[:-20])
    assert run(tmp_path) == whole


def test_nobody_looks_where_no_model_proposes(tmp_path: Path) -> None:
    assert run(tmp_path, model=None) == [] and not ASKED


def test_a_proposer_is_told_the_survey_of_its_start() -> None:
    surveys = [Survey(start="open", text="doors"), Survey(start="locked", text="locks")]
    context = ProposalContext(
        environment=Courier,
        split_rule=SplitRule(),
        count=1,
        seed=0,
        round=0,
        templates=(),
        recent=(),
        surveys=surveys,
    )
    told = described(Courier(), context, "locked")
    assert told.endswith("Looking around:\nlocks") and "doors" not in told
    assert "begun in another start state (open)" in described(Courier(), context, "elsewhere")
    assert "Looking around" not in described(Courier())
