"""A pack as values: its skills, insights and texts, and how a skill's manifest follows from it.

Whatever a manifest says that also follows from the skill is derived here, when a pack is made
and again when one is read, so that the two cannot differ. Values only: files are `folder`'s.
"""

from __future__ import annotations

from typing import cast

from pydantic import Field, JsonValue, ValidationError

from agentlab.errors import UsageError
from agentlab.library.packs.canonical import decode_lines, encode_lines
from agentlab.library.packs.limits import CODE, EFFECT, is_folder_name
from agentlab.library.packs.manifest import (
    Evidence,
    Needs,
    PackManifest,
    Provenance,
    SkillManifest,
    ToolGrant,
)
from agentlab.library.packs.page import folder_name
from agentlab.library.packs.refusal import refuse
from agentlab.types import Insight, Skill
from agentlab.types.base import Frozen, JsonObject

_PLAIN_TYPES = {"string", "number", "integer", "boolean", "array", "object"}
# What has a file or a field of its own; the rest of a skill, present and future, goes as it is.
_ELSEWHERE = {
    *("source", "effect_source", "tests"),
    *("origin", "source_tasks", "source_attempts", "parent"),
}


class PackedSkill(Frozen):
    """One skill of a pack; `manifest.files` is filled in when its folder is built."""

    manifest: SkillManifest
    skill: Skill | None
    """None for text alone."""
    evidence: Evidence = Field(default_factory=Evidence)
    body: str | None = None
    """The page under the front matter of SKILL.md, None for the one that is written for it."""
    references: dict[str, str] = Field(default_factory=dict)
    """Further documents, by path under `references/`."""


class Pack(Frozen):
    """A pack; `manifest.files`, `.skills`, `.notes` and `.licences` are filled in when built.

    Insights are an author's words. Whoever imports them keeps them apart from what was learnt
    here, shows them to a model as quoted data only, and counts none of their outcomes.
    """

    manifest: PackManifest
    skills: tuple[PackedSkill, ...] = ()
    notes: tuple[Insight, ...] = ()
    licence_texts: dict[str, str] = Field(default_factory=dict)
    """SPDX identifier to its full text."""
    readme: str | None = None
    envelopes: dict[str, bytes] = Field(default_factory=dict)
    """Signatures that it came with, by path; each is kept while what it signs is unchanged."""


def pack_skill(
    skill: Skill,
    *,
    pack: str,
    created: str,
    version: str | None = None,
    licence: str | None = None,
    authors: tuple[str, ...] = (),
    evidence: Evidence | None = None,
    needs: Needs | None = None,
    provenance: Provenance | None = None,
    references: dict[str, str] | None = None,
) -> PackedSkill:
    """A skill of a library, made ready for a pack.

    Args:
        skill: the skill; what it needs and where it comes from are taken from it.
        pack: the pack's id, `owner/name`.
        created: ISO 8601; give the run's time, so that the same run gives the same pack.
        version: semantic version; the skill's own as the major number otherwise.
        licence: SPDX identifier; without one, others may use the skill and not pass it on.
        authors: names, without addresses.
        evidence: what was measured.
        needs: limits of time and memory; its tools are replaced by the skill's.
        provenance: model, prompt, runs and parents; the rest is replaced by the skill's.
        references: further documents, by path under `references/`.

    Raises:
        UsageError: the skill or an option is nothing that the format can hold.
    """
    folder = folder_name(skill.name)
    if not skill.name.isascii() or not is_folder_name(folder):
        raise UsageError(f"The skill {skill.name!r} has no ASCII name; rename it to pack it.")
    try:
        derived = derived_fields(skill, needs or Needs(), provenance or Provenance())
        manifest = SkillManifest.model_validate(
            {
                **derived,
                "id": f"{pack}.{folder}",
                "version": version or f"{skill.version}.0.0",
                "files": {},
                "licence": licence,
                "authors": authors,
                "created": created,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"The skill {skill.name!r} cannot be packed: {where}: {first['msg']}."
        ) from None
    return PackedSkill(
        manifest=manifest,
        skill=skill,
        evidence=evidence or Evidence(),
        references=references or {},
    )


def derived_fields(skill: Skill, needs: Needs, provenance: Provenance) -> dict[str, object]:
    """The fields of a manifest that follow from the skill."""
    tools = tuple(ToolGrant(environment=skill.environment, tool=tool) for tool in skill.tools)
    return {
        "kind": "python-function",
        "entry": f"{CODE}:{skill.name}",
        "effect": f"{EFFECT}:check",
        "summary": " ".join(skill.summary.split())[:1024].strip(),
        "inputs": _inputs(skill),
        "outputs": {},
        "needs": needs.model_copy(update={"tools": tools}),
        "calls": skill.skills,
        "provenance": provenance.model_copy(
            update={
                "origin": skill.origin,
                "tasks": skill.source_tasks,
                "attempts": skill.source_attempts,
                "replaces": skill.parent,
            }
        ),
        "skill": cast("JsonObject", _rest(skill)),
    }


def restore_skill(
    file: str, manifest: SkillManifest, *, source: str, effect_source: str, tests: list[JsonObject]
) -> Skill:
    """The skill that a manifest and the files beside it spell.

    Raises:
        PackRefusedError: they do not spell one, or the manifest says otherwise than the skill.
    """
    origin = manifest.provenance
    fields = {
        **(manifest.skill or {}),
        "source": source,
        "effect_source": effect_source,
        "tests": tests,
        "origin": origin.origin,
        "source_tasks": origin.tasks,
        "source_attempts": origin.attempts,
        "parent": origin.replaces,
    }
    try:
        skill = Skill.model_validate(fields)
        expected = derived_fields(skill, manifest.needs, origin)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise refuse(file, "manifest", f"spells no skill: {where!a}: {first['msg']}") from None
    wrong = sorted(name for name, value in expected.items() if getattr(manifest, name) != value)
    if wrong:
        raise refuse(file, "manifest", f"says otherwise than its skill in {wrong[0]!r}")
    if folder_name(skill.name) != manifest.folder:
        raise refuse(file, "name", f"is of the skill {skill.name!a}, in another's folder")
    return skill


def encode_cases(skill: Skill) -> bytes:
    """`tests/cases.jsonl`: arguments under `in`, and that the effect check must pass.

    Raises:
        UsageError: a test has no arguments, or uses a word of the format.
    """
    lines: list[JsonObject] = []
    for test in skill.tests:
        rest = {key: value for key, value in test.items() if key != "arguments"}
        if "arguments" not in test or {"in", "check"} & rest.keys():
            raise UsageError(f"A test of the skill {skill.name!r} has no plain arguments.")
        lines.append({"in": test["arguments"], "check": "effect", **rest})
    return encode_lines(lines)


def decode_cases(file: str, data: bytes) -> list[JsonObject]:
    """The tests of a skill.

    Raises:
        PackRefusedError: a line is no case of this format.
    """
    tests: list[JsonObject] = []
    for number, line in enumerate(decode_lines(file, data), 1):
        if not isinstance(line, dict) or line.get("check") != "effect" or "arguments" in line:
            raise refuse(f"{file}:{number}", "manifest", "is no case that checks the effect")
        if not isinstance(line.get("in"), dict):
            raise refuse(f"{file}:{number}", "manifest", "has no arguments under 'in'")
        rest: dict[str, JsonValue] = {k: v for k, v in line.items() if k not in ("in", "check")}
        tests.append({"arguments": line["in"], **rest})
    return tests


def licence_ids(expression: str) -> list[str]:
    """The identifiers in an SPDX expression; each needs its text in the pack."""
    return [word for word in expression.split() if word not in ("AND", "OR", "WITH")]


def _rest(skill: Skill) -> dict[str, object]:
    return skill.model_dump(mode="json", exclude=_ELSEWHERE)


def _inputs(skill: Skill) -> JsonObject:
    properties: dict[str, JsonValue] = {
        p.name: {"type": p.type} if p.type in _PLAIN_TYPES else {"title": p.type}
        for p in skill.parameters
    }
    return {
        "type": "object",
        "properties": properties,
        "required": [p.name for p in skill.parameters],
        "additionalProperties": False,
    }
