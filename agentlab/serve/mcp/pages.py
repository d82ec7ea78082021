"""What can be read of a library: each skill's page and code, each insight, under a stable URI.

A page is written in the form of an Agent Skill's SKILL.md, as packs write it. All of it was
learnt from tools and pages that others made: control characters are taken out and it is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from agentlab.errors import UsageError
from agentlab.library.packs.contents import pack_skill
from agentlab.library.packs.page import render
from agentlab.types import Frozen, Insight, Skill

SCHEME = "agentlab"
UNDATED = "1970-01-01T00:00:00Z"


class Page(Frozen):
    """One resource."""

    uri: str
    name: str
    title: str
    description: str
    mime_type: str
    text: str


def plain(text: str, most: int) -> str:
    """Foreign text as text: no control characters, no marks that hide or turn it, bounded."""
    shown = "".join(c for c in text.encode(errors="replace").decode() if c in "\n\t" or _shows(c))
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def line(text: str, most: int) -> str:
    """The same on one line."""
    return plain(" ".join(text.split()), most)


def _shows(character: str) -> bool:
    return character.isprintable() and not "\ufe00" <= character <= "\ufe0f"


def skill_pages(skill: Skill, most: int) -> tuple[Page, Page]:
    """The page of a skill, and its code."""
    base = f"{_base(skill.environment)}/skills/{quote(skill.name, safe='')}"
    title = line(skill.signature, 200)
    return (
        Page(
            uri=base,
            name=f"{skill.name}/SKILL.md",
            title=title,
            description=line(skill.summary, 300),
            mime_type="text/markdown",
            text=plain(f"{_document(skill)}- Code: {base}/code\n", most),
        ),
        Page(
            uri=f"{base}/code",
            name=f"{skill.name}/skill.py",
            title=f"The code of {title}",
            description="Python over the environment's tools; it runs in agentlab's box alone.",
            mime_type="text/x-python",
            text=plain(skill.source, most),
        ),
    )


def insight_page(insight: Insight, most: int) -> Page:
    """One piece of advice: when, what, and where it comes from."""
    parts = [("When", insight.condition), ("Not when", insight.negative_condition)]
    parts += [("Advice", insight.advice), ("Example", insight.example)]
    text = "\n\n".join(f"{head}: {body.strip()}" for head, body in parts if body.strip())
    return Page(
        uri=f"{_base(insight.environment)}/insights/{quote(insight.id, safe='')}",
        name=insight.id,
        title=line(insight.condition, 120),
        description=line(insight.advice, 300),
        mime_type="text/plain",
        text=plain(text, most),
    )


def by_uri(pages: Iterable[Page]) -> dict[str, Page]:
    """The pages by where they are read, in order."""
    return {page.uri: page for page in sorted(pages, key=lambda page: page.uri)}


def _base(environment: str) -> str:
    return f"{SCHEME}://{quote(environment, safe='')}"


def _document(skill: Skill) -> str:
    try:
        packed = pack_skill(skill, pack="library/skills", created=UNDATED)
    except UsageError:  # it has a name that no pack could have
        return f"# {line(skill.name, 64)}\n\n{line(skill.summary, 1024)}\n"
    effects = "".join(f"- Afterwards: {line(each, 300)}\n" for each in skill.effect)
    return render(packed.manifest, None) + effects
