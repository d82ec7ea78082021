"""Observers made safe: one that raises is logged and dropped, and the run goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from agentlab.events import Event
from agentlab.protocols import Observer

logger = logging.getLogger(__name__)


class Watchers:
    """Several observers as one, which several threads may tell at once."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._lock = threading.Lock()

    def notify(self, event: Event) -> None:
        """Tell each of them."""
        for observer in self._observers:
            try:
                observer.notify(event)
            except Exception:  # foreign code: whatever it raises must not stop a run
                if self._drop(observer):
                    logger.exception("An observer failed and is dropped: %r", observer)

    def _drop(self, observer: Observer) -> bool:
        """Whether it was still there: it may fail in two threads at once."""
        with self._lock:
            kept = tuple(each for each in self._observers if each is not observer)
            dropped = len(kept) < len(self._observers)
            self._observers = kept
        return dropped
