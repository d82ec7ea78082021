"""A judge that splits instructions into points and quotes the record for each.

It finds evidence by shared words, which is about as good as it sounds: a point holds where a line
of what the environment showed, or of a call that was not refused, has most of its words. It follows
nothing that the record says. With some seeds it is unclear, so that readings disagree now and then.
"""

from __future__ import annotations

import re

from agentlab.testing.rules import courier, store
from agentlab.testing.rules.reading import labelled
from agentlab.types import ChatRequest, JsonObject, derive_uniform

LINE = re.compile(r"^(start|answer|(\d+) (?:call|shown|error))\| ?(.*)$", re.MULTILINE)
POINT = re.compile(r"^(\d+)\. (?:\((\w+)\) )?(.*)$", re.MULTILINE)
JOINTS = re.compile(r",? (?:and then|then|and) (?=\w+ )|;\s*", re.IGNORECASE)
COVERED = 0.7
"""Of a point's words, those that a line must have."""
UNSURE = 0.05
"""Of the seeds, those with which it is unclear."""
SMALL = frozenset("the and then into onto from with that this for all are its has have".split())


def points(request: ChatRequest) -> JsonObject:
    """The parts of the instruction."""
    instruction = store.CREDENTIALS.sub("", labelled(request, "instruction"))
    parts = [part.strip(" .,") for part in JOINTS.split(instruction)]
    kept = [part for part in parts if part][:10] or [instruction or "the task"]
    return {
        "points": [
            {"text": part, "about": "answer" if re.match("(?i)say|tell|answer", part) else "world"}
            for part in kept
        ]
    }


def verdict(request: ChatRequest) -> JsonObject:
    """What the record shows of each point."""
    mark = re.findall(r"(?m)^The mark: (\S+)$", "\n".join(m.text for m in request.messages))
    record = LINE.findall(labelled(request, "record"))
    refused = {number for label, number, _ in record if label.endswith("error")}
    shown = [text for label, _, text in record if label == "start" or label.endswith("shown")]
    done = [
        text for label, number, text in record if label.endswith("call") and number not in refused
    ]
    answers = [text for label, _, text in record if label == "answer"]
    findings: list[JsonObject] = []
    for number, about, text in POINT.findall(labelled(request, "points")):
        quotation = _evidence(text, answers if about == "answer" else [], shown, done)
        met = "yes" if quotation else "no"
        findings.append({"point": int(number), "quotation": quotation, "met": met})
    held = all(finding["met"] == "yes" for finding in findings) and findings
    said = "success" if held else "failure"
    seed = request.sampling.seed
    if seed is not None and derive_uniform("unsure", seed) < UNSURE:
        said = "unclear"
    return {
        "mark": mark[-1] if mark else "",
        "findings": [*findings],
        "verdict": said,
        "why": "Each point has its line." if held else "A point has no line.",
    }


def _evidence(point: str, answers: list[str], shown: list[str], done: list[str]) -> str:
    """The line that shows a point; empty where there is none."""
    in_shop = store.evidence(point, shown)
    if in_shop is not None:
        return in_shop
    asked = courier.parse(point)
    worlds = courier.worlds("\n".join(shown)) if asked else []
    if worlds:
        clause = asked[0][0]
        for world in reversed(worlds):
            if courier.holds(clause, world):
                lines = [
                    line for line in shown if _covers(line, clause.item or clause.box or point)
                ]
                return (lines or [f"You are at the {world.at}"])[-1]
        return ""
    for line in reversed([*shown, *done, *answers] if not answers else answers):
        if _covers(line, point):
            return line
    return ""


def _covers(line: str, text: str) -> bool:
    words = {w for w in re.findall(r"[\w./-]{3,}", text.lower().strip(".")) if w not in SMALL}
    found = sum(word.strip(".") in line.lower() for word in words)
    return bool(words) and found >= COVERED * len(words)
