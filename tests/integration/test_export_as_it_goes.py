"""A run that exports as it practises: what is written when, and what a crash leaves."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.config import ExportConfig, PracticeConfig, load_config
from agentlab.errors import AgentLabError
from agentlab.graph import exporting
from agentlab.graph.due import check_export, covered, due, wanted
from agentlab.graph.practice import RunState
from agentlab.graph.run import practising
from agentlab.graph.watching import Watchers
from agentlab.records import AttemptRow, Records, Workspace
from agentlab.testing.model_server.server import ModelServer
from agentlab.testing.rules import load_rule

OPTIONS: dict[str, Any] = {
    "rounds": 2,
    "attempts": 4,
    "group": 2,
    "heldout": 0,
    "seed": 5,
    "model": "vllm:rules",
    "index": "exact",
    "models": {"vllm:rules": {"terms": "own"}},
    "export": {
        "formats": ["trl-sft", "trl-grpo-replay", "chat:splices"],
        "rounds": 1,
        "only_new": True,
        "estimator": "rloo",
        "licence": "CC0-1.0",
    },
}
NAMES = [
    f"round-{round_:04}-{what}"
    for round_ in (1, 2)
    for what in ("trl-grpo-replay-groups", "trl-sft-successes")
]


@pytest.fixture(scope="module")
def practised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A workspace, its run, and the endpoint that it was made with."""
    workspace = tmp_path_factory.mktemp("exports") / "ws"
    with ModelServer(load_rule("courier")) as server:
        url = server.base_url
        options: dict[str, Any] = {**OPTIONS, "endpoint.base_url": url}
        report = agentlab.practice("courier", workspace=workspace, **options)
    return workspace, report.run_id, url


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_each_round_leaves_its_exports(practised: tuple[Path, str, str]) -> None:
    workspace, run, _ = practised
    exports = workspace / "runs" / run / "exports"
    # Nothing was refused in a way that could be spliced, so that export has no folder.
    assert sorted(path.name for path in exports.iterdir()) == sorted(NAMES)
    for name in NAMES:
        report = json.loads((exports / name / "export.json").read_text(encoding="utf-8"))
        (round_,) = report["rounds"]
        assert name.startswith(f"round-{int(round_) + 1:04}")
        assert report["licence"] == "CC0-1.0"
    with Records.open(Workspace.open(workspace, create=False)) as records:
        told = [e.payload() for e in records.events.all(run) if e.kind == "DataExported"]
    assert [each["name"] for each in told if each["rows"]] == [
        "round-0001-trl-sft-successes",
        "round-0001-trl-grpo-replay-groups",
        "round-0002-trl-sft-successes",
        "round-0002-trl-grpo-replay-groups",
    ]
    assert all("None of" in str(each["refused"]) for each in told if not each["rows"])


def test_a_crash_in_between_leaves_none_or_a_whole_one(practised: tuple[Path, str, str]) -> None:
    workspace, run, _ = practised
    exports = workspace / "runs" / run / "exports"
    before = contents(exports)
    # As a kill leaves it: one folder whole, one begun, and no word of either on record.
    for path in (exports / NAMES[3]).iterdir():
        path.unlink()
    (exports / NAMES[3]).rmdir()
    begun = exports / f".{NAMES[3]}.part"
    begun.mkdir()
    (begun / "data.jsonl").write_text("{", encoding="utf-8")
    with closing(sqlite3.connect(workspace / "records.db")) as connection, connection:
        found = connection.execute(
            "DELETE FROM nodes WHERE run_id = ? AND round = 1 AND node = 'export'", (run,)
        )
        assert found.rowcount == 1
        connection.execute(
            "DELETE FROM events WHERE run_id = ? AND round = 1 AND kind = 'DataExported'", (run,)
        )

    async def again() -> None:
        with Records.open(Workspace.open(workspace, create=False)) as records:
            config = PracticeConfig.model_validate(records.runs.get(run).config)
            async with practising(records, run, config, Watchers([])) as practice:
                state = RunState(run_id=run, round=1, planned=0, finished=False)
                await exporting.export(state, practice)
                await exporting.export(state, practice)
            assert len([e for e in records.events.all(run) if e.kind == "DataExported"]) == 6

    asyncio.run(again())
    assert contents(exports) == before


def rows(*rounds: int) -> list[AttemptRow]:
    made: list[AttemptRow] = []
    for each in rounds:
        values: dict[str, Any] = {**dict.fromkeys(AttemptRow._fields), "round": each}
        made.append(AttemptRow._make({**values, "status": "completed"}.values()))
    return made


def test_exports_are_due_by_rounds_or_by_attempts() -> None:
    assert [due(ExportConfig(rounds=3), each, []) for each in range(6)] == [
        *(False, False, True), *(False, False, True)
    ]  # fmt: skip
    # 2, 4, 7 attempts after each round: the third comes in the second, the sixth in the last.
    counted = rows(0, 0, 1, 1, 2, 2, 2)
    chosen = ExportConfig(attempts=3)
    assert [due(chosen, each, counted) for each in range(3)] == [False, True, True]
    fresh = ExportConfig(rounds=2, only_new=True)
    assert [covered(fresh, each, []) for each in (1, 3)] == [(0, 2), (2, 4)]
    assert covered(ExportConfig(rounds=2), 3, []) == (0, 4)


@pytest.mark.parametrize(
    ("export", "said"),
    [
        ({"formats": ["trl"]}, "no format named 'trl'"),
        ({"formats": ["chat:groups"], "rounds": 1}, "cannot hold that view"),
        ({"formats": ["chat"]}, "nothing says when"),
        ({"formats": ["chat"], "rounds": 1, "estimator": "x"}, "no estimator named 'x'"),
    ],
)
def test_what_cannot_be_written_is_told_before_anything_is_tried(
    export: dict[str, Any], said: str
) -> None:
    with pytest.raises(AgentLabError, match=said):
        check_export(load_config(None, environment="courier", export=export))


def test_an_estimator_goes_with_groups_alone() -> None:
    chosen = ExportConfig(formats=("chat", "art", "trl-grpo-replay:replayed"), estimator="grpo")
    assert [each.estimator for each in wanted(chosen)] == [None, "grpo", None]
