"""People in the loop of a real run: it waits for them or goes on, and ends the same either way."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import agentlab
from agentlab.analysis.runs import show_run
from agentlab.cli.main import cli
from agentlab.events import Event, InsightMoved, RoundFinished, SkillMoved
from agentlab.library.waiting import list_waiting
from agentlab.records import Records, Workspace
from agentlab.types.report import WAITS

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {
    "environment": "courier",
    "rounds": 2,
    "attempts": 16,
    "proposals": 16,
    "tool_calls": 100,
    "heldout": 0,
    "concurrency": 2,
    "index": "exact",
    # What comes to wait is all the same here, and that it passed the gates is tested beside them.
    "admission.enabled": False,
    "admission.approval": "human",
    "attribution.start": 0.0,
}


def invoke(workspace: Path, *words: str) -> Result:
    arguments = [*words, "--workspace", str(workspace)]
    return CliRunner().invoke(cli, arguments, env={"AGENTLAB_DISPLAY": "plain"})


class Onlooker:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


class Person(Onlooker):
    """Decides at the end of each round, from another process, as somebody at a terminal would."""

    def __init__(self, workspace: Path) -> None:
        super().__init__()
        self._workspace = workspace

    def notify(self, event: Event) -> None:
        super().notify(event)
        if isinstance(event, RoundFinished):
            for line in list_waiting(self._workspace):
                verdict = "approve" if line.name == "holding" else "reject"
                words = ["skills", verdict, line.name, "--digest", line.digest[:12]]
                words += ["--reason", f"{verdict} it", "--by", "ada", "--json"]
                if verdict == "reject":  # one process is enough to show that any will do
                    assert invoke(self._workspace, *words).exit_code == 0
                    continue
                done = subprocess.run(
                    [sys.executable, "-m", "agentlab", *words, "--workspace", self._workspace],
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                assert json.loads(done.stdout)["verdict"] == verdict


def test_a_run_goes_on_while_others_decide_and_takes_it_up_with_its_next_round(
    tmp_path: Path,
) -> None:
    person = Person(tmp_path)
    report = agentlab.practice(workspace=tmp_path, observers=[person], **SMALL)
    assert report.status == "finished"
    decided = [e for e in person.events if isinstance(e, SkillMoved) and e.by]
    approved = {e.skill_id: e.round for e in decided if e.after == "active"}
    rejected = {e.skill_id for e in decided if e.after == "retired"}
    assert approved and rejected and {e.by for e in decided} == {"ada"}
    with Records.open(Workspace.open(tmp_path)) as records:
        offers = {
            (offer.item_id, spec.round)
            for round_ in range(2)
            for spec in records.attempts.planned(report.run_id, round_)
            if spec.kind == "practice"
            for offer in spec.offers
        }
        assert not rejected & {item for item, _ in offers}
        for item, waited in approved.items():
            # Not before it was decided, and from the very next round on.
            assert {round_ for key, round_ in offers if key == item} == set(range(waited + 1, 2))
        (why,) = {records.items.skill(item).reason for item in rejected}
        assert why == "rejected: reject it"
    assert report.skills.admitted == len(approved)


def test_a_run_pauses_at_the_gate_until_everything_is_decided(tmp_path: Path) -> None:
    waits: dict[str, Any] = {**SMALL, "admission.wait": True}
    report = agentlab.practice(workspace=tmp_path, **waits)
    assert (report.status, report.reason) == ("stopped", WAITS)
    assert report.skills.waiting > 1 and report.skills.admitted == 0
    assert "passed every gate" in report.notes[0] and "skills waiting" in report.notes[0]
    # That nothing is under way does not mean that it is finished.
    again = agentlab.resume(report.run_id, workspace=tmp_path)
    assert (again.status, again.reason, again.attempts) == ("stopped", WAITS, report.attempts)
    assert show_run(tmp_path, report.run_id).reason == WAITS

    listed = invoke(tmp_path, "skills", "waiting")
    assert listed.exit_code == 0, listed.output
    said, _, line = listed.stdout.splitlines()[-1].partition(": ")
    assert said == "Next"
    shown = invoke(tmp_path, *shlex.split(line)[1:][:-2], "--reason", "works")
    assert shown.exit_code == 0, shown.output
    assert "def " in shown.stdout and "Nothing was decided" in shown.stdout
    assert len(list_waiting(tmp_path)) == report.skills.waiting
    done = invoke(tmp_path, *shlex.split(shown.stdout.splitlines()[-1].partition(": ")[2])[1:])
    assert done.exit_code == 0 and "approved by" in done.stdout, done.output
    assert len(list_waiting(tmp_path)) == report.skills.waiting - 1
    still = agentlab.resume(report.run_id, workspace=tmp_path)
    assert still.reason == WAITS  # one is not all
    for each in list_waiting(tmp_path):
        words = ["skills", "reject", each.name, "--digest", each.digest, "--reason", "no", "--json"]
        assert invoke(tmp_path, *words).exit_code == 0
    wrong = invoke(tmp_path, "skills", "approve", "nothing_such", "--reason", "x")
    assert wrong.exit_code == 2 and "no skill that waits" in wrong.stderr
    while (end := agentlab.resume(report.run_id, workspace=tmp_path)).reason == WAITS:
        for each in list_waiting(tmp_path):
            words = ["skills", "reject", each.name, "--digest", each.digest, "--reason", "no"]
            assert invoke(tmp_path, *words).exit_code == 0
    assert end.status == "finished" and end.skills.admitted == 1 and end.skills.waiting == 0


ADVISED: dict[str, Any] = {
    **SMALL,
    "model": "scripted:agentlab.testing.rules.roles:courier_rules",
    "attempts": 8,
    "proposals": 8,
    "tool_calls": 60,
    "seed": 3,
    "admission.wait": True,
}
"""A round of this learns one insight and one skill."""


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_advice_waits_for_people_and_is_offered_once_they_approve(
    tmp_path: Path, verdict: str
) -> None:
    report = agentlab.practice(workspace=tmp_path, **ADVISED)
    assert (report.status, report.reason) == ("stopped", WAITS)
    assert (report.insights.waiting, report.insights.admitted) == (1, 0)
    for line in list_waiting(tmp_path, kind="skill"):
        words = ["skills", "reject", line.name, "--digest", line.digest, "--reason", "no"]
        assert invoke(tmp_path, *words).exit_code == 0
    assert agentlab.resume(report.run_id, workspace=tmp_path).reason == WAITS
    (line,) = list_waiting(tmp_path)
    assert line.kind == "insight" and line.id in invoke(tmp_path, "insights", "waiting").stdout
    words = ["insights", verdict, line.id, "--digest", line.digest, "--reason", "read it"]
    done = invoke(tmp_path, *words, "--by", "ada")
    assert done.exit_code == 0, done.output

    seen = Onlooker()
    agentlab.resume(report.run_id, workspace=tmp_path, observers=[seen])
    told = [e for e in seen.events if isinstance(e, InsightMoved) and e.insight_id == line.id]
    after = "active" if verdict == "approve" else "retired"
    assert [(e.before, e.after, e.by) for e in told] == [("verified", after, "ada")]
    with Records.open(Workspace.open(tmp_path)) as records:
        row = records.items.insight(line.id)
        offered = {
            spec.round
            for round_ in range(2)
            for spec in records.attempts.planned(report.run_id, round_)
            for offer in spec.offers
            if offer.item_id == line.id and spec.kind == "practice"
        }
        moves = [move.after for move in records.items.history(line.id)]
    assert row.status == after and moves == ["candidate", "quarantined", "verified", after]
    assert offered == ({1} if verdict == "approve" else set())


@pytest.mark.parametrize("group", ["skills", "insights"])
def test_nothing_waits_where_nobody_is_asked(tmp_path: Path, group: str) -> None:
    with Records.open(Workspace.open(tmp_path)):
        pass
    found = invoke(tmp_path, group, "waiting")
    assert found.exit_code == 0 and "admission.approval = 'human'" in found.stdout
    assert invoke(tmp_path, group, "waiting", "--json").stdout.strip() == "[]"
