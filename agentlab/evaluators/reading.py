"""One reading of a record by a judge: the reply's shape, and what it is worth.

A reading says for each point whether it is met and quotes what shows it. Whether the quotation
stands in the record is looked up here, in code; the model's word for it counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from agentlab.evaluators.transcript import Source, Transcript, visible
from agentlab.types import Frozen, JsonObject

MOST_POINTS = 10
SHOWN = 300
"""Characters of a model's sentence that a score keeps."""

About = Literal["world", "answer"]
Met = Literal["yes", "no", "unclear"]
SOURCES: dict[About, tuple[Source, ...]] = {"world": ("shown", "call"), "answer": ("answer",)}
"""Where evidence for a point may stand: an agent can not show by its answer what it did."""


class Point(Frozen):
    """One thing that the instruction asks for."""

    text: str = Field(min_length=1, max_length=1000)
    about: About


class Points(Frozen):
    """What the instruction asks for."""

    points: tuple[Point, ...] = Field(min_length=1, max_length=MOST_POINTS)


class Finding(Frozen):
    """Whether one point is met, and the words that show it."""

    point: int
    quotation: str = ""
    met: Met
    picture: int = 0
    """The number of the picture that shows it, where no words do; 0 for none."""


class Reply(Frozen):
    """The evidence for each point, then the verdict."""

    mark: str
    findings: tuple[Finding, ...]
    verdict: Literal["success", "failure", "unclear"]
    why: str = ""


class Checked(NamedTuple):
    """A finding whose quotation was looked up."""

    point: int
    """From 0, in the order of `Points`."""
    met: bool | None
    quotation: str
    place: str
    """Label of the line that was quoted; empty where none holds it."""


class Reading(NamedTuple):
    """What one reply is worth."""

    model: str
    verdict: bool | None
    why: str
    """Why it is that, in our words or, quoted, in the model's."""
    findings: tuple[Checked, ...] = ()

    def as_json(self) -> JsonObject:
        """As a score's evidence keeps it."""
        return {
            "model": self.model,
            "verdict": self.verdict,
            "why": self.why,
            "findings": [
                {
                    "point": found.point + 1,
                    "met": found.met,
                    "quotation": found.quotation,
                    "place": found.place,
                }
                for found in self.findings
            ],
        }


def read(
    reply: Reply | None,
    points: Sequence[Point],
    order: Sequence[int],
    transcript: Transcript,
    *,
    mark: str,
    model: str,
    pictures: int = 0,
) -> Reading:
    """What a reply is worth: success only where every point has evidence that exists.

    Args:
        reply: None where the model gave nothing that could be read.
        points: all of them.
        order: the points as they were numbered in the request, from 1.
        transcript: what the model was shown.
        mark: what the reply must repeat. Nobody who wrote into the record could know it, so a
            verdict that stood there, and that the model repeats, is told from the model's own.
        model: who replied.
        pictures: how many it was shown. One is evidence for a point about the world, and only
            where the record holds no text that speaks to a judge: what a picture says cannot be
            looked up.

    Returns:
        A reading without verdict where the reply cannot be used or contradicts itself.
    """
    if reply is None:
        return Reading(model, None, "the reply could not be read")
    if reply.mark.strip().lower() != mark:
        return Reading(model, None, "the reply does not bear the mark of the request")
    if sorted(found.point for found in reply.findings) != list(range(1, len(points) + 1)):
        return Reading(model, None, "the reply does not have one finding for each point")
    checked: list[Checked] = []
    only_planted = False
    trusted = pictures if not transcript.planted else 0
    for found in reply.findings:
        number = order[found.point - 1]
        place = transcript.find(found.quotation, SOURCES[points[number].about])
        met = {"yes": True, "no": False, "unclear": None}[found.met]
        label = place.label if place is not None else ""
        points_at = points[number].about == "world" and 1 <= found.picture <= pictures
        if met and place is None and points_at:
            only_planted = only_planted or not trusted
            label = f"picture {found.picture}" if trusted else ""
            met = bool(trusted)
        elif met:
            only_planted = only_planted or (place is not None and place.planted)
            met = place is not None and not place.planted
        checked.append(Checked(number, met, _short(found.quotation), label))
    findings = tuple(sorted(checked))
    verdict, why = _verdict(reply, findings, only_planted=only_planted)
    return Reading(model, verdict, why, findings)


def _verdict(
    reply: Reply, findings: Sequence[Checked], *, only_planted: bool
) -> tuple[bool | None, str]:
    said = _short(reply.why)
    denied = any(found.met == "no" for found in reply.findings)
    if reply.verdict == "success" and denied:
        return None, "the verdict is success, and the findings say that a point is not met"
    if reply.verdict == "failure" and all(found.met == "yes" for found in reply.findings):
        return None, "the verdict is failure, and the findings say that every point is met"
    if only_planted:
        return (
            None,
            "a point's only evidence is text that speaks to a judge, or a picture beside such",
        )
    missing = [found.point + 1 for found in findings if found.met is False]
    if missing and not denied:
        return False, f"no such words stand in the record for point {missing[0]}"
    if missing:
        return False, said
    if any(found.met is None for found in findings) or reply.verdict == "unclear":
        return None, f"it is unclear: {said}" if said else "it is unclear"
    return True, said


def _short(text: str) -> str:
    """A model's words on one line, cut and said so."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}… ({len(line)} characters)"
