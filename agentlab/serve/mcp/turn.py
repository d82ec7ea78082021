"""One call's say in the records, which it loses once nobody waits for it any more.

A call is put on record in the thread of its environment. Where that is blocked, the server stops
waiting and says itself what is known; whatever the thread finds later is not put on record.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from agentlab.errors import EnvironmentFaultError
from agentlab.serve.mcp.call_records import CallRecords, call_name
from agentlab.serve.mcp.episode import Done
from agentlab.types import AttemptSpec, JsonObject, Skill, Task


class Turn:
    """A call that is made.

    Args:
        calls: where it is kept.
    """

    def __init__(self, calls: CallRecords) -> None:
        self._calls = calls
        self._lock = threading.Lock()
        self._spec: AttemptSpec | None = None
        self._over = self._given_up = False

    @property
    def name(self) -> str:
        """What a client calls the call; empty where it is not on record."""
        return "" if self._spec is None else call_name(self._spec)

    def begin(self) -> None:
        """Put a new episode on record.

        Raises:
            EnvironmentFaultError: it was given up.
        """
        with self._say():
            self._calls.begin()
            self._over = True

    def plan(
        self, episode: Task, skill: Skill, callees: Sequence[Skill], arguments: JsonObject
    ) -> None:
        """Put the call on record before its first step.

        Raises:
            EnvironmentFaultError: it was given up.
        """
        with self._say():
            self._spec = self._calls.plan(episode, skill, callees, arguments)

    def record(self, done: Done) -> None:
        """Put what came of it on record.

        Raises:
            EnvironmentFaultError: it was given up.
        """
        with self._say():
            assert self._spec is not None
            self._calls.record(self._spec, done)
            self._over = True

    def give_up(self, done: Done) -> bool:
        """Take its say away and put on record what is known; False where it has had it.

        It may wait for the records.
        """
        with self._lock:
            if not self._over:
                self._over = self._given_up = True
                if self._spec is not None:
                    self._calls.record(self._spec, done)
            return self._given_up

    @contextmanager
    def _say(self) -> Generator[None]:
        with self._lock:
            if self._over:
                raise EnvironmentFaultError("The call was given up, as it did not end in time.")
            yield
