"""The server as a test starts it: in a thread of this process, or as a process of its own.

In a thread its counters and requests can be read directly and clocks injected; as a process it
takes no share of the interpreter whose speed is being measured.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import NamedTuple, Self, TypeVar, cast
from urllib.request import ProxyHandler, Request, build_opener

from agentlab.models.scripted import Rule
from agentlab.testing.model_server.app import COUNTERS, FAULTS, App, Counters
from agentlab.testing.model_server.connection import (
    MAX_HEADERS,
    HttpError,
    json_answer,
    read_request,
    write_answer,
)
from agentlab.testing.model_server.faults import FaultPlan
from agentlab.testing.model_server.wire import error_body
from agentlab.types import ChatRequest

START_SECONDS = 30.0
T = TypeVar("T")


class ModelServer:
    """An endpoint on this machine that answers by a rule; use it as a context manager.

    Example:
        >>> with ModelServer(lambda request: "Hello.") as server:
        ...     print(server.base_url.startswith("http://127.0.0.1:"))
        True

    Args:
        rule: gives the reply to a request, from the request alone; also a `ScriptedModel`'s.
        faults: what is to go wrong.
        latency: seconds before each answer.
        port: 0 finds a free one.
        models: names that `GET /v1/models` lists; any name is answered.
        key: refuse requests without it, with status 401.
        schemas: False refuses `response_format`, as endpoints do that do not know it.
        pictures: False refuses pictures, as endpoints do whose model reads text alone.
        clock: seconds for outages.
        wall: seconds since 1970, for a Retry-After that is a date.
    """

    def __init__(
        self,
        rule: Rule,
        *,
        faults: FaultPlan | None = None,
        latency: float = 0.0,
        port: int = 0,
        models: Sequence[str] = ("rules",),
        key: str | None = None,
        schemas: bool = True,
        pictures: bool = True,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._app = self._made(
            rule,
            faults=faults or FaultPlan(),
            latency=latency,
            models=models,
            key=key,
            schemas=schemas,
            pictures=pictures,
            clock=clock,
            wall=wall,
        )
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="model server", daemon=True)
        self._ready = threading.Event()
        self._fault: BaseException | None = None
        self._stop: asyncio.Event | None = None

    _made: type[App] = App
    """What answers; a server that serves more has more there."""

    @property
    def address(self) -> str:
        """Such as `http://127.0.0.1:8000`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes."""
        return f"{self.address}/v1"

    @property
    def requests(self) -> tuple[ChatRequest, ...]:
        """The chat requests so far, in the order of their arrival; the last ten thousand."""
        return self._ask(lambda: tuple(self._app.seen))

    def counters(self) -> Counters:
        """What has been counted."""
        return self._ask(self._app.counters)

    def plan(self, faults: FaultPlan) -> None:
        """Follow another plan of faults from now on."""
        self._ask(lambda: self._app.plan(faults))

    def start(self) -> None:
        """Begin to answer.

        Raises:
            OSError: the port is taken.
        """
        self._thread.start()
        self._ready.wait()
        if self._fault is not None:
            self._thread.join()
            raise self._fault

    def close(self) -> None:
        """End every connection and the thread."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # it ended by itself meanwhile
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def join(self) -> None:
        """Wait until somebody closes it."""
        self._thread.join()

    def _ask(self, question: Callable[[], T]) -> T:
        """The answer, from the server's own thread while it runs."""
        if self._loop is None or not self._thread.is_alive():
            return question()

        async def answer() -> T:
            return question()

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result()

    def _run(self) -> None:
        loop = self._loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._serve())
        except BaseException as error:  # told to whoever waits in `start`
            self._fault = error
        finally:
            loop.close()
            self._ready.set()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        talks: set[asyncio.Task[None]] = set()

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = cast("asyncio.Task[None]", asyncio.current_task())
            talks.add(task)
            try:
                await self._talk(reader, writer)
            except ConnectionError:
                pass  # the client has gone: nobody is left to tell
            except asyncio.CancelledError:
                writer.transport.abort()  # what a client has not read, it will not
            finally:
                talks.discard(task)
                writer.close()

        server = await asyncio.start_server(
            talk, "127.0.0.1", self._port, limit=MAX_HEADERS, backlog=1024
        )
        self._port = cast("int", server.sockets[0].getsockname()[1])
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in tuple(talks):
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await asyncio.sleep(0)  # lets the transports that were closed say so

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._app.connections += 1
        while True:
            try:
                request = await read_request(reader)
            except HttpError as error:
                told = error_body(str(error), kind="invalid_request_error")
                await write_answer(json_answer(told, error.status), reader, writer)
                return
            if request is None:
                return
            answer = await self._app.answer(request)
            if not await write_answer(answer, reader, writer) or not request.keeps_alive:
                return


class ServerProcess(NamedTuple):
    """A server in a process of its own."""

    address: str
    pid: int

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes."""
        return f"{self.address}/v1"

    def counters(self) -> Counters:
        """What has been counted."""
        return Counters.model_validate_json(_exchange(f"{self.address}{COUNTERS}"))

    def plan(self, faults: FaultPlan) -> None:
        """Follow another plan of faults from now on."""
        _exchange(f"{self.address}{FAULTS}", faults.model_dump_json().encode())


@contextmanager
def server_process(
    rules: str, *, faults: FaultPlan | None = None, latency: float = 0.0, port: int = 0
) -> Generator[ServerProcess]:
    """Run `python -m agentlab.testing.model_server` for as long as the block lasts.

    Args:
        rules: as its option `--rules` takes them, such as `courier` or `my_module:my_rule`.
        faults: what is to go wrong.
        latency: seconds before each answer.
        port: 0 finds a free one.

    Raises:
        RuntimeError: the process ended before it told its address.
    """
    command = [sys.executable, "-m", "agentlab.testing.model_server", "--rules", rules]
    command += ["--port", str(port), "--latency", str(latency), "--end-with-stdin"]
    if faults is not None:
        command += ["--faults", faults.model_dump_json()]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{' '.join(command)} ended without telling its address.")
            told = cast("dict[str, str]", json.loads(line))
            yield ServerProcess(told["address"], process.pid)
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def _exchange(url: str, body: bytes | None = None) -> bytes:
    # Proxies named in the environment are not asked for the way to this machine.
    opener = build_opener(ProxyHandler({}))
    with opener.open(Request(url, data=body), timeout=START_SECONDS) as answer:
        return cast("bytes", answer.read())
