"""Looking around before anything is proposed: once for a run, kept in its directory.

An environment that can (`protocols.HasSurvey`) is asked in one start state of each family, drawn
from the run's seed like any other. What it found lies in `survey.json`, written after each look,
so that a run that goes on asks only for what is missing. Surveys are for proposers that ask a
model; where no model proposes, nobody looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from agentlab.graph.practice import Practice
from agentlab.proposers.grammar import SEED_SPACE, practice_seed
from agentlab.proposers.surroundings import families_of, without_goal
from agentlab.protocols import Environment, HasGrammar, HasSurvey, HasTasks
from agentlab.records.files import replace_text
from agentlab.types import Survey, Task, derive_seed

logger = logging.getLogger(__name__)

FILE = "survey.json"
_SURVEYS = TypeAdapter(list[Survey])


async def surveys(practice: Practice) -> Sequence[Survey]:
    """What looking around found, in the order of the families; empty where nobody can or may.

    A look that fails is told in the log and tried again when the run is resumed: proposing goes
    on without it, and what is really broken shows there.
    """
    if practice.model("proposer") is None:
        return ()
    environment = practice.make_environment()
    try:
        if not isinstance(environment, HasSurvey):
            return ()
        place = practice.records.workspace.run_directory(practice.run_id, create=True) / FILE
        found = {survey.start: survey for survey in kept(place)}
        for family, task in _starts(practice, environment):
            practice.go_on()
            if family in found:
                continue
            try:
                survey = await environment.survey(task)
            except Exception as error:  # foreign code: what it raises must not end the run
                logger.warning("Looking around from %r failed: %s", family or "the start", error)
                continue
            if survey is None:
                break
            found[family] = survey.model_copy(update={"start": family})
            text = json.dumps(
                cast("JsonValue", _SURVEYS.dump_python(list(found.values()), mode="json")),
                indent=1,
                ensure_ascii=False,
            )
            await asyncio.to_thread(replace_text, place, f"{text}\n")
        return list(found.values())
    finally:
        await environment.close()


def kept(place: Path) -> list[Survey]:
    """The surveys of an earlier process on the run; none where its file is not whole."""
    with contextlib.suppress(OSError, ValidationError):
        return _SURVEYS.validate_json(place.read_bytes())
    return []


def _starts(practice: Practice, environment: Environment) -> list[tuple[str, Task]]:
    """A start state of each family that may be practised in, or one where there are none."""
    rule = practice.split_rule
    rng = random.Random(derive_seed(practice.config.seed, "survey"))
    if isinstance(environment, HasGrammar):
        grammar = environment.grammar()
        return [
            (family, grammar.compose(None, family, practice_seed(rng.randrange(SEED_SPACE), rule)))
            for family in families_of(grammar, rule)
        ]
    if isinstance(environment, HasTasks):
        known = environment.tasks("practice", 1, rng.randrange(SEED_SPACE))
        return [("", without_goal(task)) for task in known[:1]]
    if isinstance(environment, HasSurvey):
        return [("", environment.start(practice_seed(rng.randrange(SEED_SPACE), rule)))]
    return []
