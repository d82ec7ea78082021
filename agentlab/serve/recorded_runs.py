"""What an outside agent's calls become: attempts of a run of kind "recorded", in our own form.

A rollout is a task, an attempt one try at it; both are named by whoever runs the agent. Calls are
on the disk before their replies are passed on, so that a proxy that is killed goes on where it was,
and an attempt is on record, whole, before its end is acknowledged. What an agent was shown beside
its calls is not known, so a recorded attempt has no steps; and a call that could not be read makes
an attempt worth nothing to training, which it then says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, ValidationError

from agentlab.errors import RecordsError, UsageError
from agentlab.models.redaction import Redactor, environment_secrets
from agentlab.records import Records
from agentlab.types import (
    AttemptOutcome,
    AttemptSpec,
    EnvironmentRef,
    Frozen,
    JsonObject,
    ModelCall,
    Observation,
    Score,
    ScoreSource,
    Split,
    SplitRule,
    Task,
    Trajectory,
    Usage,
    derive_id,
)
from agentlab.version import __version__

KIND = "recorded"
FOLDER = "recording"
"""In the run's directory: calls of attempts that have not ended."""


class Ending(Frozen):
    """How whoever runs the agent says that an attempt ended."""

    reward: float | None = Field(default=None, ge=0, le=1)
    """None is unknown, and not 0."""
    success: bool | None = None
    """Whether the task was done; where only the reward is given, 1 is success and less is not."""
    source: ScoreSource = "verifier"
    """Who says so: only a judge's verdict is marked as one."""
    explanation: str = ""
    instruction: str = ""
    """What the task was; the first user message where it is not given."""
    environment: str = KIND
    template: str = ""
    """The kind of task; its rollout's name where it is not given."""
    split: Split = "practice"
    """What is for `dev` or `heldout` is recorded and never exported."""
    answer: str | None = None

    @property
    def score(self) -> Score:
        """As a score."""
        success = self.success
        if success is None and self.reward is not None:
            success = self.reward == 1
        value = self.reward
        if value is None and success is not None:
            value = float(success)
        return Score(value=value, success=success, source=self.source, explanation=self.explanation)


class FileEnding(Ending):
    """The same as a line of a file of endings."""

    rollout: str
    attempt: str


class Place(NamedTuple):
    """An attempt as its address names it."""

    rollout: str
    attempt: str


class _Kept(Frozen):
    """A line of an attempt's file."""

    kind: Literal["call", "lost"]
    place: tuple[str, str]
    call: ModelCall | None = None
    why: str = ""


class RecordedRun:
    """The attempts of one recorded run. One process writes it at a time.

    Args:
        records: of the workspace.
        run_id: made where there is none of that name.
        upstream: the endpoint's address, without secrets.

    Raises:
        UsageError: a run of that name is no recorded one.
        RecordsError: what was kept of attempts under way cannot be read.
    """

    def __init__(self, records: Records, run_id: str, upstream: str) -> None:
        self._records = records
        self.run_id = run_id
        config: JsonObject = {"kind": KIND, "upstream": upstream}
        if run_id in records.runs.ids():
            if records.runs.get(run_id).config.get("kind") != KIND:
                raise UsageError(
                    f"The run {run_id!r} was not recorded by `agentlab record`; give another --run."
                )
        else:
            records.runs.create(run_id, config=config, versions={"agentlab": __version__}, seed=0)
        records.runs.set_status(run_id, "running")
        self._folder = records.workspace.run_directory(run_id, create=True) / FOLDER
        self._folder.mkdir(exist_ok=True)
        self._redactor = Redactor(environment_secrets())
        self._open: dict[Place, list[ModelCall]] = {}
        self._lost: dict[Place, str] = {}
        self._ended = {row.attempt_id for row in records.attempts.all(run_id)}
        self._slots = len(self._ended)
        self._read()

    @property
    def under_way(self) -> tuple[Place, ...]:
        """Attempts with calls that have not ended."""
        return tuple(sorted({*self._open, *self._lost}))

    def has_ended(self, place: Place) -> bool:
        """Whether the attempt is on record."""
        return self.attempt_id(place) in self._ended

    def attempt_id(self, place: Place) -> str:
        """The attempt's id, from its names alone."""
        return derive_id("attempt", self.run_id, *place)

    def add(self, place: Place, call: ModelCall) -> None:
        """Keep a call; it is on the disk when this returns."""
        self._append(place, _Kept(kind="call", place=(place.rollout, place.attempt), call=call))
        self._open.setdefault(place, []).append(call)

    def lose(self, place: Place, why: str) -> None:
        """Remember that a call of the attempt could not be recorded, and why."""
        self._append(place, _Kept(kind="lost", place=(place.rollout, place.attempt), why=why))
        self._lost[place] = why

    def end(self, place: Place, ending: Ending) -> bool:
        """Put an attempt on record; False where it was there already, and nothing changes.

        Raises:
            RecordsError: it cannot be written.
        """
        if self.has_ended(place):
            return False
        told = self._redactor.json(ending.model_dump(mode="json", include=set(Ending.model_fields)))
        ending = Ending.model_validate(told)
        calls = tuple(self._open.get(place, ()))
        spec = self._spec(place, ending, calls)
        lost = self._lost.get(place)
        if spec.task.split == "practice":
            self._admit(spec.task)
        usage = Usage(
            attempts=1,
            tokens=sum(call.tokens for call in calls),
            usd=sum(call.usd for call in calls),
        )
        outcome = AttemptOutcome(
            attempt_id=spec.id,
            status="completed" if lost is None else "infrastructure_failure",
            error=None if lost is None else f"a call was not recorded: {lost}",
            trajectory=Trajectory(
                initial=Observation(text=spec.task.instruction),
                model_calls=calls,
                answer=ending.answer,
            ),
            score=ending.score,
            usage=usage,
            ending=KIND,
        )
        self._records.attempts.record(spec, outcome)
        self._ended.add(spec.id)
        self._slots += 1
        self._open.pop(place, None)
        self._lost.pop(place, None)
        self._path(place).unlink(missing_ok=True)
        return True

    def ended_as(self, place: Place, ending: Ending) -> bool:
        """Whether an attempt that has ended is on record with this verdict."""
        kept = self._records.trajectories.outcome(self.attempt_id(place)).score
        told = ending.score
        return (kept.value, kept.success, kept.source) == (told.value, told.success, told.source)

    def end_from(self, path: Path) -> int:
        """End the attempts that a file of JSON lines tells of; how many there were.

        Raises:
            UsageError: a line is no ending, or tells another than is on record; names it. In the
                latter case all others have ended.
        """
        count = 0
        others: list[int] = []
        for number, line in enumerate(_lines(path), start=1):
            try:
                found = FileEnding.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                raise UsageError(
                    f"Line {number} of {str(path)!r} tells of no attempt's end ({where}: "
                    f"{first['msg']}); write it as "
                    '\'{"rollout": "a", "attempt": "0", "reward": 1.0}\'.'
                ) from None
            place = Place(found.rollout, found.attempt)
            fresh = self.end(place, found)
            count += fresh
            if not fresh and not self.ended_as(place, found):
                others.append(number)
        if others:
            raise UsageError(
                f"Line {others[0]} of {str(path)!r} tells another end of its attempt than is on "
                f"record, which stays ({len(others)} such lines); see who ended it before, or "
                "record under another run."
            )
        return count

    def close(self) -> None:
        """Say that nobody records any more; attempts under way stay so."""
        self._records.runs.set_status(self.run_id, "finished")

    def _spec(self, place: Place, ending: Ending, calls: tuple[ModelCall, ...]) -> AttemptSpec:
        instruction = ending.instruction or self._redactor.text(_first_words(calls))
        task = Task(
            id=derive_id("task", self.run_id, place.rollout),
            environment=ending.environment,
            instruction=instruction,
            setup={},
            seed=0,
            template=ending.template or place.rollout,
            split=ending.split,
            source=KIND,
        )
        return AttemptSpec(
            id=self.attempt_id(place),
            run_id=self.run_id,
            round=0,
            # The order in which attempts ended: an outside agent's is not ours to decide.
            slot=self._slots,
            kind="practice" if ending.split == "practice" else "evaluation",
            task=task,
            group_id=derive_id("group", self.run_id, place.rollout),
            seed=0,
            environment=EnvironmentRef(name=ending.environment),
            executor=KIND,
        )

    def _admit(self, task: Task) -> None:
        rows = self._records.tasks.rows(self.run_id, 0)
        if any(row.task.id == task.id for row in rows):
            return
        first = max((row.position for row in rows), default=-1) + 1
        self._records.tasks.add_proposals(self.run_id, 0, [(task, None)], SplitRule(), first=first)

    def _path(self, place: Place) -> Path:
        return self._folder / f"{self.attempt_id(place)}.jsonl"

    def _append(self, place: Place, kept: _Kept) -> None:
        line = self._redactor.text(kept.model_dump_json()) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        try:
            handle = os.open(self._path(place), flags, 0o600)
            try:
                _append(handle, line.encode())
            finally:
                os.close(handle)
        except OSError as error:
            raise RecordsError(
                f"A call cannot be kept in {str(self._folder)!r} ({error.strerror}); make room, "
                "and start the same command again."
            ) from error

    def _read(self) -> None:
        for path in sorted(self._folder.glob("*.jsonl")):
            _cut_off(path)
            for line in _lines(path):
                try:
                    kept = _Kept.model_validate_json(line)
                except ValidationError:
                    raise RecordsError(
                        f"{str(path)!r} is damaged, so calls of its attempt are lost; remove it, "
                        "and let that attempt be made again."
                    ) from None
                place = Place(*kept.place)
                if self.has_ended(place):
                    path.unlink(missing_ok=True)
                    break
                if kept.call is not None:
                    self._open.setdefault(place, []).append(kept.call)
                else:
                    self._lost[place] = kept.why


def _lines(path: Path) -> list[bytes]:
    """The lines of a file of JSON, whose texts hold what else ends a line, such as U+2028."""
    return [line for line in path.read_bytes().split(b"\n") if line.strip()]


def _append(handle: int, line: bytes) -> None:
    """Add a line, whole and on the disk, or nothing of it.

    Raises:
        OSError: it cannot be written.
    """
    before = os.fstat(handle).st_size
    try:
        rest = line
        while rest:
            # A disk with room for a part takes that part, and says nothing.
            rest = rest[os.write(handle, rest) :]
        os.fdatasync(handle)
    except OSError:
        os.ftruncate(handle, before)
        raise


def _cut_off(path: Path) -> None:
    """Take off a last line that a kill cut short: it was told to nobody, and more comes after."""
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb+") as file:
        told = file.read()
        if not told.endswith(b"\n"):
            file.truncate(told.rfind(b"\n") + 1)


def _first_words(calls: tuple[ModelCall, ...]) -> str:
    """What the first user message of an attempt says."""
    messages = calls[0].request.get("messages") if calls else None
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, Mapping) and message.get("role") == "user":
            return str(message.get("text") or "")
    return ""
