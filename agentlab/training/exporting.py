"""Exports: the attempts of runs, through a view, in a format, into a new folder.

    DIR/data.jsonl         the rows, columns as the trainer wants them
    DIR/provenance.jsonl   line for line, where each row comes from and under which terms
    DIR/advantages.jsonl   line for line, where an estimator is named
    DIR/refusals.jsonl     what was left out, and why
    DIR/export.json        what was asked, and the figures

Rollouts are read a batch at a time and written as they come; the folder appears whole or not at
all. Whoever trains on it must be able to repeat it: the same records and request give the same
bytes.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple, TextIO

from pydantic import Field

from agentlab.errors import (
    NothingToExportError,
    UnknownNameError,
    UsageError,
    WorkspaceError,
)
from agentlab.records import Records
from agentlab.records.trajectories import Outline
from agentlab.training.estimating import ESTIMATORS, Estimating
from agentlab.training.formats.chat import MsSwift, OpenAIChat, TrlChat
from agentlab.training.formats.format import Body, Format
from agentlab.training.formats.trl import TrlDpo, TrlGrpoReplay, TrlKto, TrlSft, tokens_of
from agentlab.training.refusals import Refusal, RefusedError, tallied
from agentlab.training.rollouts import Rollout, rollouts
from agentlab.training.samples import (
    Demonstration,
    Group,
    Kind,
    Preference,
    Sample,
    Verdict,
)
from agentlab.training.views.groups import groups
from agentlab.training.views.masked import masked
from agentlab.training.views.pairs import pairs
from agentlab.training.views.successes import cutoffs, successes
from agentlab.training.views.verdicts import verdicts
from agentlab.types import Frozen
from agentlab.version import __version__

ViewName = Literal["successes", "masked", "pairs", "verdicts", "groups"]

FORMATS: dict[str, Format] = {
    each.name: each
    for each in (OpenAIChat(), TrlChat(), MsSwift(), TrlSft(), TrlDpo(), TrlKto(), TrlGrpoReplay())
}
VIEWS: dict[ViewName, Kind] = {
    "successes": "demonstration",
    "masked": "demonstration",
    "pairs": "preference",
    "verdicts": "verdict",
    "groups": "group",
}
"""Each view with the kind of sample that it gives; a format takes the first that suits it."""


class ExportRequest(NamedTuple):
    """What to export."""

    run_ids: tuple[str, ...]
    format: str
    view: ViewName | None = None
    """None for the first that the format takes."""
    terms: tuple[tuple[str, str], ...] = ()
    """Model to the terms under which its output may be trained on; others' unknown terms refuse."""
    judged: bool = False
    """Whether a judge's verdicts may label rows."""
    template: str | None = None
    """Only attempts at tasks whose template holds this text."""
    estimator: str | None = None
    """Advantages within groups are written besides, by this rule."""


class ExportReport(Frozen):
    """What was written."""

    out: str
    format: str
    view: str
    runs: tuple[str, ...]
    rollouts: int
    """Attempts that were looked at."""
    samples: int
    rows: int
    refused: dict[str, int] = Field(default_factory=dict[str, int])
    """By reason."""
    groups: int = 0
    alike: int = 0
    """Of the groups, those whose rewards are all the same: they teach a comparison nothing."""
    clean: int = 0
    forks: int = 0
    """Rows of tokens that an attempt begins with, and those that it had to begin anew."""
    tokens: int = 0
    trained: int = 0
    """Of the tokens, those that count in the loss."""
    library_versions: dict[str, int] = Field(default_factory=dict[str, int])
    """Rollouts by the version of the library that they were offered."""
    rounds: dict[int, int] = Field(default_factory=dict[int, int])
    """Rollouts by round: how old what is exported is."""
    estimator: str | None = None
    """The rule of `advantages.jsonl` and its constants."""
    agentlab: str = __version__


def export(records: Records, request: ExportRequest, out: Path) -> ExportReport:
    """Write an export.

    Args:
        records: of the workspace.
        request: what to write.
        out: the folder, which must not exist yet.

    Raises:
        UnknownNameError: there is no such format, view or run.
        UsageError: the view gives what the format cannot take.
        NothingToExportError: nothing was left to write.
        WorkspaceError: the folder exists, or cannot be written.
    """
    spelling = FORMATS.get(request.format)
    if spelling is None:
        raise UnknownNameError("format", request.format, FORMATS)
    view = _view_for(spelling, request.view)
    _check_estimator(view, request.estimator)
    if out.exists():
        raise WorkspaceError(f"{str(out)!r} exists; name a new folder with --out.")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        report = _Writer(records, request, spelling, view, part, str(out)).write()
        part.rename(out)
    except OSError as error:
        raise WorkspaceError(
            f"The export cannot be written to {str(out)!r} ({error.strerror}); make room, or name "
            "another folder with --out."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return report


def _view_for(spelling: Format, wanted: ViewName | None) -> ViewName:
    if wanted is None:
        return next(name for name, kind in VIEWS.items() if kind in spelling.takes)
    if wanted not in VIEWS:
        raise UnknownNameError("view", wanted, VIEWS)
    if VIEWS[wanted] not in spelling.takes:
        fitting = [name for name, kind in VIEWS.items() if kind in spelling.takes]
        raise UsageError(
            f"The format {spelling.name!r} cannot hold what the view {wanted!r} gives; take "
            f"{' or '.join(repr(name) for name in fitting)}."
        )
    return wanted


def _check_estimator(view: ViewName, name: str | None) -> None:
    if name is None:
        return
    if name not in ESTIMATORS:
        raise UnknownNameError("estimator", name, ESTIMATORS)
    if VIEWS[view] != "group":
        raise UsageError(
            f"The estimator {name!r} compares within groups, which the view {view!r} does not "
            "give; leave --estimator out, or take the view 'groups'."
        )


class _Writer:
    """One export under way."""

    def __init__(
        self,
        records: Records,
        request: ExportRequest,
        spelling: Format,
        view: ViewName,
        folder: Path,
        out: str,
    ) -> None:
        self._records = records
        self._request = request
        self._format = spelling
        self._view: ViewName = view
        self._folder = folder
        self._out = out
        self._terms = dict(request.terms)
        self._estimating = Estimating(request.estimator) if request.estimator else None
        self._files: dict[str, TextIO] = {}
        self._refusals: list[Refusal] = []
        self._seen: Counter[str] = Counter()
        self._versions: Counter[str] = Counter()
        self._rounds: Counter[int] = Counter()

    def write(self) -> ExportReport:
        """Write every file.

        Raises:
            NothingToExportError: nothing is left to write; the text says why.
        """
        with ExitStack() as files:
            names = ["data", "provenance"] + ["advantages"] * (self._estimating is not None)
            self._files = {
                name: files.enter_context(
                    open(self._folder / f"{name}.jsonl", "w", encoding="utf-8")
                )
                for name in names
            }
            for sample in self._samples():
                self._spell(sample)
        refused = tallied(self._refusals)
        if not self._seen["rows"]:
            raise NothingToExportError(_nothing(self._seen["rollouts"], refused))
        with open(self._folder / "refusals.jsonl", "w", encoding="utf-8") as file:
            for refusal in self._refusals:
                _line(file, dict(refusal._asdict()))
        report = ExportReport(
            out=self._out,
            rollouts=self._seen["rollouts"],
            samples=self._seen["samples"],
            rows=self._seen["rows"],
            format=self._format.name,
            view=self._view,
            estimator=self._estimating.estimator.spelt if self._estimating else None,
            runs=self._request.run_ids,
            refused=refused,
            library_versions=dict(sorted(self._versions.items())),
            rounds=dict(sorted(self._rounds.items())),
        ).model_copy(update={name: self._seen[name] for name in _COUNTED})
        (self._folder / "export.json").write_text(
            report.model_dump_json(indent=2, exclude={"out"}) + "\n", encoding="utf-8"
        )
        return report

    def _samples(self) -> Iterator[Sample]:
        outline = [
            row
            for run_id in self._request.run_ids
            for row in self._records.trajectories.outline(run_id)
        ]
        makers: dict[ViewName, Callable[[Sequence[Outline]], Iterator[Sample]]] = {
            "successes": self._successes,
            "masked": lambda rows: masked(self._successes(rows)),
            "pairs": lambda rows: (p for g in self._groups(rows) for p in pairs(g)),
            "verdicts": lambda _: verdicts(self._rollouts()),
            "groups": self._groups,
        }
        return makers[self._view](outline)

    def _rollouts(self) -> Iterator[Rollout]:
        """Those that may be trained on, as the user asked."""
        for rollout in rollouts(self._records, self._request.run_ids):
            wanted = self._request.template
            if wanted is not None and wanted not in rollout.task.template:
                continue
            self._seen["rollouts"] += 1
            why = self._unfit(rollout)
            if why is not None:
                self._refusals.append(Refusal(rollout.id, *why))
                continue
            yield rollout

    def _unfit(self, rollout: Rollout) -> tuple[str, str] | None:
        if rollout.score.source == "judge" and not self._request.judged:
            return "a judge's verdict", "no verifier scored it; --judged takes it all the same"
        for call in rollout.calls:
            if call.terms is None and call.model not in self._terms:
                return (
                    "unknown terms",
                    f"say with --terms '{call.model}=…' under which its output may be trained on",
                )
        return None

    def _successes(self, outline: Sequence[Outline]) -> Iterator[Demonstration]:
        lengths: dict[str, list[int]] = {}
        for row in outline:
            if row.solved:
                lengths.setdefault(row.task_id, []).append(row.steps)
        return successes(self._rollouts(), cutoffs(lengths))

    def _groups(self, outline: Sequence[Outline]) -> Iterator[Group]:
        sizes = Counter(row.group_id for row in outline)
        return groups(self._rollouts(), sizes)

    def _spell(self, sample: Sample) -> None:
        members = _members(sample)
        if isinstance(sample, Group):
            self._seen["groups"] += 1
            self._seen["alike"] += len(set(sample.rewards)) < 2
        try:
            # All rows of a sample or none: half of one says something else.
            rows = list(self._format.rows(sample))
        except RefusedError as refused:
            name = sample.id if isinstance(sample, Group) else members[0].id
            self._refusals.append(Refusal(name, refused.reason, refused.detail))
            return
        self._seen["samples"] += 1
        for member in members:
            self._versions[_library(member)] += 1
            self._rounds[member.round] += 1
        by_id = {member.id: member for member in members}
        advantages: dict[str, Body] = {}
        if self._estimating is not None and isinstance(sample, Group):
            advantages = self._estimating.of(sample)
        begun: set[str] = set()
        for row in rows:
            whose = row.get("rollout_id")
            chosen = [by_id[whose]] if isinstance(whose, str) else members
            _line(self._files["data"], row)
            _line(self._files["provenance"], self._origin(chosen))
            if chosen[0].id in advantages:
                _line(self._files["advantages"], advantages[chosen[0].id])
            self._count(row, first=chosen[0].id not in begun)
            begun.add(chosen[0].id)

    def _count(self, row: Body, *, first: bool) -> None:
        self._seen["rows"] += 1
        tokens = tokens_of(row)
        if tokens is not None:
            self._seen["tokens"] += tokens.all
            self._seen["trained"] += tokens.trained
            self._seen["clean" if first else "forks"] += 1

    def _origin(self, members: Sequence[Rollout]) -> Body:
        first = members[0]
        terms = {
            call.model: call.terms or self._terms.get(call.model)
            for m in members
            for call in m.calls
        }
        return {
            "rollouts": [member.id for member in members],
            "run": first.run_id,
            "round": first.round,
            "group": first.group_id,
            "task": first.task.id,
            "source": first.task.source,
            "environment": first.task.environment,
            "rewards": [member.reward for member in members],
            "scored_by": first.score.source,
            "models": sorted(terms),
            "adapters": sorted({c.adapter for m in members for c in m.calls if c.adapter}),
            "terms": dict(sorted(terms.items())),
            "trainable": True,
            "library": _library(first),
            "skills_used": list(first.skills_used),
            "insights": list(first.insights),
            "prompts": sorted({c.prompt_hash for m in members for c in m.calls if c.prompt_hash}),
        }


_COUNTED = ("groups", "alike", "clean", "forks", "tokens", "trained")


def _members(sample: Sample) -> tuple[Rollout, ...]:
    match sample:
        case Preference():
            return (sample.chosen, sample.rejected)
        case Group():
            return sample.rollouts
        case Demonstration() | Verdict():
            return (sample.rollout,)


def _library(rollout: Rollout) -> str:
    return next((c.library_version for c in rollout.calls if c.library_version), "") or "none"


def _nothing(looked_at: int, refused: dict[str, int]) -> str:
    if not looked_at:
        return (
            "There is nothing to export: the runs hold no completed practice attempt of that kind."
        )
    reasons = "; ".join(f"{number} {reason}" for reason, number in refused.items())
    told = f" ({reasons})" if reasons else " (none of them is what the view looks for)"
    return f"None of {looked_at} attempts can be exported{told}."


def _line(file: TextIO, row: object) -> None:
    file.write(json.dumps(row, ensure_ascii=True, separators=(",", ":"), allow_nan=False) + "\n")
