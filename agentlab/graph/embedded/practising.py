"""A whole practice run as a node: it practises until its rounds or budget are used up.

Under a checkpointer the run is named after the execution of the node. Run again, the node goes on
with that run where it stopped, or gives back the report of a finished one: nothing is practised
twice. Without a checkpointer each execution is a run of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from agentlab.config import PracticeConfig
from agentlab.environments.registration import base_name
from agentlab.errors import UnknownNameError
from agentlab.events import Event
from agentlab.graph.budgets import current_config
from agentlab.graph.embedded.node import Node, Turn
from agentlab.graph.embedded.workspace import opened
from agentlab.graph.policies import pinned
from agentlab.graph.preflight import check_practice
from agentlab.graph.reports import practice_run
from agentlab.graph.run import work_on
from agentlab.graph.workers import refuse_unguarded
from agentlab.records import Records
from agentlab.types import JsonObject, digest
from agentlab.types.report import PracticeReport


def practice_node(
    config: PracticeConfig, *, write: str = "report", workspace: Path | str | None = None
) -> Node:
    """A node that practises. See `as_node`."""

    async def work(state: Any, turn: Turn) -> dict[str, Any]:
        refuse_unguarded()
        check_practice(config)
        with opened(workspace) as records:
            report = await _practised(records, config, turn)
        return {write: report.model_dump(mode="json")}

    return Node("agentlab practice", work, reads=(), writes=write)


async def _practised(records: Records, config: PracticeConfig, turn: Turn) -> PracticeReport:
    spelt = cast("JsonObject", config.model_dump(mode="json", exclude_defaults=True))
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in base_name(config.environment))
    run_id = f"{name}-{config.seed}-{turn.mark or digest(spelt)[:8]}"
    observers = (_Teller(turn.tell),)
    if turn.mark is not None and (known := _known(records, run_id)) is not None:
        return await work_on(records, run_id, known, observers, _never, resumed=True)
    begun = pinned(records, config)
    return await work_on(records, run_id, begun, observers, _never, resumed=False)


def _known(records: Records, run_id: str) -> PracticeConfig | None:
    """The config of the run as it was begun; None where it was not."""
    try:
        return current_config(records, practice_run(records, run_id))
    except UnknownNameError:
        return None


def _never() -> bool:
    """A node is stopped by cancelling it, which leaves a run to go on with."""
    return False


class _Teller:
    """Streams a run's events as plain values. Implements `protocols.Observer`."""

    def __init__(self, tell: Callable[[JsonObject], None]) -> None:
        self._tell = tell

    def notify(self, event: Event) -> None:
        """Called after the event is on record."""
        place: JsonObject = {"run_id": event.run_id, "round": event.round, "slot": event.slot}
        self._tell({"event": event.kind, **place, **event.payload()})
