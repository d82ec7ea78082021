"""SKILL.md: the page that makes a skill's folder an Agent Skill for any client of that format.

The front matter holds the standard fields only, ours under `metadata`, and is derived from the
manifest: what a client shows to its model can then not differ from what was signed and checked.
It is written in a subset of YAML that every reader takes alike.
"""

from __future__ import annotations

import json
import re

from agentlab.library.packs.manifest import FORMAT, SkillManifest

MAX_DESCRIPTION = 1024
MAX_NAME = 64
_FENCE = "---\n"


def folder_name(name: str) -> str:
    """The Agent Skills name for a function's name: `pick_up` becomes `pick-up`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:MAX_NAME].rstrip("-")


def front_matter(manifest: SkillManifest) -> str:
    """The front matter that the manifest calls for, its fences included."""
    lines = [f"name: {_quoted(manifest.folder)}", f"description: {_quoted(_description(manifest))}"]
    if manifest.licence is not None:
        lines.append(f"license: {_quoted(manifest.licence)}")
    lines += [
        "metadata:",
        f"  agentlab.id: {_quoted(manifest.id)}",
        f"  agentlab.version: {_quoted(manifest.version)}",
        f"  agentlab.format: {_quoted(FORMAT)}",
    ]
    return _FENCE + "".join(f"{line}\n" for line in lines) + _FENCE


def default_body(manifest: SkillManifest) -> str:
    """The page under the front matter, where its author wrote none."""
    lines = ["", f"# {manifest.folder}", "", _plain(manifest.summary) or "No summary.", ""]
    if manifest.kind == "python-function":
        tools = ", ".join(f"`{_plain(grant.tool)}`" for grant in manifest.needs.tools) or "none"
        lines += [
            "The code is `scripts/skill.py`, a function over the tools of an environment; it",
            "runs in agentlab, and only after it was verified there. `scripts/effect.py` says",
            "whether it did what it promises.",
            "",
            f"- Tools: {tools}",
            *(f"- Calls the skill `{name}`" for name in manifest.calls),
            *(f"- Parameter `{name}`" for name in _parameters(manifest)),
            "",
        ]
    return "\n".join(lines)


def render(manifest: SkillManifest, body: str | None) -> str:
    """The whole page."""
    return front_matter(manifest) + (default_body(manifest) if body is None else body)


def body_of(manifest: SkillManifest, text: str) -> str | None:
    """The body of a page whose front matter is the manifest's, None where it is the default.

    Raises:
        ValueError: the front matter is another one.
    """
    front = front_matter(manifest)
    if not text.startswith(front):
        raise ValueError("its front matter is not the one that its manifest calls for")
    body = text[len(front) :]
    return None if body == default_body(manifest) else body


def _description(manifest: SkillManifest) -> str:
    # Readers of the standard cut the front matter at the first three hyphens, anywhere.
    text = re.sub(r"-{2,}", "-", _plain(manifest.summary)) or manifest.folder
    return text[:MAX_DESCRIPTION].strip()


def _parameters(manifest: SkillManifest) -> list[str]:
    properties = manifest.inputs.get("properties")
    return sorted(properties) if isinstance(properties, dict) else []


def _plain(text: str) -> str:
    """One line without markup that a page could hide things in."""
    return " ".join(text.replace("<", "(").replace(">", ")").replace("`", "'").split())


def _quoted(text: str) -> str:
    """A double-quoted scalar, which JSON and YAML spell alike."""
    return json.dumps(text, ensure_ascii=False)
