"""Workers: whatever becomes of one job is that job's alone, and none is left behind."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from agentlab.errors import UsageError
from agentlab.graph.workers import GUARD, WorkerFault, WorkerPool
from tests.unit.graph import errands

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[3]


def _with_pool(work: Callable[[WorkerPool], Awaitable[T]], size: int = 1) -> T:
    async def main() -> T:
        pool = WorkerPool(size)
        try:
            return await work(pool)
        finally:
            pool.close()

    return asyncio.run(main())


def _gone(pid: int, *, within: float = 8.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not _runs(pid):
            return True
        time.sleep(0.05)
    return False


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return False


def test_one_worker_does_one_job_after_another() -> None:
    async def work(pool: WorkerPool) -> None:
        assert await pool.run(errands.add, 2, 3, seconds=20) == 5
        first = await pool.run(errands.process_id, seconds=20)
        assert first == await pool.run(errands.process_id, seconds=20)
        assert first != os.getpid()
        assert await pool.run(errands.interrupt_handler, seconds=20) is True

    _with_pool(work)


def test_failures_are_told_and_cost_no_worker() -> None:
    async def work(pool: WorkerPool) -> None:
        worker = await pool.run(errands.process_id, seconds=20)
        raised = await pool.run(errands.fail, seconds=20)
        assert isinstance(raised, WorkerFault)
        assert raised.error.startswith("ValueError: not like this (errands.py:")
        broken = await pool.run(errands.fault, seconds=20)
        assert broken == WorkerFault("The world broke.")
        with pytest.raises(UsageError, match="The option 'x' is wrong"):
            await pool.run(errands.misuse, seconds=20)
        assert worker == await pool.run(errands.process_id, seconds=20)

    _with_pool(work)


def test_a_worker_that_dies_is_replaced() -> None:
    async def work(pool: WorkerPool) -> None:
        dead = await pool.run(errands.die, 7, seconds=20)
        assert dead == WorkerFault("its worker process died (exit code 7)")
        assert await pool.run(errands.add, 1, 1, seconds=20) == 2

    _with_pool(work)


def test_leaving_and_answers_that_cannot_be_sent_cost_no_worker() -> None:
    async def work(pool: WorkerPool) -> None:
        worker = await pool.run(errands.process_id, seconds=20)
        left = await pool.run(errands.leave, seconds=20)
        assert left == WorkerFault("it called sys.exit(3)")
        for errand in (errands.give_what_cannot_be_sent, errands.give_what_cannot_be_received):
            unsent = await pool.run(errand, seconds=20)
            assert isinstance(unsent, WorkerFault)
            assert unsent.error.startswith("its result cannot be sent between processes (")
            assert unsent.error.endswith("); it must be plain data")
        assert worker == await pool.run(errands.process_id, seconds=20)

    _with_pool(work)


def test_what_a_worker_prints_is_not_on_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    async def work(pool: WorkerPool) -> None:
        await pool.run(errands.chatter, seconds=20)

    _with_pool(work)
    out, err = capfd.readouterr()
    assert out == ""
    assert "a banner\na line from C\n" in err


SCRIPT = """
import asyncio
from agentlab.graph.workers import WorkerPool
from tests.unit.graph.errands import add

{top}

async def main():
    pool = WorkerPool(2)
    try:
        print(await pool.run(add, 1, 2, seconds=20))
    finally:
        pool.close()

{call}
"""


def _script(tmp_path: Path, call: str, top: str = "") -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(call=call, top=top))
    return subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_a_script_that_does_not_ask_whether_it_is_the_main_program(tmp_path: Path) -> None:
    done = _script(tmp_path, "asyncio.run(main())")
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert lines[-1] == f"agentlab.errors.UsageError: {GUARD}"
    assert 'if __name__ == "__main__":' in GUARD
    assert sum(line.startswith("Traceback") for line in lines) == 1


def test_a_script_that_asks_is_left_alone(tmp_path: Path) -> None:
    done = _script(tmp_path, "if __name__ == '__main__':\n    asyncio.run(main())")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


def test_a_script_that_cannot_be_imported_again(tmp_path: Path) -> None:
    top = "if __name__ != '__main__':\n    raise SystemExit(5)"
    done = _script(tmp_path, "if __name__ == '__main__':\n    asyncio.run(main())", top)
    assert done.returncode == 0
    assert "ended before it was ready (exit code 5)" in done.stdout
    assert "imports the script that started the run" in done.stdout


def test_a_pool_in_a_process_that_is_still_starting(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "from agentlab.errors import UsageError\n"
        "from agentlab.graph.workers import WorkerPool\n"
        "from tests.unit.graph.errands import add\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=add, args=(1, 2))\n"
        "    child.start()\n"
        "    child.join()\n"
        "else:\n"
        "    try:\n"
        "        WorkerPool(1)\n"
        "    except UsageError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == GUARD + "\n"


def test_a_job_that_cannot_be_sent_raises_here_and_costs_no_worker() -> None:
    async def work(pool: WorkerPool) -> None:
        with pytest.raises((AttributeError, pickle.PicklingError), match=r"pickle|local object"):
            await pool.run(errands.add, 1, lambda: 2, seconds=20)
        assert await pool.run(errands.add, 1, 1, seconds=20) == 2

    _with_pool(work)


def test_a_job_that_takes_too_long_costs_its_own_worker_alone() -> None:
    async def work(pool: WorkerPool) -> None:
        await pool.warm()
        slow = asyncio.create_task(pool.run(errands.spin, seconds=0.3))
        other = asyncio.create_task(pool.run(errands.nap, 1.0, seconds=20))
        fault = await slow
        assert isinstance(fault, WorkerFault)
        assert "did not end within" in fault.error
        neighbour = await other
        assert isinstance(neighbour, int)
        pids = await asyncio.gather(*(pool.run(errands.nap, 0.5, seconds=20) for _ in range(2)))
        assert neighbour in pids
        assert len(set(pids)) == 2

    _with_pool(work, size=2)


def test_no_more_jobs_at_a_time_than_workers() -> None:
    async def work(pool: WorkerPool) -> None:
        await pool.warm()
        pids = await asyncio.gather(*(pool.run(errands.nap, 0.02, seconds=20) for _ in range(9)))
        assert len(set(pids)) == 2

    _with_pool(work, size=2)


def test_a_cancelled_job_ends_with_its_worker() -> None:
    async def work(pool: WorkerPool) -> None:
        pid = await pool.run(errands.process_id, seconds=20)
        assert isinstance(pid, int)
        job = asyncio.create_task(pool.run(errands.spin, seconds=60))
        await asyncio.sleep(0.2)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert _gone(pid)
        assert await pool.run(errands.add, 1, 1, seconds=20) == 2

    _with_pool(work)


def test_closing_ends_idle_and_busy_workers() -> None:
    async def main() -> list[int]:
        pool = WorkerPool(2)
        idle = await pool.run(errands.process_id, seconds=20)
        busy = asyncio.create_task(pool.run(errands.spin, seconds=60))
        await asyncio.sleep(0.2)
        other = await pool.run(errands.process_id, seconds=20)
        pool.close()
        assert isinstance(await busy, WorkerFault)
        assert isinstance(idle, int)
        assert isinstance(other, int)
        pool.close()
        return [idle, other]

    assert all(map(_gone, asyncio.run(main())))


def test_workers_ignore_ctrl_c() -> None:
    async def work(pool: WorkerPool) -> None:
        pid = await pool.run(errands.process_id, seconds=20)
        assert isinstance(pid, int)
        job = asyncio.create_task(pool.run(errands.nap, 0.5, seconds=20))
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGINT)
        assert await job == pid

    _with_pool(work)


def test_workers_end_when_their_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.graph.errands"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(_runs, pids))
    finally:
        parent.kill()
        parent.wait()
        if parent.stdout is not None:
            parent.stdout.close()
    assert all(map(_gone, pids))
