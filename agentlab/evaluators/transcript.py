"""What a judge is shown of an attempt, and where a quotation stands in it.

Every line of foreign text begins with our own label (`3 shown| …`), so that no text can pass for
another step, for the answer or for a remark of ours. Rewards, the end of the episode and the
agent's thoughts are left out: a judge is measured against the verifier, whose word the first two
are, and what the agent thinks of its work is no evidence. What does not fit is left out and said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from agentlab.evaluators.planted import addressed
from agentlab.models.prompts import CLOSE, OPEN
from agentlab.types import Trajectory

CHARACTERS_PER_TOKEN = 4
LONGEST_TEXT = 6_000
"""Characters of one text; of a longer one, the beginning and the end are shown."""
HEAD_SHARE = 0.25
"""Of what is shown of a long record, the share for its first steps; the end tells how it came
out, and gets the rest."""
SHORTEST_QUOTATION = 3
"""Letters and digits that a quotation has at least, unless it has a digit or is a whole line."""

Source = Literal["shown", "call", "answer"]
"""Who wrote it: the environment, the agent in a call that was carried out, or in its answer."""


class Place(NamedTuple):
    """Where a quotation stands."""

    label: str
    """Such as `3 shown`."""
    source: Source
    planted: bool
    """Only in lines that speak to a judge."""


class Passage(NamedTuple):
    """A piece of text under one label."""

    label: str
    source: Source | None
    """None where it is evidence of nothing: a call that was refused, a remark of ours."""
    lines: tuple[str, ...]
    raw: tuple[str, ...] = ()
    """The lines as they came."""
    planted: tuple[str, ...] = ()
    """Those lines that speak to a judge."""

    @property
    def length(self) -> int:
        """Characters, labels included."""
        return sum(len(line) + len(self.label) + 3 for line in self.lines)


@dataclass(frozen=True)
class Transcript:
    """The record as a judge reads it."""

    passages: tuple[Passage, ...]
    notes: tuple[str, ...]
    """Sentences of ours on what is not shown."""

    @property
    def text(self) -> str:
        """One labelled line after another."""
        return "\n".join(f"{p.label}| {line}" for p in self.passages for line in p.lines)

    @property
    def planted(self) -> tuple[tuple[str, str], ...]:
        """Label and text of each line that speaks to a judge."""
        return tuple((p.label, line) for p in self.passages for line in p.planted)

    def find(self, quotation: str, sources: Sequence[Source]) -> Place | None:
        """Where a quotation stands word for word, white space apart; None where nowhere.

        A place outside planted lines is preferred. A few letters that occur in any text are no
        quotation.
        """
        wanted = _unlabelled(quotation)
        tries = [t for t in (wanted, wanted.strip(_QUOTES)) if _is_telling(t)]
        whole = _collapsed(quotation)
        best: Place | None = None
        for passage in self.passages:
            if passage.source not in sources or passage.source is None:
                continue
            clean = [line for line in passage.lines if line not in passage.planted]
            label, source = passage.label, passage.source
            if _stands(tries, whole, clean):
                return Place(label, source, planted=False)
            if best is None and _stands(tries, whole, passage.lines):
                best = Place(label, source, planted=True)
        return best


def transcribe(trajectory: Trajectory, *, tokens: int, pictures: int = 0) -> Transcript:
    """A trajectory for a judge, in at most about so many tokens of four characters.

    Of its images, `pictures` are shown beside it; the others are said to be missing.
    The start, the answer and as many of the last and first steps as fit are shown, each whole or
    with the middle of a long text left out.
    """
    notes: list[str] = []
    start = _passages("start", "shown", trajectory.initial.text)
    images = len(trajectory.initial.images)
    steps: list[list[Passage]] = []
    for number, step in enumerate(trajectory.steps, start=1):
        result = step.result
        # As text that may hold what JSON does not, such as an infinity.
        arguments = json.dumps(step.call.arguments, ensure_ascii=False, sort_keys=True)
        called = f"{step.call.tool} {arguments}"
        parts = _passages(f"{number} call", None if result.error else "call", called)
        parts += _passages(f"{number} shown", "shown", result.observation.text)
        if result.error:
            parts += _passages(f"{number} error", "shown", result.error)
        images += len(result.observation.images)
        steps.append(parts)
    answer = _passages("answer", "answer", trajectory.answer or "")
    room = tokens * CHARACTERS_PER_TOKEN - _length(start) - _length(answer)
    head, tail = _fold([_length(parts) for parts in steps], room)
    left_out = steps[head:tail]
    middle: list[Passage] = []
    if left_out:
        size = _length(part for parts in left_out for part in parts)
        said = (
            f"steps {head + 1} to {tail} of {len(steps)} were left out, {len(left_out)} steps and "
            f"{size} characters"
        )
        middle = [Passage("left out", None, (said,))]
        notes.append(f"The record is long: {said}. What happened in them is not known to you.")
    kept = [*start, *(p for s in steps[:head] for p in s), *middle]
    kept += [*(p for s in steps[tail:] for p in s), *answer]
    cut = sum(p.label.endswith("left out") for p in kept) - len(middle)
    if cut:
        notes.append(f"{_counted(cut, 'text')} shown without the middle.")
    if images > pictures:
        rest = _counted(images - pictures, "image")
        alone = "" if pictures else "; judge by the text alone"
        notes.append(f"{rest} not shown to you{alone}.")
    if not trajectory.answer:
        notes.append("The agent gave no answer.")
    return Transcript(tuple(map(_searched, kept)), tuple(notes))


def visible(text: str) -> str:
    """Text with what cannot be seen spelt out, and without the marks that quote data."""
    marked = text.replace(OPEN, "[[").replace(CLOSE, "]]")
    return "".join(
        c if c.isprintable() else " " if c.isspace() else c.encode("unicode_escape").decode()
        for c in marked
    )


def _passages(label: str, source: Source | None, text: str) -> list[Passage]:
    if len(text) <= LONGEST_TEXT:
        return _whole(label, source, text)
    head, tail = LONGEST_TEXT * 2 // 3, LONGEST_TEXT // 3
    said = f"{len(text) - head - tail} characters of this text were left out"
    return [
        *_whole(label, source, text[:head]),
        Passage(f"{label} left out", None, (said,)),
        *_whole(label, source, text[-tail:]),
    ]


def _whole(label: str, source: Source | None, text: str) -> list[Passage]:
    raw = [line for line in text.splitlines() if line.strip()]
    if not raw:
        return []
    return [Passage(label, source, tuple(map(visible, raw)), tuple(raw))]


def _searched(passage: Passage) -> Passage:
    """The passage with what speaks to a judge found; only what is shown is worth the search."""
    spoken = set(addressed(passage.raw))
    pairs = zip(passage.raw, passage.lines, strict=False)  # a remark of ours came from nobody
    return passage._replace(planted=tuple(shown for raw, shown in pairs if raw in spoken))


def _fold(lengths: Sequence[int], room: int) -> tuple[int, int]:
    """How many first steps are kept, and from which one on the last; equal when all are."""
    if sum(lengths) <= room:
        return len(lengths), len(lengths)
    head, used = 0, 0
    while head < len(lengths) and used + lengths[head] <= room * HEAD_SHARE:
        used += lengths[head]
        head += 1
    tail = len(lengths)
    while tail > head and used + lengths[tail - 1] <= room:
        tail -= 1
        used += lengths[tail]
    return head, tail


def _length(passages: Iterable[Passage]) -> int:
    return sum(p.length for p in passages)


def _counted(number: int, noun: str) -> str:
    return f"1 {noun} is" if number == 1 else f"{number} {noun}s are"


_QUOTES = " \"'`\u201c\u201d\u2018\u2019"
_LABEL = re.compile(r"(?m)^\s*(?:start|answer|\d+ (?:call|shown|error))\| ?")


def _unlabelled(quotation: str) -> str:
    """A quotation without the labels that a judge copied with it."""
    return _collapsed(_LABEL.sub("", quotation))


def _collapsed(text: str) -> str:
    return " ".join(text.split())


def _is_telling(text: str) -> bool:
    written = [c for c in text if c.isalnum()]
    return len(written) >= SHORTEST_QUOTATION or any(c.isdigit() for c in written)


def _stands(tries: Iterable[str], whole: str, lines: Sequence[str]) -> bool:
    if whole and any(_collapsed(line) == whole for line in lines):
        return True
    text = _collapsed("\n".join(lines))
    return any(_as_words(wanted).search(text) for wanted in tries)


def _as_words(wanted: str) -> re.Pattern[str]:
    """The text where it does not begin or end within a word."""
    before = r"(?<!\w)" if wanted[0].isalnum() else ""
    after = r"(?!\w)" if wanted[-1].isalnum() else ""
    return re.compile(before + re.escape(wanted) + after)
