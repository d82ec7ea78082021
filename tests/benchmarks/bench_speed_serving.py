"""Times completions: a server asked over HTTP by clients at once, and plain `generate`.

Both draw greedily, a fixed number of tokens after prompts of a fixed length, so both do the same
work, and whether they drew the same tokens is told too.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

import httpx

from agentlab.serve.starting import environment
from agentlab.training.adapters import read_adapter
from agentlab.training.serving.client import ModelServerClient
from agentlab.training.serving.launcher import ServerProcess
from agentlab.training.serving.swap import bring_up
from agentlab.training.trainers.interpreter import TrainPython
from agentlab.types import JsonObject
from tests.benchmarks.bench_speed_figures import Chain, FigureName, Run, Side
from tests.benchmarks.bench_speed_inputs import CONTEXT
from tests.trainers.tiny_model import Shape

PLAIN = Path(__file__).with_name("plain_generate.py")
NAME = "base"
PATIENCE = 600.0
ANSWER = 16
"""Tokens of the reply that a trained adapter is asked for."""


class Completed(NamedTuple):
    """Completions of some prompts."""

    seconds: float
    processor: float | None
    """Seconds of the processor, where they are known."""
    ids: list[list[int]]

    @property
    def tokens(self) -> int:
        """How many were drawn."""
        return sum(map(len, self.ids))

    def run(self, case: str, side: Side, turn: int) -> Run:
        """As a measurement."""
        figures: dict[FigureName, float] = {"tokens_per_second": self.tokens / self.seconds}
        if self.processor:
            figures["tokens_per_processor_second"] = self.tokens / self.processor
        return Run(case=case, side=side, turn=turn, tokens=self.tokens, figures=figures)


class PlainProcess:
    """`plain_generate.py`, which waits for what it is asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._asking: IO[str] = process.stdin
        self._answers: IO[str] = process.stdout

    def complete(self, prompts: Sequence[list[int]], *, new: int, batch: int) -> Completed:
        """Complete prompts, so many at a time.

        Raises:
            RuntimeError: the process ended.
        """
        self._asking.write(json.dumps({"prompts": prompts, "new": new, "batch": batch}) + "\n")
        self._asking.flush()
        line = self._answers.readline()
        if not line:
            raise RuntimeError("Plain generation ended before it answered; see above.")
        told = json.loads(line)
        return Completed(told["seconds"], told["processor_seconds"], told["ids"])


@contextmanager
def plain_process(
    model: Path, *, python: TrainPython, device: str, threads: int
) -> Generator[PlainProcess]:
    """The process, until the block ends."""
    process = subprocess.Popen(
        [python.path, str(PLAIN), str(model), device, str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment() | {"OMP_NUM_THREADS": str(threads)},
    )
    try:
        yield PlainProcess(process)
    finally:
        process.kill()
        process.communicate()


def local_server(
    model: Path, shape: Shape, *, log: Path, device: str, threads: int, clients: int
) -> ServerProcess:
    """`agentlab serve-local`, with room for all clients at once."""
    slot = 2 * 4 * shape.layers * shape.kv_heads * shape.head * CONTEXT
    options = {
        "device": device,
        "threads": threads,
        "batch": clients,
        # Two slots for each client, as the server has where its memory allows it.
        "cache-mib": 2 * clients * slot // 2**20 + 1,
    }
    words = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return ServerProcess("local", model, name=NAME, log=log, options=words, seconds=PATIENCE)


def vllm_server(model: Path, *, python: str, log: Path, device: str, clients: int) -> ServerProcess:
    """VLLM on the same model, in float32 as ours."""
    options = ["--max-num-seqs", str(max(clients, 2)), "--no-enable-prefix-caching"]
    if device != "cpu":
        options += ["--no-enforce-eager", "--gpu-memory-utilization", "0.5"]
    return ServerProcess(
        "vllm", model, name=NAME, log=log, python=python, options=options, seconds=PATIENCE
    )


def complete(
    url: str,
    prompts: Sequence[list[int]],
    *,
    new: int,
    clients: int,
    model: str = NAME,
    process: int | None = None,
) -> Completed:
    """Complete prompts over HTTP by as many clients at once.

    Args:
        url: of the server, with `/v1`.
        prompts: in tokens.
        new: tokens of each completion.
        clients: that ask at a time, each one prompt after another.
        model: who is asked.
        process: the server's, where its processor time is to be told.

    Raises:
        httpx.HTTPStatusError: the server refuses.
        ValueError: a completion has another length.
    """
    # Nothing between the clients and this machine's own server, whatever the environment names.
    with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as http:

        def one(prompt: list[int]) -> list[int]:
            body: JsonObject = {
                "model": model, "prompt": [*prompt], "max_tokens": new, "temperature": 0,
                "ignore_eos": True, "return_token_ids": True,
            }  # fmt: skip
            answer = http.post("/completions", json=body).raise_for_status().json()
            ids = cast("list[int]", answer["choices"][0]["token_ids"])
            if len(ids) != new:
                raise ValueError(f"A completion has {len(ids)} tokens, and {new} were asked for.")
            return ids

        with ThreadPoolExecutor(clients) as pool:
            began, worked = time.monotonic(), _worked(process)
            ids = list(pool.map(one, prompts))
            seconds, now = time.monotonic() - began, _worked(process)
    return Completed(seconds, None if worked is None or now is None else now - worked, ids)


def process_of(log: Path) -> int | None:
    """The process that `agentlab serve-local` says in its first line that it is."""
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith("{"):
            return cast("int", json.loads(line)["pid"])
    return None


def _worked(process: int | None) -> float | None:
    """Processor seconds of a process; None where the system does not tell."""
    path = Path(f"/proc/{process}/stat")
    if process is None or not path.is_file():
        return None
    # The second field, a name, is in parentheses and may hold spaces.
    fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alike(one: Completed, other: Completed) -> float:
    """The share of completions that are the same tokens on both sides."""
    same = [a == b for a, b in zip(one.ids, other.ids, strict=True)]
    return sum(same) / len(same)


def prove(url: str, trained: Path, base: Path, *, tolerance: float, prompt: list[int]) -> Chain:
    """Load what was trained, prove that it is what is served, and ask it.

    Raises:
        AdapterRefusedError: it is not what is served.
        ServerFaultError: the server refuses it.
    """
    adapter = read_adapter(trained)
    live = bring_up(ModelServerClient(url), adapter, base, tolerance=tolerance)
    reply = complete(url, [prompt], new=ANSWER, clients=1, model=adapter.name)
    return Chain(
        adapter=adapter.name,
        tokens=live.tokens,
        error=live.error,
        change=live.change,
        tolerance=live.tolerance,
        answered=reply.tokens,
    )
