"""The transport over a process's own stdin and stdout: one message a line.

The SDK's own reader drops what it cannot read without a word, and a line has no limit there; the
protocol wants an error. So lines are read here, by `wire`, and only messages reach the SDK. While
it serves, descriptor 1 is stderr for everybody else: nothing that is printed can pass as one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Any, BinaryIO

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from agentlab.serve.mcp.limits import ServeLimits
from agentlab.serve.mcp.wire import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    RefusedMessageError,
    error_line,
    read_message,
)

BACKLOG = 64
"""Messages that may wait to be read; then the client waits."""


async def serve_stdio(server: Server[Any], out: BinaryIO, limits: ServeLimits) -> None:
    """Serve until stdin ends.

    Args:
        server: of the caller that started this process.
        out: see `reserve_stdout`.
        limits: of a message.
    """
    inward, received = anyio.create_memory_object_stream[SessionMessage | Exception](BACKLOG)
    outward, to_send = anyio.create_memory_object_stream[SessionMessage](BACKLOG)
    voice = _Voice(out)
    lines = _Lines(sys.stdin.buffer, limits.message_bytes)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_write, to_send, voice)
        tasks.start_soon(_read, lines, inward, voice, limits)
        await server.run(received, outward, server.create_initialization_options())
        tasks.cancel_scope.cancel()


class _Voice:
    """Stdout, a whole line at a time."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def _say(self, line: bytes) -> None:
        with self._lock:
            self._out.write(line + b"\n")
            self._out.flush()

    async def say(self, line: bytes) -> None:
        await anyio.to_thread.run_sync(self._say, line)


class _Lines:
    """Stdin in lines, read by a thread that a reader which never comes cannot hold up."""

    def __init__(self, source: BinaryIO, most: int) -> None:
        self._source = source
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(BACKLOG)
        threading.Thread(target=self._run, name="agentlab-mcp-stdin", daemon=True).start()

    def _run(self) -> None:
        try:
            while line := self._source.readline(self._most + 2):
                if not line.endswith(b"\n") and len(line) > self._most:
                    self._skip()
                self._give(line)
            self._give(None)
        except (OSError, ValueError, RuntimeError):  # closed under us, or the loop has ended
            return

    def _skip(self) -> None:
        """Past the rest of a line that is too long, which is kept by nobody."""
        while part := self._source.readline(1 << 16):
            if part.endswith(b"\n"):
                return

    def _give(self, line: bytes | None) -> None:
        asyncio.run_coroutine_threadsafe(self._queue.put(line), self._loop).result()

    async def next(self) -> bytes | None:
        """A line, a byte longer than allowed where it was too long; None at the end."""
        return await self._queue.get()


async def _read(
    lines: _Lines,
    inward: MemoryObjectSendStream[SessionMessage | Exception],
    voice: _Voice,
    limits: ServeLimits,
) -> None:
    async with inward:
        while (line := await lines.next()) is not None:
            if not line.strip():
                continue
            try:
                message = message_of(line.rstrip(b"\r\n"), limits)
            except RefusedMessageError as error:
                await voice.say(error.answer)
                continue
            await inward.send(message)


def message_of(line: bytes, limits: ServeLimits) -> SessionMessage:
    """The message that a line is.

    Raises:
        RefusedMessageError: it is none.
    """
    read = read_message(line, most=limits.message_bytes, depth=limits.depth)
    try:
        message = jsonrpc_message_adapter.validate_python(read, by_name=False)
    except ValueError:
        found = read.get("id")
        number = found if isinstance(found, str | int) else None
        raise RefusedMessageError(INVALID_REQUEST, "It is no request.", number) from None
    return SessionMessage(message)


async def _write(outward: MemoryObjectReceiveStream[SessionMessage], voice: _Voice) -> None:
    async with outward:
        async for sent in outward:
            try:
                line = sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
            except ValueError:  # a text that is none, such as half a surrogate pair
                number = getattr(sent.message, "id", None)
                line = error_line(INTERNAL_ERROR, "The answer cannot be written.", number)
            await voice.say(line)


def reserve_stdout() -> BinaryIO:
    """Stdout for messages; descriptor 1 becomes stderr for everybody else, from now on."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(kept, "wb", closefd=False)
