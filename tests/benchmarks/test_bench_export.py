"""Exporting 10,000 attempts of 20 steps: rows a second, memory, and what writing alone costs.

Each export runs in a process of its own. Its memory is the most that it held during the export,
less what it held when that began. Beside it stands what only writing the same rows takes: the
finished file is read back into memory, and its rows are spelt and written again by orjson alone, or
by pyarrow alone where the format is a table. That ratio says what reading, checking and joining
cost over the spelling. What no export can do without stands beside it too: reading the bodies of
the same calls by sqlite3 and orjson alone. Seconds are of the processor, which other work on the
machine lengthens less.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from agentlab.records import Records, Workspace
from agentlab.training.rollouts import BATCH, rollouts
from agentlab.types import (
    AttemptOutcome,
    ChatReply,
    ChatRequest,
    Message,
    ModelCall,
    Observation,
    Score,
    SplitRule,
    Step,
    StepResult,
    Task,
    ToolCall,
    ToolSpec,
    ToolUse,
    Trajectory,
    derive_uniform,
)
from tests.benchmarks.bench_waiting import uncaptured
from tests.unit.records.samples import RUN, a_spec, opened

pytestmark = pytest.mark.timeout(3600)
ATTEMPTS = int(os.environ.get("BENCH_EXPORT_ATTEMPTS", "10000"))
STEPS = 20
GROUP = 4
TARGET = 2.0
"""Times what writing alone takes."""
HELD = 8.0
"""Kilobytes that one more attempt may add."""
EVERYTHING = "everything at once"
"""In place of a format: no export, but all that one reads, held together."""
FORMATS = ("trl-grpo-replay", "trl-sft", "chat", "verl-sft")
GO = ToolSpec(
    name="go",
    description="Go to a place.",
    parameters={"type": "object", "properties": {"to": {"type": "string"}}},
)


def attempt_calls(number: int) -> tuple[ModelCall, ...]:
    """Twenty calls of one attempt, each continuing the one before, in words and in tokens."""
    messages = [
        Message(role="system", text="You act in an environment through tools. " * 6),
        Message(role="user", text=f"Task {number}: go where you are told. " * 4),
    ]
    prompt = tuple(100 + (number + at) % 900 for at in range(120))
    made: list[ModelCall] = []
    for turn in range(STEPS):
        use = ToolUse(id=f"call_{turn}", name="go", arguments=f'{{"to":"place {turn}"}}')
        reply = Message(role="assistant", tool_uses=(use,))
        output = tuple(1000 + (number * 7 + turn * 3 + at) % 9000 for at in range(12))
        request = ChatRequest(messages=tuple(messages), tools=(GO,))
        made.append(
            ModelCall(
                model="policy",
                request=request.model_dump(
                    mode="json", exclude={"sampling"}, exclude_defaults=True
                ),
                response=ChatReply(message=reply).model_dump(mode="json"),
                prompt_token_ids=prompt,
                output_token_ids=output,
                log_probabilities=tuple(
                    -2.0 * derive_uniform(number, turn, at) for at in range(12)
                ),
                ids_verified=True,
                sampling={"temperature": 1.0, "top_p": 1.0},
                policy_start="policy",
                policy_end="policy",
                terms="own",
            )
        )
        answer = f"You are at place {turn}. There is a door, a lamp and a table here."
        messages += [reply, Message(role="tool", text=answer, tool_use_id=use.id)]
        prompt = (*prompt, *output, *range(50, 68))
    return tuple(made)


def fill(records: Records, attempts: int) -> None:
    """Records attempts in groups of four, half of them solved."""
    step = Step(
        call=ToolCall(tool="go", arguments={"to": "place"}),
        result=StepResult(observation=Observation(text="You are at a place.")),
    )
    tasks: list[Task] = []
    for number in range(0, attempts, GROUP):
        tasks.append(
            Task(
                id=f"task-{number}",
                environment="town",
                instruction=f"go {number}",
                setup={},
                seed=number // 10 * 10,
                template="go",
            )
        )
    records.tasks.add_proposals(RUN, 0, [(task, None) for task in tasks], SplitRule())
    for first in range(0, attempts, 100):
        with records.transaction() as part:
            for number in range(first, min(first + 100, attempts)):
                spec = a_spec(number, tasks[number // GROUP])
                solved = number % 2 == 0
                part.attempts.record(
                    spec,
                    AttemptOutcome(
                        attempt_id=spec.id,
                        trajectory=Trajectory(
                            initial=Observation(text="a town"),
                            steps=(step,) * STEPS,
                            model_calls=attempt_calls(number),
                        ),
                        score=Score(value=float(solved), success=solved),
                    ),
                )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bench") / "ws"
    with opened(place) as records:
        fill(records, ATTEMPTS)
    return place


class Cost(NamedTuple):
    """What one export took."""

    rows: int
    seconds: float
    """Of the processor, in the export alone."""
    megabytes: float
    """The most that the process held during the export, beyond what it held before."""


def exported(workspace: Path, form: str, out: Path) -> Cost:
    """One export, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.test_bench_export"]
    done = subprocess.run(
        [*command, str(workspace), form, str(out)], capture_output=True, text=True, check=True
    )
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def work(workspace: Path, form: str, out: Path) -> Cost:
    """The export itself; what the child process does."""
    from agentlab.training.exporting import ExportRequest, export

    with Records.open(Workspace.open(workspace, create=False)) as records:
        before = held("VmRSS")
        # What getrusage says is the parent's where that held more: a program that is replaced by
        # another keeps it. The kernel forgets the peak when it is told to.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        began = time.process_time()
        if form == EVERYTHING:
            rows = len(list(rollouts(records, (RUN,))))
        else:
            rows = export(records, ExportRequest((RUN,), form), out).rows
        seconds = time.process_time() - began
        most = held("VmHWM")
    return Cost(rows, seconds, most - before)


def held(name: str) -> float:
    """Megabytes of this process, by the name of a line in its status."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"/proc/self/status has no {name}")


def alone(data: Path, again: Path) -> float:
    """Seconds to spell and write the rows of a file again, from memory."""
    if data.suffix == ".parquet":
        import importlib

        parquet: Any = importlib.import_module("pyarrow.parquet")
        table = parquet.read_table(data)
        rows = table.to_pylist()
        arrow: Any = importlib.import_module("pyarrow")
        began = time.process_time()
        parquet.write_table(arrow.Table.from_pylist(rows, schema=table.schema), again)
        return time.process_time() - began
    held = [cast("object", orjson.loads(line)) for line in data.read_bytes().splitlines()]
    began = time.process_time()
    with open(again, "wb", buffering=1 << 20) as file:
        for row in held:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return time.process_time() - began


def read_alone(workspace: Path) -> float:
    """Seconds to read the bodies of all calls and take their JSON apart."""
    began = time.process_time()
    with closing(sqlite3.connect(workspace / "records.db")) as connection:
        for (body,) in connection.execute("SELECT body FROM model_calls"):
            orjson.loads(body)
    return time.process_time() - began


@pytest.mark.parametrize("form", FORMATS)
def test_export_of_many_attempts(
    benchmark: BenchmarkFixture,
    workspace: Path,
    form: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if form.startswith("verl"):
        pytest.importorskip("pyarrow")
    out = tmp_path / "out"
    cost = cast(
        "Cost", cast("Any", benchmark).pedantic(exported, args=(workspace, form, out), rounds=1)
    )
    (data,) = (tmp_path / "out").glob("data.*")
    seconds = alone(data, tmp_path / "again")
    reading = read_alone(workspace)
    size = data.stat().st_size / 1e6
    with uncaptured(request):
        print(
            f"\n{form}: {cost.rows:,} rows of {ATTEMPTS:,} attempts of {STEPS} steps, "
            f"{size:,.0f} MB: {cost.seconds:.1f} s, {cost.rows / cost.seconds:,.0f} rows a second, "
            f"at most {cost.megabytes:,.0f} MB more held than before it; "
            f"writing alone {seconds:.2f} s, ratio "
            f"{cost.seconds / seconds:.1f} (target at most {TARGET:g}); reading the calls alone "
            f"{reading:.2f} s, ratio to both {cost.seconds / (seconds + reading):.1f}"
        )
    assert cost.rows > 0


def test_memory_does_not_grow_with_the_run(
    benchmark: BenchmarkFixture, workspace: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    small, least = tmp_path / "ws", max(ATTEMPTS // 10, 2 * BATCH)
    with opened(small) as records:
        fill(records, least)
    few = exported(small, "trl-grpo-replay", tmp_path / "few")
    all_at_once = exported(small, EVERYTHING, tmp_path / "none")
    out = tmp_path / "many"
    asked = (workspace, "trl-grpo-replay", out)
    many = cast("Cost", cast("Any", benchmark).pedantic(exported, args=asked, rounds=1))
    growth = (many.megabytes - few.megabytes) * 1024 / (ATTEMPTS - least)
    whole = all_at_once.megabytes * 1024 / least
    with uncaptured(request):
        print(
            f"\n{few.megabytes:,.0f} MB for {least:,} attempts, {many.megabytes:,.0f} MB for "
            f"{ATTEMPTS:,}: {growth:.1f} kB for one more, where holding it takes {whole:.0f} kB"
        )
    # One more attempt adds a line of the outline, and no trajectory.
    assert growth < HELD < whole


if __name__ == "__main__":
    print(json.dumps(work(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))))
