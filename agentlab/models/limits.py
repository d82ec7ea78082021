"""How many requests are under way at an endpoint at a time."""

from __future__ import annotations

import asyncio

from agentlab.errors import UsageError
from agentlab.protocols import ChatModel
from agentlab.types import ChatReply, ChatRequest

AT_ONCE = 64
"""Requests to one endpoint, unless the user says otherwise."""


class Gate:
    """Lets a number of requests through at a time, in the order they came. For one event loop."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        if at_once < 1:
            raise UsageError(f"An endpoint takes {at_once} requests at a time; say at least 1.")
        self.slots = asyncio.Semaphore(at_once)


class Limited:
    """A chat model behind a gate. Implements `protocols.ChatModel`.

    It stands inside of what retries, so that no slot is held during a pause.
    """

    def __init__(self, model: ChatModel, gate: Gate) -> None:
        self._model = model
        self._gate = gate

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The model's reply, when it is this request's turn."""
        async with self._gate.slots:
            return await self._model.chat(request)
