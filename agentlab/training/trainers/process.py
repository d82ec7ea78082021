"""A trainer's program in a process of its own: started, followed line by line, and ended with us.

The process gets no secret (of our environment it sees a few named variables), no network that
Hugging Face's libraries would use, and an end of a pipe that closes when we are gone, whereupon
it ends too. What it prints goes to a log beside its checkpoints.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from agentlab.errors import TrainerFaultError, TrainingRefusedError
from agentlab.training.trainers.interpreter import TrainPython
from agentlab.types import JsonObject

PROGRAM = Path(__file__).parent / "programs" / "run_trainer.py"
LOG = "trainer.log"
LOCK_TRIES = 50
"""Tenths of a second that are waited for a work folder."""
_SEEN = (
    "PATH", "HOME", "USER", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
    "CUDA_HOME", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
)  # fmt: skip
_SEEN_BEGINNINGS = ("LC_", "OMP_", "MKL_", "PYTORCH_", "TORCH_", "NCCL_")
Follow = Callable[[JsonObject], JsonObject | None]
"""Told a line of the program; what it gives is sent back to it."""


@contextmanager
def alone_in(work: Path) -> Generator[int]:
    """Hold a work folder; what is given is the lock, for the process that works there.

    Raises:
        TrainerFaultError: another process works in it.
    """
    handle = os.open(work / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Perhaps the trainer of a command that was killed, which is about to end.
                time.sleep(0.1)
        else:
            raise TrainerFaultError(
                f"Another process trains in {str(work)!r}; wait for it, or end it."
            )
        yield handle
    finally:
        os.close(handle)


def run_program(job: Path, python: TrainPython, follow: Follow, *, lock: int, threads: int) -> None:
    """Run the program of a job to its end.

    Args:
        job: the job's file, in the work folder.
        python: the trainers'.
        follow: told each line of the program.
        lock: of the work folder, which the process holds too.
        threads: of torch.

    Raises:
        TrainingRefusedError: the program refuses; its own words.
        TrainerFaultError: it ended without weights.
    """
    work = job.parent
    last: JsonObject = {}
    with open(work / LOG, "ab") as log:
        process = subprocess.Popen(
            [python.path, "-E", "-s", str(PROGRAM), str(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=work,
            env=_environment(work, threads),
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C is for us, who end it
        )
        assert process.stdout is not None and process.stdin is not None
        try:
            for line in process.stdout:
                told = _read(line)
                if told is not None:
                    last = told
                    answer = follow(told)
                    if answer is not None:
                        process.stdin.write(json.dumps(answer).encode() + b"\n")
                        process.stdin.flush()
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()
            process.stdin.close()
    if code == 0 and last.get("kind") == "done":
        return
    raise _failure(last, code, work)


def _failure(last: JsonObject, code: int, work: Path) -> Exception:
    why = str(last.get("why", ""))
    log = str(work / LOG)
    match last.get("kind"):
        case "refused":
            return TrainingRefusedError(why)
        case "full":
            return TrainerFaultError(
                f"The trainer could not write to {str(work)!r} ({why[:200]}); make room, then the "
                "same command goes on from the last checkpoint."
            )
        case "broke":
            return TrainerFaultError(
                f"The trainer broke: {why[:300]}; its traceback is in {log!r}."
            )
        case _:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
            return TrainerFaultError(
                f"The trainer {how} before its weights were written; look into {log!r}, then the "
                "same command goes on from the last checkpoint."
            )


def _read(line: bytes) -> JsonObject | None:
    try:
        found = cast("object", json.loads(line))
    except ValueError:
        return None
    return cast("JsonObject", found) if isinstance(found, dict) else None


def _environment(work: Path, threads: int) -> dict[str, str]:
    seen = {
        name: value
        for name, value in os.environ.items()
        if name in _SEEN or name.startswith(_SEEN_BEGINNINGS)
    }
    return seen | {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": seen.get("OMP_WAIT_POLICY", "PASSIVE"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HOME": str(work / "cache"),
        "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTHONUNBUFFERED": "1",
    }
