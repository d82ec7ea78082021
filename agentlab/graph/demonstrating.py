"""Demonstrations in a run: read once, proposed in its first round, carried out on its record.

The files are read when the run begins, and what is in them is kept in its directory, so that
`resume` needs none of them. Nothing that was shown is believed: its task is checked, its attempt is
scored by the task's verifier and counts in no rate, and what a curator makes of it is admitted or
refused like anything else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from agentlab.config import PracticeConfig
from agentlab.errors import ConfigError
from agentlab.graph.practice import Practice
from agentlab.proposers.demonstrated import DemonstrationProposer
from agentlab.protocols import Environment, ProposalContext, ReadsRecordings
from agentlab.records.files import replace_text
from agentlab.types import DEMONSTRATED, Demonstration, PastAttempt, Task

logger = logging.getLogger(__name__)

FILE = "demonstrations.json"
EXECUTOR = "demonstrated"
_SHOWN = TypeAdapter(list[Demonstration])


def read_demonstrations(config: PracticeConfig, environment: Environment) -> list[Demonstration]:
    """What is in the files that a config names.

    Raises:
        ConfigError: a file cannot be read, or the environment understands no recordings.
    """
    if not config.demonstrations:
        return []
    if not isinstance(environment, ReadsRecordings):
        raise ConfigError(
            f"The environment {config.environment!r} understands no recordings; leave "
            "'demonstrations' out."
        )
    found: list[Demonstration] = []
    for name in config.demonstrations:
        try:
            data = Path(name).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"The demonstration {name!r} cannot be read ({error.strerror}); name a file that "
                "is there."
            ) from None
        found.append(environment.recorded(Path(name).name, data))
    return found


def _kept(practice: Practice) -> list[Demonstration]:
    """Those of the run, from its directory once it has begun."""
    place = practice.records.workspace.run_directory(practice.run_id, create=True) / FILE
    try:
        return _SHOWN.validate_json(place.read_bytes())
    except (OSError, ValidationError):
        found = read_demonstrations(practice.config, practice.environment)
    told = cast("JsonValue", _SHOWN.dump_python(found, mode="json"))
    replace_text(place, f"{json.dumps(told, indent=1, ensure_ascii=False)}\n")
    return found


async def shown_tasks(practice: Practice, context: ProposalContext) -> Sequence[Task]:
    """A task for each demonstration, in the first round; see `DemonstrationProposer`."""
    if context.round or not practice.config.demonstrations:
        return ()
    found = _kept(practice)
    for each in found:
        for said in each.left_out:
            logger.warning("Of the demonstration %s was left out: %s", each.name, said)
    proposer = DemonstrationProposer(found, box=practice.config.box)
    tasks = await proposer.propose(context)
    for reason, count in sorted(proposer.dropped.items()):
        if count:
            logger.warning("%d demonstrations gave no task: %s.", count, reason)
    return tasks


def shown_attempts(practice: Practice) -> list[PastAttempt]:
    """What was shown and did what its task asks for, as a curator reads it."""
    if not practice.config.demonstrations:
        return []
    found: list[PastAttempt] = []
    recorded = set(practice.records.attempts.recorded_ids(practice.run_id, 0))
    for spec in practice.records.attempts.planned(practice.run_id, 0):
        if spec.executor != EXECUTOR or spec.id not in recorded:
            continue
        outcome = practice.records.trajectories.outcome(spec.id)
        if outcome.score.success and outcome.trajectory is not None:
            calls = len(outcome.trajectory.calls)
            found.append(PastAttempt(spec.task, spec.id, True, outcome.trajectory, calls))
    return found


def is_shown(task: Task) -> bool:
    """Whether a task was made of a demonstration."""
    return task.source == DEMONSTRATED
