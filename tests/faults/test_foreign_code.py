"""Environments, proposers, evaluators and observers that fail cost their own part alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import agentlab
from agentlab.events import Event
from agentlab.records import Records, Workspace
from tests.faults.faulty_courier import register
from tests.faults.short_run import (
    SHORT,
    Expected,
    Result,
    Seen,
    content,
    options,
    practise,
    readable,
    refused,
    undisturbed,
)


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plugins")
    register(place)
    return place


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    return undisturbed(tmp_path_factory.mktemp("expected"))


def attempts(workspace: Path) -> list[tuple[str, bool | None, str | None]]:
    """Status, verdict and error of each practice attempt."""
    run_id = readable(workspace)["run_id"]
    with Records.open(Workspace.open(workspace)) as records:
        rows = records.attempts.all(run_id, kind="practice")
    return [(row.status, row.success, row.error) for row in rows]


def fails_in_part(workspace: Path, done: Result, error: str) -> None:
    """Some attempts are failures of infrastructure, which no rate counts; the run went on."""
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["status"] == "finished"
    rows = attempts(workspace)
    assert report["attempts"] == len(rows)
    broken = [row for row in rows if row[0] == "infrastructure_failure"]
    assert 0 < len(broken) < len(rows)
    for _, success, text in broken:
        assert success is None
        assert text is not None
        assert error in text
    assert all(success is not None for status, success, _ in rows if status == "completed")
    curve = readable(workspace)["curve"]
    assert sum(point["attempts"] for point in curve) == len(rows) - len(broken)


def test_an_environment_that_never_starts(tmp_path: Path, plugins: Path) -> None:
    done = practise(tmp_path / "ws", plugins, environment="raises-in-reset")
    refused(done, 1, "'raises-in-reset'", "OSError: the depot is closed")
    assert readable(tmp_path / "ws")["status"] == "failed"


def test_an_environment_whose_every_step_raises(tmp_path: Path, plugins: Path) -> None:
    done = practise(tmp_path / "ws", plugins, environment="raises-in-every-step")
    refused(done, 1, "'raises-in-every-step'", "RuntimeError: the courier is ill")
    assert readable(tmp_path / "ws")["status"] == "failed"


def test_an_environment_that_does_not_always_start(tmp_path: Path, plugins: Path) -> None:
    done = practise(tmp_path / "ws", plugins, environment="raises-in-some-resets", heldout=6)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"]["admitted"] > 0
    heldout = json.loads(done.stdout)["heldout"]
    assert 0 < heldout["n"] < 6
    assert heldout["n"] == heldout["baseline"]["n"]


def test_an_environment_that_raises_in_some_steps(tmp_path: Path, plugins: Path) -> None:
    done = practise(tmp_path / "ws", plugins, environment="raises-in-some-steps", attempts=8)
    fails_in_part(tmp_path / "ws", done, "RuntimeError in attempt: the parcel is stuck")


def test_an_environment_whose_step_never_returns(tmp_path: Path, plugins: Path) -> None:
    done = practise(
        tmp_path / "ws",
        plugins,
        environment="hangs-in-some-attempts",
        attempt_seconds=2,
        rounds=1,
        heldout=0,
    )
    fails_in_part(tmp_path / "ws", done, "it did not end within 3 s")


def test_an_environment_that_takes_its_process_along(tmp_path: Path, plugins: Path) -> None:
    done = practise(tmp_path / "ws", plugins, environment="kills-its-process", rounds=1, heldout=0)
    fails_in_part(tmp_path / "ws", done, "its worker process died (exit code -9)")


def test_an_environment_that_cannot_be_checked_in_time(tmp_path: Path, plugins: Path) -> None:
    done = practise(
        tmp_path / "ws",
        plugins,
        environment="hangs-in-some-checks",
        check_seconds=3,
        attempt_seconds=2,
        rounds=1,
        heldout=0,
    )
    assert done.returncode == 0, done.stderr
    tasks = json.loads(done.stdout)["tasks"]
    assert tasks["admitted"] > 0
    assert any(reason.startswith("verifier fault") for reason in tasks["rejected"])


def test_verifiers_that_raise_or_never_end(tmp_path: Path, plugins: Path) -> None:
    done = practise(
        tmp_path / "ws", plugins, proposer="odd-verifiers", proposals=6, rounds=1, heldout=0
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    tasks = json.loads(done.stdout)["tasks"]
    assert (tasks["proposed"], tasks["admitted"]) == (6, 2)
    run_id = readable(tmp_path / "ws")["run_id"]
    told = content(tmp_path / "ws", run_id)
    reasons = [payload["reason"] for place, payload in told if place[3] == "TaskRejected"]
    assert sum("ZeroDivisionError" in reason for reason in reasons) == 2
    endless = ("did not end within", "processor time")
    assert sum(any(text in reason for text in endless) for reason in reasons) == 2


@pytest.mark.parametrize(
    ("evaluator", "error"),
    [
        ("raises", "the evaluator 'raises' raised LookupError: no verdict"),
        ("hangs", "did not end within 3 s"),
    ],
)
def test_an_evaluator_that_gives_no_verdict_at_all(
    tmp_path: Path, plugins: Path, evaluator: str, error: str
) -> None:
    done = practise(
        tmp_path / "ws", plugins, evaluator=evaluator, attempt_seconds=2, attempts=4, proposals=6
    )
    refused(done, 1, error)
    assert readable(tmp_path / "ws")["status"] == "failed"
    assert {status for status, _, _ in attempts(tmp_path / "ws")} == {"infrastructure_failure"}


class Grumbler:
    """Fails at the third event."""

    def __init__(self) -> None:
        self.told = 0

    def notify(self, event: Event) -> None:
        self.told += 1
        if self.told == 3:
            raise RuntimeError("I have had enough")


def test_an_observer_that_raises_is_dropped(
    tmp_path: Path, expected: Expected, caplog: pytest.LogCaptureFixture
) -> None:
    grumbler, seen = Grumbler(), Seen()
    report = agentlab.practice(workspace=tmp_path, observers=[grumbler, seen], **options(SHORT))
    assert report.status == "finished"
    assert grumbler.told == 3
    assert sorted(seen.attempts) == expected.attempts
    assert content(tmp_path, report.run_id) == expected.content
    (record,) = [r for r in caplog.records if r.name.startswith("agentlab.graph")]
    assert "An observer failed and is dropped" in record.getMessage()
