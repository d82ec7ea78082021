"""Jobs for workers to do, and to fail at; a program that has workers, to be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from agentlab.errors import ConfigError, EnvironmentFaultError
from agentlab.graph.workers import WorkerPool


def add(a: int, b: int) -> int:
    return a + b


def process_id() -> int:
    return os.getpid()


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def spin() -> None:
    while True:
        pass


def die(code: int) -> None:
    os._exit(code)


def leave() -> None:
    raise SystemExit(3)


def fail() -> None:
    raise ValueError("not like this")


def misuse() -> None:
    raise ConfigError("The option 'x' is wrong.")


def fault() -> None:
    raise EnvironmentFaultError("The world broke.")


def give_what_cannot_be_sent() -> object:
    return lambda: None


class Unpicklable:
    """Cannot be put together again where it arrives."""

    def __reduce__(self) -> tuple[type[object], tuple[int]]:
        return (object, (1,))


def give_what_cannot_be_received() -> object:
    return Unpicklable()


def chatter() -> None:
    print("a banner", flush=True)
    os.write(1, b"a line from C\n")


def interrupt_handler() -> bool:
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


async def _wait_to_be_killed() -> None:
    pool = WorkerPool(2)
    await pool.warm()
    pids = await asyncio.gather(*(pool.run(nap, 0.2, seconds=20) for _ in range(2)))
    sys.stdout.write(" ".join(map(str, pids)) + "\n")
    sys.stdout.flush()
    await pool.run(spin, seconds=600)


if __name__ == "__main__":
    asyncio.run(_wait_to_be_killed())
