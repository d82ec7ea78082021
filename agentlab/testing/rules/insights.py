"""A writer of insights: it reads why attempts failed, and knows seven lessons by heart.

Those of the lock, the key, the quantity, what is not staged, and the missing folder, branch and
place are what the executors of this package forget. Of any other refusal it makes a sentence, which
helps nobody: admission is to find that out.
"""

from __future__ import annotations

import re

from pydantic import JsonValue

from agentlab.testing.rules.reading import QUOTED, labelled, whole_text
from agentlab.types import ChatRequest, JsonObject

NUMBERED = re.compile(r"(?m)^(\d+)\b[ .:|-]*(.*)$")
LOCK: JsonObject = {
    "condition": "The task says to deliver something to a container and the container is locked.",
    "negative_condition": "The container is not locked.",
    "advice": "Take the token of its metal, walk up to the container and unlock it before anything "
    "is put in.",
    "example": "For a tin chest: take the tin token, walk to the tin chest, unlock it.",
}
FOLDER: JsonObject = {
    "condition": "The task says to move or write a file into a folder that may not exist yet.",
    "negative_condition": "The folder is listed already.",
    "advice": "Create the folder first, and then move or write the file into it.",
    "example": "For archive/a.txt: create the folder archive, then move a.txt.",
}
KEY: JsonObject = {
    "condition": "A door is locked that the task says to open, or that is in the way.",
    "negative_condition": "The door is open or closed, and not locked.",
    "advice": "Pick up the key of the door's colour, and open the locked door with it in hand.",
    "example": "For a locked red door: drop what you carry, pick up the red key, open the door.",
}
PLACE: JsonObject = {
    "condition": "The task asks for an entry in a place, such as a project, that the facts do not "
    "show.",
    "negative_condition": "The place is among the facts already.",
    "advice": "Start the place first, and then add the entry to it.",
    "example": "For a title in a new project: start the project, then add the title.",
}
STAGE: JsonObject = {
    "condition": "The task asks for a commit and nothing is staged.",
    "negative_condition": "A file is staged already.",
    "advice": "Add a changed file to what is staged first, and then commit.",
    "example": "For a commit of its own: add one untracked file, then commit with the message.",
}
BRANCH: JsonObject = {
    "condition": "The task says which branch is to be current, and there is no such branch.",
    "negative_condition": "The branch is listed already.",
    "advice": "Create the branch first, and then check it out.",
    "example": "For the current branch topic: create the branch topic, then check out topic.",
}
QUANTITY: JsonObject = {
    "condition": "The task asks for more than one of a product in the cart.",
    "negative_condition": "The task asks for one of it, or for no product.",
    "advice": "Fill in the quantity on the product's page before it is added to the cart.",
    "example": "For 3 of a lamp: open its page, fill Quantity with 3, then add it.",
}
LESSONS: tuple[tuple[str, JsonObject], ...] = (
    (r"Task: Have [2-9][\s\S]*Page: Cart\b", QUANTITY),
    (r"container is locked", LOCK),
    (r"is locked; carry the \w+ key", KEY),
    (r"refused: KeyError", PLACE),
    (r"no changes staged for commit", STAGE),
    (r"did not resolve to an object", BRANCH),
    (r"ENOENT|no such (?:file|folder|directory)|folder .*not exist|parent", FOLDER),
)


def lesson(text: str) -> JsonObject | None:
    """The insight that an attempt's record calls for; None where it calls for none."""
    for pattern, words in LESSONS:
        if re.search(f"(?i){pattern}", text):
            return words
    refused = re.search(r"refused: ([^\n]{5,120})", text)
    if refused is None:
        return None
    return {
        "condition": f"A call may be refused with: {refused[1].strip()}",
        "negative_condition": "",
        "advice": "Look at what is shown before the next call, and do something else.",
        "example": "",
    }


def extraction(request: ChatRequest) -> JsonObject:
    """What a failure teaches."""
    found = lesson(labelled(request, "failed attempt"))
    known = labelled(request, "known")
    if found is not None and str(found["advice"]) in known:
        found = None
    return {"insight": found, "taxonomy": ["acting", "preconditions"] if found else []}


def diagnosis(request: ChatRequest) -> JsonObject:
    """What each insight did."""
    attempt = labelled(request, "attempt")
    solved = "Outcome: solved" in attempt
    labels: list[JsonValue] = []
    for number, text in NUMBERED.findall(labelled(request, "insights")):
        fits = bool(_words(text) & _words(attempt))
        if "not shown" in text:
            label = "unretrieved" if fits and not solved else "irrelevant"
        elif not fits:
            label = "irrelevant"
        else:
            label = "positive" if solved else "negative"
        labels.append({"insight": int(number), "label": label})
    return {"labels": labels}


def merging(request: ChatRequest) -> JsonObject:
    """Which neighbours say the same as a new insight."""
    fresh = labelled(request, "new insight")
    members: list[JsonValue] = [
        int(number)
        for number, text in NUMBERED.findall(labelled(request, "next to it"))
        if _alike(fresh, text)
    ]
    return {"members": members, "insight": words_of(fresh) if members else None}


def conditions(request: ChatRequest) -> JsonObject:
    """Other conditions for an insight."""
    old = str(words_of(labelled(request, "insight"))["condition"])
    return {"conditions": [old, f"{old} It can be seen before the first call."]}


def reflection(request: ChatRequest) -> JsonObject:
    """Tags for the advice that was shown, and what an attempt teaches."""
    attempt = labelled(request, "attempt")
    solved = "Outcome: solved" in attempt
    tags: list[JsonValue] = []
    for number, text in NUMBERED.findall(labelled(request, "advice that it was shown")):
        fits = bool(_words(text) & _words(attempt))
        tag = "neutral" if not fits else "helpful" if solved else "harmful"
        tags.append({"bullet": int(number), "tag": tag})
    found = None if solved else lesson(attempt)
    said = f"{found['condition']} {found['advice']}" if found else "Nothing new."
    return {"tags": tags, "lesson": said}


def retrospect(request: ChatRequest) -> JsonObject:
    """What to do otherwise after a failed try."""
    found = lesson(labelled(request, "what happened"))
    said = f"{found['advice']}" if found else "Look at what is shown before each call."
    offered = re.findall(r"(?m)^-? ?([a-z]\w*)", labelled(request, "skills"))
    return {"lesson": said, "skills": [name for name in offered if name != "none"][:3]}


def delta(request: ChatRequest) -> JsonObject:
    """Changes of a playbook: what the lessons say and it does not."""
    lessons = NUMBERED.findall(labelled(request, "lessons"))
    section = labelled(request, "sections").partition("\n")[0].partition(",")[0].strip(" -")
    playbook = labelled(request, "playbook")
    operations: list[JsonValue] = []
    for _, words in LESSONS:
        advice = str(words["advice"])
        from_: list[JsonValue] = [int(n) for n, text in lessons if advice in text]
        if from_ and advice not in playbook:
            operations.append(
                {
                    "operation": "ADD",
                    "section": section,
                    "bullets": [],
                    "attempts": from_,
                    "words": words,
                    "reason": "Attempts failed without it.",
                }
            )
    return {"operations": operations}


def words(request: ChatRequest) -> JsonObject:
    """One insight in place of several."""
    pieces = [text for m in request.messages for text in QUOTED.findall(m.text) if len(text) > 20]
    return words_of(pieces[-1] if pieces else "")


def sheet(request: ChatRequest) -> JsonObject:
    """A sheet of notes: the old one's lines and what the attempts teach."""
    text = whole_text(request)
    notes = [line for line in labelled(request, "old sheet").split("\n") if line.startswith("- ")]
    for pattern, known in LESSONS:
        line = f"- {known['condition']} {known['advice']}"
        if re.search(f"(?i){pattern}", text) and line not in notes:
            notes.append(line)
    most = re.findall(r"at most (\d+) characters", text)
    said = "\n".join(notes) or "- Look at what is shown before each call."
    return {
        "condition": "Any task in this environment.",
        "sheet": said[: int(most[0]) if most else 1000],
    }


def words_of(shown: str) -> JsonObject:
    """An insight's words from the line that shows it."""
    line = shown.partition("\n")[0]
    parts = {
        key: re.search(rf"(?i)(?:^|\| |\d+ ){label}: (.*?)(?= \| |$)", line)
        for key, label in (
            ("condition", "when"),
            ("negative_condition", "but not when"),
            ("advice", "do"),
            ("example", "for example"),
        )
    }
    found: JsonObject = {key: part[1].strip() if part else "" for key, part in parts.items()}
    return {
        **found,
        "condition": found["condition"] or "Always.",
        "advice": found["advice"] or line.strip()[:300] or "Look first.",
    }


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{5,}", text.lower())) - {"shown", "example"}


def _alike(one: str, other: str) -> bool:
    first, second = _words(one), _words(other)
    return bool(first and second) and len(first & second) / len(first | second) > 0.6
