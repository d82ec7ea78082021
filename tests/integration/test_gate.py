"""Gates from end to end: real records, a real server, weights that play by a known rate."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from agentlab import registry
from agentlab.agent import Agent
from agentlab.cli.main import cli
from agentlab.errors import AdapterRefusedError, GateInterruptedError, UsageError
from agentlab.events import Event
from agentlab.graph.gate_plan import GateRequest, taskful
from agentlab.graph.gating import gate
from agentlab.graph.registering import roll_back
from agentlab.models.opening import Endpoints
from agentlab.records.gates import Look
from agentlab.records.policies import PolicyVersion
from agentlab.statistics import e_value
from agentlab.testing.adapter_server import AdapterServer, write_adapter, write_base
from agentlab.training.adapters import read_adapter
from agentlab.training.promotion.verdict import GateReport
from agentlab.training.serving.client import ModelServerClient
from tests.integration import fragile_courier
from tests.integration.gated_courier import Bench, config, rule_of, settings


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    defaults = cast("dict[str, object]", Endpoints.__init__.__kwdefaults__)
    monkeypatch.setitem(defaults, "first_retry", 0.01)
    with Bench(tmp_path) as made:
        yield made


def compare(bench: Bench, folder: Path, **more: object) -> GateReport:
    """Gate a candidate."""
    promote = bool(more.pop("promote", True))
    own = config(**cast("dict[str, object]", more.pop("config", {})))
    request = GateRequest("lab", folder, own, settings(**more), promote=promote)
    return asyncio.run(gate(bench.records, request))


def test_a_better_adapter_is_promoted_once_and_a_rollback_is_final(bench: Bench) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    orders: list[bool] = []

    class Watching:
        def notify(self, event: Event) -> None:
            """Whether the order is on record when the first attempt is told of."""
            rows = bench.records.gates.all()
            orders.append(bool(rows) and len(rows[0].order_sha256) == 64)

    request = GateRequest("lab", folder, config(), settings())
    report = asyncio.run(gate(bench.records, request, (Watching(),)))
    assert report.status == "promoted"
    assert orders
    assert orders[0]
    assert report.evidence >= 20
    assert report.evidence == e_value(report.wins, report.losses)
    assert bench.records.policies.current("lab") == report.candidate
    looks = bench.records.gates.looks(report.gate)
    assert len(looks) == report.looks
    assert looks[-1].promote == report.evidence
    # It was read no further than the look that decided.
    assert all(look.promote < 20 for look in looks[:-1])
    row = bench.records.gates.get(report.gate)
    assert [task["id"] for task in _tasks(row.plan)][: len(looks)] == [x.task_id for x in looks]
    assert report.heldout["greedy"].candidate.n == 6
    assert report.learning.startswith("It learnt more than sharpening")
    salts = bench.server.app.salts
    assert {(report.candidate, report.candidate), ("base", "base")} <= salts

    asked = len(bench.server.asked_of())
    assert compare(bench, folder) == report
    assert len(bench.server.asked_of()) == asked

    back = roll_back(bench.records, "lab")
    assert (back.before, back.after) == (report.candidate, "base")
    with pytest.raises(UsageError, match="taken back since"):
        compare(bench, folder, seed=5)


def test_a_worse_adapter_is_rejected_early_and_leaves_nothing_behind(bench: Bench) -> None:
    folder = bench.adapter(greedy=0.0, sampled=0.0)
    report = compare(bench, folder, tasks=60, beside=0, heldout=0)
    assert report.status == "rejected"
    assert report.looks < 60
    assert report.evidence_against >= 20
    assert bench.server.served() == ()
    assert bench.records.policies.current("lab") == ""
    assert bench.records.policies.moves("lab") == []
    # As where the process ended between the verdict and this.
    ModelServerClient(bench.server.base_url).load(report.candidate, folder)
    # Other settings do not give it another chance.
    assert compare(bench, folder, tasks=60, seed=9, beside=0, heldout=0) == report
    assert bench.server.served() == ()


def test_a_gate_that_cannot_begin_leaves_nothing_behind(bench: Bench, tmp_path: Path) -> None:
    first = bench.adapter(greedy=1.0, sampled=1.0)
    with pytest.raises(UsageError):
        compare(bench, first, protected=("No such kind of task.",))
    assert bench.server.served() == ()
    serving = compare(bench, first, beside=0, heldout=0).candidate
    # In another environment, from a copy that may go.
    copy = Path(shutil.copytree(first, tmp_path / "copy"))
    with pytest.raises(UsageError, match="serves the policy 'lab' already"):
        compare(bench, copy, config={"environment": "babyai"})
    assert bench.records.policies.version(serving).path == str(first)
    # What serves was damaged: that is told, and nobody is asked beside it.
    second = bench.adapter(greedy=1.0, sampled=0.5)
    (first / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(AdapterRefusedError):
        compare(bench, second, beside=0, heldout=0)
    assert bench.server.served() == (serving,)


def test_what_stays_undecided_goes_on_from_its_evidence_with_fresh_tasks(bench: Bench) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    first = compare(bench, folder, tasks=10, beside=0, heldout=0)
    assert first.status == "undecided"
    assert "all its tasks were read" in first.reason
    second = compare(bench, folder, tasks=10, beside=0, heldout=0, seed=1)
    rows = bench.records.gates.all()
    assert (rows[1].carried_wins, rows[1].carried_losses) == (first.wins, first.losses)
    assert second.wins >= first.wins
    assert second.earlier == 1
    assert "one alpha" in second.notes[0]
    seen = {look.task_id for look in bench.records.gates.looks(rows[0].id)}
    assert not seen & {look.task_id for look in bench.records.gates.looks(rows[1].id)}


def test_what_an_adapter_practised_elsewhere_is_not_unseen(bench: Bench) -> None:
    short = {"promote": False, "tasks": 20, "beside": 0, "heldout": 0}
    compare(bench, bench.adapter(greedy=1.0, sampled=1.0), **short)
    first = bench.records.gates.all()[0].plan
    asked = {str(task["template"]) for task in _tasks(first)}
    # As where it was trained on the export of another workspace, which says its templates.
    folder = bench.adapter(greedy=0.5, sampled=0.5)
    told = json.loads((folder / "agentlab.json").read_text(encoding="utf-8"))
    practised = sorted(asked)[: len(asked) // 2]
    told["practised"] = practised
    (folder / "agentlab.json").write_text(json.dumps(told), encoding="utf-8")
    compare(bench, folder, **short)
    second = bench.records.gates.all()[1].plan
    rule = taskful(config()).split_rule
    again = {str(task["template"]) for task in _tasks(second)} & set(practised)
    assert all(rule.split_of_template(template) == "dev" for template in again)
    open_to_all = [each for each in practised if rule.split_of_template(each) != "dev"]
    assert open_to_all, "none of those that were asked first was open to practice"


def test_an_adapter_that_only_sharpened_is_told_from_one_that_learnt(bench: Bench) -> None:
    folder = bench.adapter(greedy=0.3, sampled=0.95)
    report = compare(bench, folder, tasks=20, beside=20, heldout=0)
    assert report.status == "undecided"
    assert report.learning.startswith("It sharpened")
    difference = report.beside["sampled"].difference
    assert difference is not None
    assert difference.interval.low > 0


def test_a_protected_template_that_falls_rejects_a_winner(bench: Bench) -> None:
    # It plays everything else, and forgot how to go somewhere in the dusk.
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    told = json.loads((folder / "adapter_config.json").read_text())
    told["skill"]["never"] = "Go to"
    (folder / "adapter_config.json").write_text(json.dumps(told))
    report = compare(bench, folder, protected=[": at"], protected_tasks=12, beside=0, heldout=0)
    assert report.status == "rejected"
    assert "protected template ': at'" in report.reason
    assert not report.families[0].holds
    assert bench.records.policies.current("lab") == ""


def test_a_winner_that_costs_too_much_is_rejected(bench: Bench) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    report = compare(bench, folder, cost_ratio=0.01, beside=0, heldout=0)
    assert report.status == "rejected"
    assert report.cost is not None
    assert report.cost.n > 0
    assert "0.01 is allowed" in report.reason


def test_a_gate_whose_server_goes_away_goes_on_and_reads_the_same(
    bench: Bench, tmp_path: Path
) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    cut = {"tasks": 24, "window": 6, "beside": 0, "heldout": 0, "promote": False}
    away = _Leaving(bench.server, after=3)
    request = GateRequest(
        "lab", folder, config(), settings(tasks=24, window=6, beside=0, heldout=0)
    )
    with pytest.raises(GateInterruptedError, match="decided nothing"):
        asyncio.run(gate(bench.records, request, (away,)))
    assert bench.records.policies.current("lab") == ""
    assert bench.records.gates.all()[0].status == "running"
    kept = _looks(bench)
    other = config(heldout_tool_calls=9)
    with AdapterServer(rule_of, base=bench.base) as bench.server:
        bench.register()
        with pytest.raises(UsageError, match="made in another way"):
            asyncio.run(gate(bench.records, GateRequest("lab", folder, other, request.settings)))
    bench.server = AdapterServer(rule_of, base=bench.base)
    bench.server.start()
    bench.register()
    report = asyncio.run(gate(bench.records, request))
    assert report.status == "promoted"
    assert _looks(bench)[: len(kept)] == kept
    assert report.failed == 0
    with Bench(tmp_path / "other") as whole:
        again = whole.adapter(greedy=1.0, sampled=1.0)
        plain = compare(whole, again, **cut)
        assert _looks(whole) == _looks(bench)
        assert plain.reason == report.reason


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment `fragile`, of whose attempts a share breaks."""
    fragile_courier.register(tmp_path / "plugin")
    monkeypatch.syspath_prepend(str(tmp_path / "plugin"))  # pyright: ignore[reportUnknownMemberType]
    registry._plugins.cache_clear()  # pyright: ignore[reportPrivateUsage]


@pytest.mark.usefixtures("fragile")
def test_too_many_failures_of_infrastructure_are_no_verdict(bench: Bench) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    world = {"environment": "fragile", "environment_options": {"broken": 0.5}}
    report = compare(bench, folder, config=world, tasks=20, beside=0, heldout=0)
    assert report.status == "void"
    assert report.failed > 2
    assert report.deciding.candidate.n == report.looks - report.failed
    assert bench.records.policies.current("lab") == ""


@pytest.mark.usefixtures("fragile")
def test_what_failed_in_an_earlier_gate_counts_with_its_evidence(bench: Bench) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    world = {"environment": "fragile", "environment_options": {"broken": 0.3}}
    cut = {"config": world, "tasks": 30, "beside": 0, "heldout": 0}
    first = compare(bench, folder, **cut)
    assert (first.status, first.evidence >= 20) == ("void", True)
    # Other tasks are another gate, which has the evidence without reading a pair.
    second = compare(bench, folder, **cut, seed=1)
    assert (second.status, second.looks) == ("void", 0)
    assert bench.records.policies.current("lab") == ""


def test_evidence_of_earlier_gates_alone_promotes_nothing(bench: Bench) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    first = compare(bench, folder, tasks=14, beside=0, heldout=0, alpha=0.0001)
    assert first.status == "undecided" and first.evidence >= 10
    second = compare(bench, folder, tasks=14, beside=0, heldout=0, alpha=0.1, cost_ratio=0.01)
    assert (second.status, second.looks) == ("undecided", 0)
    assert "earlier gates alone" in second.reason
    assert bench.records.policies.current("lab") == ""


def test_what_is_not_what_it_says_never_reaches_a_gate(bench: Bench) -> None:
    dead = bench.adapter(greedy=1.0, sampled=1.0)
    told = json.loads((dead / "agentlab.json").read_text())
    bench.server.hollow(told["name"])
    with pytest.raises(AdapterRefusedError, match="is the base model"):
        compare(bench, dead)
    other = write_base(bench.root / "other", weights=b"other")
    write_adapter(bench.root / "stranger", base=other, weights=b"x")
    with pytest.raises(AdapterRefusedError, match="trained on a base"):
        compare(bench, bench.root / "stranger")
    assert bench.records.gates.all() == []
    assert bench.server.served() == ()


def test_the_commands_gate_list_and_roll_back(bench: Bench, tmp_path: Path) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    file = tmp_path / "lab.toml"
    file.write_text(
        f'policy = "lab"\nbase = "{bench.base}"\n'
        f'[serve]\nbase_url = "{bench.server.base_url}"\n'
        '[practice]\nenvironment = "courier"\nexecutor = "react"\nevaluator = "verifier"\n'
        'box = "subprocess"\nindex = "exact"\nheldout_tool_calls = 60\n'
        "[gate]\ntasks = 30\nbeside = 0\nheldout = 0\nlibrary = false\n"
        'protected = []\ndecides = "greedy"\n'
    )
    place = ["--workspace", str(bench.records.workspace.path), "--json"]
    runner = CliRunner()
    done = runner.invoke(cli, ["gate", "--candidate", str(folder), "--config", str(file), *place])
    assert done.exit_code == 0, done.output
    report = GateReport.model_validate_json(done.stdout)
    assert report.status == "promoted"
    listed = runner.invoke(cli, ["serving", "list", *place])
    assert json.loads(listed.stdout)[0]["serves"] == report.candidate
    back = runner.invoke(cli, ["rollback", "lab", *place])
    assert json.loads(back.stdout)["after"] == "base"
    tidied = runner.invoke(cli, ["serving", "tidy", "lab", *place])
    assert json.loads(tidied.stdout)["unloaded"] == [report.candidate]
    assert bench.server.served() == ()
    nothing = runner.invoke(cli, ["rollback", "lab", *place])
    assert nothing.exit_code == 2


def test_what_is_taken_back_is_served_again(bench: Bench) -> None:
    folders = [bench.adapter(greedy=1.0, sampled=1.0) for _ in range(2)]
    names: list[str] = []
    for folder in folders:
        made = read_adapter(folder)
        names.append(made.name)
        weights = made.manifest.weights_sha256
        bench.records.policies.add_version(
            PolicyVersion(made.name, "lab", str(folder), weights, made.manifest.spoken())
        )
        bench.records.policies.move("lab", "promotion", made.name, reason="won", evidence={})
    words = ["rollback", "lab", "--workspace", str(bench.records.workspace.path), "--json"]
    # Nobody asked it any more, so it was taken off.
    assert bench.server.served() == ()
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["unserved"] == ""
    assert bench.server.served() == (names[0],)
    assert bench.records.policies.current("lab") == names[0]
    (folders[1] / "adapter_model.safetensors").write_bytes(b"cut")
    damaged = CliRunner().invoke(cli, [*words, "--to", names[1]])
    assert "is cut off" in json.loads(damaged.stdout)["unserved"]


def test_what_won_without_being_let_serve_may_serve_later(bench: Bench) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    report = compare(bench, folder, beside=0, heldout=0, promote=False)
    assert report.status == "promoted"
    assert bench.records.policies.current("lab") == ""
    assert compare(bench, folder, beside=0, heldout=0) == report
    assert bench.records.policies.current("lab") == report.candidate
    assert bench.server.served() == (report.candidate,)


def test_an_agent_goes_over_to_what_won_between_attempts(bench: Bench) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    place = bench.records.workspace.path
    agent = Agent(
        "courier", model="policy:lab", library=place, executor="react", evaluator="verifier",
        box="subprocess", tool_calls=60,
    )  # fmt: skip
    with agent:
        tasks = agent.tasks(2)
        first = agent.run(tasks[0])
        report = compare(bench, folder, beside=0, heldout=0)
        assert report.status == "promoted"
        second = agent.run(tasks[1])
    asked: list[set[str | None]] = []
    for result in (first, second):
        assert result.trajectory is not None
        asked.append({call.adapter for call in result.trajectory.model_calls})
    assert asked == [{None}, {report.candidate}]


class _Leaving:
    """Ends the server after so many finished attempts."""

    def __init__(self, server: AdapterServer, *, after: int) -> None:
        self._server = server
        self._left = after

    def notify(self, event: Event) -> None:
        self._left -= 1
        if self._left == 0:
            self._server.close()


def _looks(bench: Bench) -> list[Look]:
    return bench.records.gates.looks(bench.records.gates.all()[0].id)


def _tasks(plan: object) -> list[dict[str, object]]:
    return cast("dict[str, list[dict[str, object]]]", plan)["tasks"]
