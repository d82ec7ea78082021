"""Exports: the attempts of runs, through a view, in a format, into a new folder.

    DIR/data.jsonl         the rows, columns as the trainer wants them (data.parquet for verl)
    DIR/provenance.jsonl   line for line, where each row comes from and under which terms
    DIR/advantages.jsonl   line for line, where an estimator or a view gives them
    DIR/refusals.jsonl     what was left out, and why
    DIR/export.json        what was asked, the figures, and the digest of the data

Rollouts are read a batch at a time and written as they come; the folder appears whole or not at
all. Whoever trains on it must be able to repeat it: the same records and request give the same
bytes.
"""

from __future__ import annotations

import gc
import hashlib
import shutil
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from agentlab.config import CHAT_KINDS
from agentlab.errors import NothingToExportError, UnknownNameError, UsageError, WorkspaceError
from agentlab.models.vocabulary import Vocabulary
from agentlab.records import Records
from agentlab.training.choosing import STEPLESS, VIEWS, Choosing, ViewName, to_know
from agentlab.training.estimating import ESTIMATORS, Estimating
from agentlab.training.formats.catalogue import FORMATS, format_of
from agentlab.training.formats.format import Body, Format, HasFilesBeside
from agentlab.training.formats.traces import holds_ids, traced_tokens, whose
from agentlab.training.formats.trl import tokens_of
from agentlab.training.provenance import ADVANTAGES, LINE_BY_LINE, ORIGINS, origin
from agentlab.training.refusals import Refusal, RefusedError, tallied
from agentlab.training.reports import ExportReport, Tally
from agentlab.training.rollouts import Rollout, rollouts
from agentlab.training.samples import Group, Sample, members_of
from agentlab.training.tokens import Spoken, check_ids, spoken_by
from agentlab.training.writing import Lines, Sink, open_sink
from agentlab.types import SHARED, Scope, ScoreSource

__all__ = ["FORMATS", "VIEWS", "ExportReport", "ExportRequest", "ViewName", "export"]

RATIOS_LATER = "said by the trainer: they need the policy that is trained"


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
    licence: str = ""
    """Of what the environment shows; empty is not known."""
    vocabulary: Vocabulary | None = None
    """Of the model that was asked: ids are checked with it, and rows of another are refused."""
    rounds: tuple[int, int] | None = None
    """Only rounds from the first up to, and without, the second, counted from 0."""
    scope: Scope = SHARED
    """Whose attempts: what is a tenant's or a user's leaves only where they are named."""


def export(records: Records, request: ExportRequest, out: Path) -> ExportReport:
    """Write an export.

    Args:
        records: of the workspace.
        request: what to write.
        out: the folder, which must not exist yet.

    Raises:
        UnknownNameError: there is no such format, view or run.
        UsageError: the view gives what the format cannot take, or the folder exists.
        NothingToExportError: nothing was left to write.
        MissingExtraError: the format needs a package that is not installed.
        WorkspaceError: the folder cannot be written.
    """
    spelling = format_of(request.format)
    view = _view_for(spelling, request.view)
    _check_estimator(view, request.estimator)
    if out.exists():
        raise UsageError(f"{str(out)!r} exists; name a new folder with --out.")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        with _uncollected():
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


@contextmanager
def _uncollected() -> Generator[None]:
    """Without the collector of cycles: rollouts hold none, and it would walk all of each batch."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _view_for(spelling: Format, wanted: ViewName | None) -> ViewName:
    fitting: list[ViewName] = [name for name, kind in VIEWS.items() if kind in spelling.takes]
    if wanted is None:
        return fitting[0]
    if wanted not in VIEWS:
        raise UnknownNameError("view", wanted, VIEWS)
    if wanted not in fitting:
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
    if view == "replayed":
        raise UsageError(
            "The view 'replayed' gives advantages by its own rule; leave --estimator out."
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
        self._terms = _by_name(request.terms)
        self._licence = request.licence or _licence(records, request.run_ids)
        self._estimating = Estimating(request.estimator) if request.estimator else None
        self._refusals: list[Refusal] = []
        self._seen: Counter[str] = Counter()
        self._tally = Tally()
        self._spoken: Spoken | None = None
        self._rule = ""
        self._holds_ids = False
        if request.vocabulary is not None:
            known = request.vocabulary
            self._spoken = Spoken(known.tokenizer_sha256, known.chat_template_sha256)

    def write(self) -> ExportReport:
        """Write every file.

        Raises:
            NothingToExportError: nothing is left to write; the text says why.
        """
        data = self._folder / f"data.{self._format.storage}"
        rated = self._estimating is not None or self._view == "replayed"
        with ExitStack() as files:
            sink = files.enter_context(open_sink(data, self._format.columns))
            beside = files.enter_context(Lines(self._folder / ORIGINS))
            values = files.enter_context(Lines(self._folder / ADVANTAGES)) if rated else None
            choosing = Choosing(
                self._records,
                self._request.run_ids,
                self._rollouts,
                self._unfit,
                self._refusals,
                self._request.rounds,
                self._request.scope,
            )
            for sample in choosing.samples(self._view):
                self._spell(sample, sink, beside, values)
        refused = tallied(self._refusals)
        if not self._seen["rows"]:
            raise NothingToExportError(_nothing(self._seen["rollouts"], refused, self._refusals))
        with Lines(self._folder / "refusals.jsonl") as lines:
            for refusal in self._refusals:
                lines.add(dict(refusal._asdict()))
        return self._report(data, refused)

    def _report(self, data: Path, refused: dict[str, int]) -> ExportReport:
        spoken = self._spoken or Spoken(None, None)
        rule = self._estimating.estimator.spelt if self._estimating else self._rule or None
        report = ExportReport(
            out=self._out,
            rollouts=self._seen["rollouts"],
            samples=self._seen["samples"],
            rows=self._seen["rows"],
            format=self._format.name,
            view=self._view,
            data=data.name,
            data_sha256=_sha256(data),
            beside_sha256={
                path.name: _sha256(path)
                for name in LINE_BY_LINE
                if (path := self._folder / name).is_file()
            },
            estimator=rule,
            runs=self._request.run_ids,
            scope=self._request.scope.path,
            refused=refused,
            tokenizer_sha256=spoken.tokenizer,
            chat_template_sha256=spoken.template,
            licence=self._licence,
            notes=to_know(self._view, self._format.name),
            ratios=RATIOS_LATER if self._holds_ids else "none: the rows hold no tokens",
        ).model_copy(update={name: self._seen[name] for name in _COUNTED})
        report = self._tally.onto(report)
        if isinstance(self._format, HasFilesBeside):
            for name, text in self._format.beside(report).items():
                (self._folder / name).write_text(text, encoding="utf-8")
        (self._folder / "export.json").write_text(
            report.model_dump_json(indent=2, exclude={"out"}) + "\n", encoding="utf-8"
        )
        return report

    def _rollouts(self, among: Collection[str] | None = None) -> Iterator[Rollout]:
        """Those that may be trained on, as the user asked."""
        asked = self._request
        steps = self._view not in STEPLESS
        for rollout in rollouts(
            self._records, asked.run_ids, asked.rounds, steps=steps, scope=asked.scope, among=among
        ):
            wanted = self._request.template
            if wanted is not None and wanted not in rollout.task.template:
                continue
            self._seen["rollouts"] += 1
            unsaid = [call.model for call in rollout.calls if call.terms is None]
            why = self._unfit(rollout.score.source, unsaid)
            if why is not None:
                self._refusals.append(Refusal(rollout.id, *why))
                continue
            if self._request.vocabulary is not None:
                yield check_ids(rollout, self._request.vocabulary)
            else:
                yield rollout

    def _unfit(self, source: ScoreSource, unsaid: Sequence[str]) -> tuple[str, str] | None:
        """Why what was scored so, by models whose terms are not on record, is refused."""
        if source == "judge" and not self._request.judged:
            return "a judge's verdict", "no verifier scored it; --judged takes it all the same"
        for model in unsaid:
            if model not in self._terms:
                return (
                    "unknown terms",
                    f"say with --terms '{model}=…' under which its output may be trained on",
                )
        return None

    def _spell(self, sample: Sample, sink: Sink, beside: Lines, values: Lines | None) -> None:
        members = members_of(sample)
        if isinstance(sample, Group):
            alone = self._estimating is not None and self._estimating.alone
            sample = sample._replace(alone=alone)
            self._seen["groups"] += 1
            self._seen["alike"] += not alone and len(set(sample.rewards)) < 2
        try:
            # All rows of a sample or none: half of one says something else.
            rows = list(self._format.rows(sample))
            if any(holds_ids(row) or tokens_of(row) is not None for row in rows):
                self._check_spoken(members)
                self._holds_ids = True
            rated = self._rated(sample)
        except RefusedError as refused:
            name = sample.id if isinstance(sample, Group) else members[0].id
            self._refusals.append(Refusal(name, refused.reason, refused.detail))
            return
        self._seen["samples"] += 1
        self._tally.add(members)
        by_id = {member.id: member for member in members}
        begun: set[str] = set()
        for row in rows:
            shown = by_id.get(whose(row) or "")
            chosen = members if shown is None else (shown,)
            sink.add(row)
            beside.add(origin(chosen, terms=self._terms, licence=self._licence))
            if values is not None and rated:
                values.add(_line(chosen, rated))
            self._count(row, first=chosen[0].id not in begun)
            begun.add(chosen[0].id)

    def _rated(self, sample: Sample) -> dict[str, Body]:
        """Advantages by rollout: by the view's own rule, or the estimator that was asked for."""
        if not isinstance(sample, Group):
            return {}
        if sample.advantages is not None:
            self._rule = sample.rule
            return {
                member.id: {"estimator": sample.rule, "value": value}
                for member, value in zip(sample.rollouts, sample.advantages, strict=True)
            }
        if self._estimating is None:
            return {}
        try:
            return self._estimating.of(sample)
        except UsageError as error:
            raise RefusedError("singleton group", str(error)) from None

    def _check_spoken(self, members: tuple[Rollout, ...]) -> None:
        """Refuse what was recorded under another tokenizer or template than the rows so far.

        Raises:
            RefusedError: it was.
        """
        for member in members:
            for call in member.calls:
                found = spoken_by(call)
                if self._spoken is None:
                    self._spoken = found
                if found != self._spoken:
                    raise RefusedError(
                        "mixed templates",
                        f"tokenizer {_short(found.tokenizer)} and chat template "
                        f"{_short(found.template)}, where the rows so far have "
                        f"{_short(self._spoken.tokenizer)} and {_short(self._spoken.template)}",
                    )

    def _count(self, row: Body, *, first: bool) -> None:
        self._seen["rows"] += 1
        tokens, anew = tokens_of(row), 0
        if tokens is None and (traced := traced_tokens(row)) is not None:
            tokens, anew = traced
        if tokens is not None:
            self._seen["tokens"] += tokens.all
            self._seen["trained"] += tokens.trained
            self._seen["clean" if first else "forks"] += 1
            self._seen["forks"] += anew


def _by_name(terms: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Terms by the name that is on record: `openai:NAME` is recorded as the `NAME` it was asked by.

    A name that is given as it is recorded comes first.
    """
    spoken = ((model.partition(":"), text) for model, text in terms)
    asked = {name: text for (kind, _, name), text in spoken if kind in CHAT_KINDS and name}
    return {**asked, **dict(terms)}


_COUNTED = ("groups", "alike", "clean", "forks", "tokens", "trained")


def _line(chosen: Sequence[Rollout], rated: dict[str, Body]) -> Body:
    """What stands beside a row: its rollout's advantage; of a row for a group, each one's."""
    if len(chosen) == 1:
        return rated[chosen[0].id]
    name = next(iter(rated.values()))["estimator"]
    values: Body = {
        id_: {key: value for key, value in each.items() if key != "estimator"}
        for id_, each in rated.items()
    }
    return {"estimator": name, "rollouts": values}


def _licence(records: Records, run_ids: Sequence[str]) -> str:
    """What the runs' configs say of the licence, where they say the same."""
    said: set[str] = set()
    for run_id in run_ids:
        chosen = records.runs.get(run_id).config.get("export")
        said.add(str(chosen.get("licence") or "") if isinstance(chosen, dict) else "")
    return said.pop() or "unknown" if len(said) == 1 else "unknown"


def _short(digest: str | None) -> str:
    return digest[:8] if digest else "unknown"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _nothing(looked_at: int, refused: dict[str, int], refusals: Sequence[Refusal]) -> str:
    if not looked_at and not refused:
        return (
            "There is nothing to export: the runs hold no completed practice attempt of that kind."
        )
    # No folder is left to look the details up in, and they name what helps.
    details = {refusal.reason: refusal.detail for refusal in reversed(refusals)}
    reasons = "; ".join(
        f"{number} {reason}: {details[reason]}" for reason, number in refused.items()
    )
    told = f" ({reasons})" if reasons else " (none of them is what the view looks for)"
    return f"None of {looked_at} attempts can be exported{told}."
