"""Cycles from end to end: practice, export, weights, gate, and practice with what won."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentlab.cycle.settings import CycleConfig, load_cycle
from agentlab.cycle.training import CommandTrainer, TrainOrder
from agentlab.cycle.work import CycleReport, cycle
from agentlab.errors import AdapterRefusedError, ConfigError, TrainerFaultError, UsageError
from agentlab.events import AttemptFinished, Event
from agentlab.graph.budgets import current_config
from agentlab.records import Records
from agentlab.testing.adapter_server import write_adapter
from agentlab.training.serving.client import ModelServerClient
from tests.integration.gated_courier import Bench


class Teacher:
    """Gives weights that play so well as is said for each training, after a look at the export."""

    def __init__(self, base: Path, *rates: float, fails: int = 0) -> None:
        self._base = base
        self._rates = list(rates)
        self._fails = fails
        self.orders: list[TrainOrder] = []

    async def train(self, order: TrainOrder) -> None:
        """Implements `Trainer`."""
        self.orders.append(order)
        if self._fails:
            self._fails -= 1
            raise TrainerFaultError("the trainer fell over.")
        rows = (order.data / "data.jsonl").read_text().splitlines()
        assert rows
        assert "input_ids" in json.loads(rows[0])
        rate = self._rates.pop(0)
        skill: dict[str, Any] = {"skill": {"greedy": rate, "sampled": rate}}
        told = json.dumps([rate, order.version, len(self._rates)]).encode()
        write_adapter(order.out, base=self._base, weights=told, number=order.version, config=skill)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as made:
        yield made


def asked(bench: Bench, **more: Any) -> CycleConfig:
    """A short cycle at the bench's server."""
    values: dict[str, Any] = {
        "base": str(bench.base),
        "iterations": 1,
        "practice": {
            "environment": "courier",
            "model": "policy:lab",
            "executor": "react",
            "evaluator": "verifier",
            "proposer": "grammar",
            "curator": "generalise",
            "insights": "none",
            "box": "subprocess",
            "index": "exact",
            "rounds": 1,
            "proposals": 8,
            "attempts": 8,
            "heldout": 0,
            "heldout_tool_calls": 60,
            "concurrency": 4,
            "admission": {"replays": 1, "trials": 2},
        },
        "train": [{"trainer": "trl-sft", "format": "trl-sft"}],
        "serve": {"base_url": bench.server.base_url},
        "gate": {"tasks": 40, "window": 10, "beside": 0, "heldout": 0, "library": False},
    }
    return CycleConfig.model_validate(values | more)


def run(bench: Bench, config: CycleConfig, teacher: Teacher, *watching: Any) -> CycleReport:
    """Run a cycle to its end, or to what stops it."""
    place = bench.records.workspace.path
    return asyncio.run(cycle(config, place, observers=watching, trainer=teacher))


def stages(report: CycleReport) -> list[tuple[int, str]]:
    """What was done, in its order."""
    return [(number, stage.stage) for number, stage in report.stages]


def test_what_wins_is_practised_with_and_what_loses_is_not(bench: Bench) -> None:
    teacher = Teacher(bench.base, 1.0, 0.0)
    report = run(bench, asked(bench, iterations=2), teacher)
    each = ["practice", "watch", "export-1", "train-1", "gate"]
    assert stages(report) == [(1, name) for name in each] + [(2, name) for name in each]
    assert len(report.promoted) == 1
    assert report.serves == report.promoted[0]
    first, second = (stage for _, stage in report.stages if stage.stage == "practice")
    runs = bench.records.runs
    assert runs.get(str(first.result["run"])).config["model"] == "policy:lab@base"
    assert runs.get(str(second.result["run"])).config["model"] == f"policy:lab@{report.serves}"
    # The second training went on from what serves, which went on from the base.
    assert [order.start is None for order in teacher.orders] == [True, False]
    calls = _calls(bench.records, str(second.result["run"]))
    assert calls
    assert {call.adapter for call in calls} == {report.serves}
    assert all(call.output_token_ids and call.log_probabilities for call in calls)
    gates = bench.records.gates.all()
    assert [row.status for row in gates] == ["promoted", "rejected"]
    assert gates[1].incumbent == report.serves
    assert bench.server.served() == (report.serves,)
    # Everything was done: the same call does nothing more.
    seen = len(bench.server.asked_of())
    assert run(bench, asked(bench, iterations=2), teacher) == report
    assert len(bench.server.asked_of()) == seen


def test_a_cycle_that_was_cut_off_goes_on_at_its_stage(bench: Bench) -> None:
    config = asked(bench)

    class CutOff:
        def __init__(self) -> None:
            self.left = 3
            self.task: asyncio.Task[Any] | None = None

        def notify(self, event: Event) -> None:
            self.left -= isinstance(event, AttemptFinished)
            if self.left == 0 and self.task is not None:
                self.task.cancel()

    cutting = CutOff()

    async def cut() -> None:
        place = bench.records.workspace.path
        work = cycle(config, place, observers=(cutting,), trainer=Teacher(bench.base, 1.0))
        cutting.task = asyncio.create_task(work)  # pyright: ignore[reportArgumentType] - a coroutine
        await cutting.task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cut())
    (begun,) = bench.records.runs.all()
    # A budget that was set meanwhile holds for what is left of the run.
    limited = asked(bench, budget={"tokens": 10**6})
    with pytest.raises(TrainerFaultError, match="fell over"):
        run(bench, limited, Teacher(bench.base, 1.0, fails=1))
    assert current_config(bench.records, begun).budget.tokens == 10**6
    practised = [row for row in bench.records.runs.all() if "command" not in row.config]
    assert [row.run_id for row in practised] == [begun.run_id]
    report = run(bench, config, Teacher(bench.base, 1.0))
    assert len(report.promoted) == 1
    practised = [row for row in bench.records.runs.all() if "command" not in row.config]
    assert [row.run_id for row in practised] == [begun.run_id]


def test_an_iteration_without_successes_trains_nothing_and_goes_on(bench: Bench) -> None:
    config = asked(bench, iterations=1)
    # Two tool calls are too few for anything.
    practice = config.practice.model_copy(update={"tool_calls": 1, "attempts": 4, "proposals": 4})
    teacher = Teacher(bench.base)
    report = run(bench, config.model_copy(update={"practice": practice}), teacher)
    assert stages(report) == [(1, "practice"), (1, "watch"), (1, "export-1")]
    assert "nothing to train on" in report.stages[-1][1].told
    assert teacher.orders == []


class Careless(Teacher):
    """Changes what the weights are measured by."""

    async def train(self, order: TrainOrder) -> None:
        """Implements `Trainer`."""
        await super().train(order)
        path = order.out / "agentlab.json"
        told = json.loads(path.read_text())
        for probe in told["probe"]:
            probe["trained_logprobs"] = [x - 1 for x in probe["trained_logprobs"]]
        path.write_text(json.dumps(told))


def test_budgets_other_files_and_refused_candidates_end_what_they_should(bench: Bench) -> None:
    report = run(bench, asked(bench, budget={"tokens": 1}), Teacher(bench.base, 1.0))
    assert (report.status, stages(report), report.tokens) == ("stopped", [], 0)
    assert "1 of its 1 tokens are left" in report.reason
    assert bench.server.asked_of() == () and bench.records.runs.all() == []
    # Another file does not go on with a cycle that is under way; another budget does.
    other = asked(bench, train=[{"trainer": "trl-dpo", "format": "trl-dpo"}])
    with pytest.raises(UsageError, match="asked something else"):
        run(bench, other, Teacher(bench.base, 1.0))
    report = run(bench, asked(bench), Careless(bench.base, 1.0))
    assert report.stages[-1][1].result == {"status": "refused"}
    assert "is not what was trained" in report.stages[-1][1].told
    assert report.serves == "base"
    assert bench.records.gates.all() == []
    assert bench.server.served() == ()


class Swapping(Teacher):
    """Has the server answer as the base does under the name of what serves, before the gate."""

    def __init__(self, bench: Bench, *rates: float) -> None:
        super().__init__(bench.base, *rates)
        self._server = bench.server

    async def train(self, order: TrainOrder) -> None:
        """Implements `Trainer`."""
        await super().train(order)
        for name in self._server.served():
            self._server.hollow(name)
            client = ModelServerClient(self._server.base_url)
            await asyncio.to_thread(client.unload, name)


def test_no_candidate_is_blamed_for_what_serves(bench: Bench) -> None:
    run(bench, asked(bench), Teacher(bench.base, 1.0))
    with pytest.raises(AdapterRefusedError, match="is the base model"):
        run(bench, asked(bench, iterations=2), Swapping(bench, 1.0))
    folder = bench.records.workspace.path / "cycles" / "lab" / "0002"
    assert (folder / "train-1.json").is_file()
    assert not (folder / "gate.json").exists()


def test_practice_and_gate_take_no_more_than_the_cycle_has_left(bench: Bench) -> None:
    free = run(bench, asked(bench), Teacher(bench.base, 1.0))
    practised = free.stages[0][1].tokens
    with Bench(bench.root / "tight") as tight:
        # Enough for practice and little of the gate.
        budget = {"tokens": practised + 30_000}
        report = run(tight, asked(tight, budget=budget), Teacher(tight.base, 1.0))
        (gated,) = tight.records.gates.all()
        assert (gated.status, report.serves) == ("undecided", "base")
        assert "tokens were used up" in report.stages[-1][1].told
        assert report.tokens <= budget["tokens"] + 2_000
    with Bench(bench.root / "tiny") as tiny:
        budget = {"tokens": practised // 2}
        report = run(tiny, asked(tiny, budget=budget), Teacher(tiny.base, 1.0))
        (begun,) = [row for row in tiny.records.runs.all() if "command" not in row.config]
        assert begun.reason == "tokens used up"
        assert 0 < report.tokens <= budget["tokens"] + 2_000
        assert tiny.records.gates.all() == []


def test_a_trainer_that_fails_tells_its_last_words(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text("import sys\nprint('no memory left', sys.argv[1:3])\nsys.exit(3)\n")
    trainer = CommandTrainer(tmp_path / "log", (sys.executable, str(script)))
    stage = asked_stage(options={"steps": 3, "gradient_checkpointing": True, "warmup": None})
    order = TrainOrder(stage, tmp_path, tmp_path, tmp_path / "out", None, 0, 1)
    with pytest.raises(TrainerFaultError, match=r"ended with 3.*no memory left.*'trl-sft'"):
        asyncio.run(trainer.train(order))


def asked_stage(**more: Any) -> Any:
    """A training stage."""
    values = {"base": "b", "train": [{"trainer": "trl-sft", "format": "trl-sft", **more}]}
    return CycleConfig.model_validate(values).train[0]


def test_a_file_is_read_and_its_faults_are_named(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('base = "tiny"\n[practice]\nenvironment = "courier"\n')
    config = load_cycle(file, iterations=4)
    assert config.base == str(tmp_path / "tiny")
    assert config.practice.model == "policy:lab"
    assert config.practice.executor == "react"
    assert config.iterations == 4
    for text, told in (
        ('base = "x"\n[gate]\nalfa = 1\n', "gate.alfa"),
        ('base = "x"\n[practice]\nrounds = 0\n', "rounds"),
        ('base = "x"\n[gate]\nlow_temperature = 2.0\n', "low_temperature"),
        ("base = \n", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=told):
            load_cycle(file)


def _calls(records: Records, run_id: str) -> list[Any]:
    found = records.attempts.all(run_id, kind="practice")
    outcomes = records.trajectories.outcomes([row.attempt_id for row in found])
    return [c for o in outcomes if o.trajectory is not None for c in o.trajectory.model_calls]


def test_a_file_that_is_not_there_is_told_with_what_it_must_hold(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no config file .*write one: TOML with 'base'"):
        load_cycle(tmp_path / "none.toml")


def test_the_file_in_the_readme_is_one(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = [part.partition("```")[0] for part in readme.split("```toml\n")[1:]]
    (text,) = [each for each in shown if "[[train]]" in each]
    (tmp_path / "cycle.toml").write_text(text, encoding="utf-8")
    found = load_cycle(tmp_path / "cycle.toml")
    assert [stage.trainer for stage in found.train] == ["trl-sft", "trl-grpo-replay"]
    assert (found.serve.launch, found.practice.model) == ("local", "policy:lab")
