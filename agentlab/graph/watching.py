"""Observers made safe: one that raises is logged and dropped, and the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from agentlab.events import Event
from agentlab.protocols import Observer

logger = logging.getLogger(__name__)


class Watchers:
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)

    def notify(self, event: Event) -> None:
        """Tell each of them."""
        for observer in tuple(self._observers):
            try:
                observer.notify(event)
            except Exception:  # foreign code: whatever it raises must not stop a run
                logger.exception("An observer failed and is dropped: %r", observer)
                self._observers.remove(observer)
