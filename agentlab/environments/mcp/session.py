"""A connection to one MCP server, usable from any event loop and from none.

The client of the package `mcp` must be opened and closed by one task of one loop, while an
environment is made in one place and used in another. So a thread of this process runs a loop for
all sessions. Whatever a server does (ends, hangs, answers what is no answer) comes out as an
`EnvironmentFaultError` within the time limit. Servers over stdio run under `keeper`.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import shlex
import shutil
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator, Coroutine, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswerError
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from agentlab.environments.mcp import keeper
from agentlab.errors import EnvironmentFaultError, MissingExtraError

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult, Tool

T = TypeVar("T")
START_SECONDS = 60.0
"""That a server has to start; the first start of a package may have to fetch it."""
CLOSE_SECONDS = 8.0
HELD_SECONDS = 300.0
"""That a server over HTTP may hold a stream open without a word."""
MOST_TOOLS = 512
MOST_SAID = 2_000
LOST = (-32000, -32001)
"""Codes of the protocol for a connection that closed and for a request that was given up."""
LOUD = ("mcp", "client")
"""Loggers of the package that report a server's faults, which are reported here already."""


AUTHORIZATION = "Authorization"


class Server(NamedTuple):
    """How to reach a server."""

    command: tuple[str, ...] = ()
    """Over stdio; or empty."""
    url: str = ""
    folder: str = ""
    """Where it runs, over stdio; removed when its owner dies."""
    pass_env: tuple[str, ...] = ()
    """Names of variables that it may see beside the harmless few."""
    token_variable: str = ""
    """Name of the variable that holds the token, over HTTP; or empty."""
    token_header: str = AUTHORIZATION
    """Where the token is sent; as a bearer's in `Authorization`, else as it is."""

    @property
    def headers(self) -> dict[str, str]:
        """What each request carries beside the protocol's own; holds the token, so never shown."""
        if not self.token_variable:
            return {}
        token = os.environ.get(self.token_variable, "").strip()
        bearer = self.token_header.lower() == AUTHORIZATION.lower()
        return {self.token_header: f"Bearer {token}" if bearer else token}

    @property
    def shown(self) -> str:
        """What a sentence calls it."""
        scheme, there, rest = self.url.partition("?")[0].partition("://")
        host, slash, path = rest.partition("/")
        plain = f"{scheme}{there}{host.rpartition('@')[2]}{slash}{path}"
        return plain or shlex.join(self.command[:3])[:120]


class _Thread:
    """The loop that all sessions of this process live in."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.owner = os.getpid()
        self._thread = threading.Thread(target=self._run, name="agentlab-mcp", daemon=True)
        self._thread.start()
        self.sessions: set[Session] = set()
        atexit.register(self.close)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        for session in tuple(self.sessions):
            session.close_now()


_thread: _Thread | None = None
_lock = threading.Lock()


def _shared() -> _Thread:
    global _thread
    with _lock:
        if _thread is None or _thread.owner != os.getpid():
            for name in LOUD:
                logging.getLogger(name).addHandler(logging.NullHandler())
                logging.getLogger(name).propagate = False
            _thread = _Thread()
        return _thread


class Session:
    """One connection; made by `connected`.

    Args:
        server: which.
        seconds: that a call may take.
    """

    def __init__(self, server: Server, *, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._thread = _shared()
        self._client: Client | None = None
        self._stop = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._errors: IO[str] | None = None
        self.tools: tuple[Tool, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the connection is open."""
        return self._client is not None

    async def call(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
        """Call a tool from any loop.

        Raises:
            EnvironmentFaultError: no answer came in time, or none that is one.
        """
        return await asyncio.wrap_future(self._thread.submit(self._call(name, arguments)))

    async def close(self) -> None:
        """End the server. Safe to call twice."""
        await asyncio.wrap_future(self._thread.submit(self._close()))

    def close_now(self) -> None:
        """The same where no loop waits."""
        with contextlib.suppress(NoAnswerError, RuntimeError):
            self._thread.submit(self._close()).result(CLOSE_SECONDS)

    # --- in the thread ----------------------------------------------------------------------

    async def open(self) -> None:
        """Connect; only in the thread's own loop."""
        try:
            from mcp import Client
        except ModuleNotFoundError as error:
            raise MissingExtraError("The environment 'mcp'", "mcp") from error
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._thread.sessions.add(self)
        self._life = asyncio.create_task(self._live(Client, ready, self._stop))
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.shield(ready)
        except TimeoutError:
            await self._close()
            told = f"did not start within {START_SECONDS:.0f} s; {self._instead()}"
            raise self._fault(told) from None

    async def _live(
        self, kind: type[Client], ready: asyncio.Future[None], stop: asyncio.Event
    ) -> None:
        """Open, wait and close in one task, as the client's cancel scopes ask for."""
        try:
            self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
            async with kind(self._target(self._errors), read_timeout_seconds=START_SECONDS) as made:
                self.tools = await _listed(made)
                self._client = made
                ready.set_result(None)
                await stop.wait()
        except BaseException as error:  # a foreign server, which may fail in any way
            if not ready.done():
                told = f"cannot be used: {_say(error)}; {self._instead()}"
                ready.set_exception(self._fault(told, tail=True))
        finally:
            self._client = None
            if not ready.done():
                ready.cancel()
            if self._errors is not None:
                self._errors.close()
            self._thread.sessions.discard(self)

    def _target(self, errors: IO[str]) -> Any:
        if self._server.url:
            headers = self._server.headers
            return _with_headers(self._server.url, headers) if headers else self._server.url
        from mcp import StdioServerParameters
        from mcp.client.stdio import stdio_client

        arguments = ["-I", "-S", str(Path(keeper.__file__)), str(os.getpid()), self._server.folder]
        visible = {name: os.environ[name] for name in self._server.pass_env if name in os.environ}
        parameters = StdioServerParameters(
            command=sys.executable,
            args=[*arguments, *self._server.command],
            cwd=self._server.folder or None,
            env=visible,
            encoding_error_handler="replace",
        )
        return stdio_client(parameters, errlog=errors)  # type: ignore[arg-type]

    async def _call(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
        from mcp import MCPError
        from mcp_types import CallToolResult, TextContent

        client = self._client
        if client is None:
            raise self._fault("has ended")
        try:
            async with asyncio.timeout(self._seconds):
                return await client.call_tool(name, arguments)
        except TimeoutError:
            raise self._fault(f"gave no answer to {name!r} within {self._seconds:g} s") from None
        except asyncio.CancelledError:
            raise
        except MCPError as error:
            if error.code in LOST:
                raise self._fault(f"was lost at {name!r}: {_say(error)}") from error
            # The server's own refusal, said in the protocol's words and not in the tool's.
            said = TextContent(type="text", text=str(error)[:MOST_SAID])
            return CallToolResult(content=[said], is_error=True)
        except Exception as error:  # a foreign server, which may answer anything
            raise self._fault(f"failed at {name!r}: {_say(error)}") from error

    async def _close(self) -> None:
        if self._life is None:
            return
        self._stop.set()
        _, waiting = await asyncio.wait([self._life], timeout=CLOSE_SECONDS / 2)
        for task in waiting:
            task.cancel()
            await asyncio.wait([task], timeout=CLOSE_SECONDS / 2)

    def _instead(self) -> str:
        """What to name in place of what is no server."""
        if self._server.url:
            return "name the URL of an MCP server over HTTP, path included"
        program = self._server.command[0]
        if shutil.which(program, path=os.environ.get("PATH")) is None:
            return f"there is no program {program!r}: install it, or give its path"
        return "name a command that starts an MCP server over stdio"

    def _fault(self, what: str, *, tail: bool = False) -> EnvironmentFaultError:
        said = ""
        if tail and self._errors is not None:
            with contextlib.suppress(OSError, ValueError):
                self._errors.seek(0)
                said = self._errors.read()[-400:].strip()
        more = f" It wrote: {said!r}." if said else ""
        return EnvironmentFaultError(f"mcp: the server {self._server.shown!r} {what}.{more}")


async def connected(server: Server, *, seconds: float) -> Session:
    """A session with a server that has answered.

    Raises:
        EnvironmentFaultError: it did not start, or is no MCP server.
        MissingExtraError: the package `mcp` is missing.
    """

    async def opened() -> Session:
        session = Session(server, seconds=seconds)
        await session.open()
        return session

    return await asyncio.wrap_future(_shared().submit(opened()))


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """The result of asynchronous work where no loop waits, in the loop of the sessions."""
    return _shared().submit(work).result()


@contextlib.asynccontextmanager
async def _with_headers(url: str, headers: dict[str, str]) -> AsyncGenerator[Any]:
    """The package's transport, with headers; it follows no redirect to another origin."""
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    # A server may hold a stream open; calls have a limit of their own.
    timeout = httpx2.Timeout(START_SECONDS, read=HELD_SECONDS)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=timeout) as http,
        streamable_http_client(url, http_client=http) as streams,
    ):
        yield streams


def run_soon(work: Coroutine[Any, Any, None]) -> None:
    """Start asynchronous work in the loop of the sessions, and do not wait for it."""
    _shared().submit(work)


async def _listed(client: Client) -> tuple[Tool, ...]:
    found: list[Tool] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        found.extend(page.tools)
        cursor = page.next_cursor
        if not cursor or len(found) >= MOST_TOOLS:
            return tuple(found[:MOST_TOOLS])


def _say(error: BaseException) -> str:
    """The innermost reason, in a line."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    text = str(error).splitlines()[0][:300] if str(error) else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def split_command(argument: str) -> Sequence[str]:
    """The words of a command, as a shell would take them; none of them is run by a shell.

    Raises:
        ValueError: a quotation is not closed.
    """
    return shlex.split(argument)
