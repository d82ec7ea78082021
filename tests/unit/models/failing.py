"""A chat model that fails as told, under the wrappers that go on after a failure."""

from __future__ import annotations

from collections.abc import Callable

from agentlab.models.faults import Outage, PassingFaultError
from agentlab.types import ChatReply, ChatRequest, Message


def request(text: str = "hi") -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", text=text),))


def down(outage: Outage = "yes", retry_after: str | None = None) -> PassingFaultError:
    return PassingFaultError("It is down", outage=outage, retry_after=retry_after)


class Failing:
    """Raises what `fails` gives for a request and the number of the try, else answers."""

    def __init__(self, fails: Callable[[ChatRequest, int], Exception | None]) -> None:
        self._fails = fails
        self.tried = 0
        self.answered: list[str] = []

    @property
    def name(self) -> str:
        return "failing"

    async def chat(self, request: ChatRequest) -> ChatReply:
        self.tried += 1
        fault = self._fails(request, self.tried)
        if fault is not None:
            raise fault
        self.answered.append(request.messages[0].text)
        return ChatReply(message=Message(role="assistant", text="hello"), output_tokens=3)
