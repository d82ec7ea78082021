"""How a pack looks on a terminal: what it is, what it asks for, what it would change.

Every word of a pack is somebody else's. It is printed as a quotation, with everything that a
terminal could obey spelt out, and none of it is an instruction to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from agentlab.analysis.figures import count
from agentlab.cli.output import Output, Table

if TYPE_CHECKING:
    from agentlab.library.merging import MergeLine
    from agentlab.library.packs.checks import Finding
    from agentlab.library.packs.compare import SkillChange
    from agentlab.library.packs.folder import Opened
    from agentlab.library.packs.verdict import Verdict
    from agentlab.types import Insight, JsonObject

FINDINGS = 20
"""Of the static report, on a terminal; `--json` has all."""


def pack_document(opened: Opened, findings: Sequence[Finding]) -> JsonObject:
    """What `--json` says of a pack."""
    manifest = opened.pack.manifest
    return {
        "id": manifest.id,
        "version": manifest.version,
        "digest": opened.digest,
        "key_id": opened.signers.author if opened.signers else None,
        "licences": list(manifest.licences),
        "authors": list(manifest.authors),
        "created": manifest.created,
        "summary": manifest.summary,
        "notes": len(opened.pack.notes),
        "skills": [
            {
                "id": p.manifest.id,
                "version": p.manifest.version,
                "kind": p.manifest.kind,
                "summary": p.manifest.summary,
                "licence": p.manifest.licence,
                "calls": list(p.manifest.calls),
                "grants": list(grants(opened, p.manifest.id)),
                "digest": p.manifest.digest,
            }
            for p in opened.pack.skills
        ],
        "findings": [
            {"file": f.file, "line": f.line, "kind": f.kind, "excerpt": f.excerpt} for f in findings
        ],
    }


def grants(opened: Opened, skill: str) -> list[str]:
    """What a skill of the pack asks for, in words."""
    from agentlab.library.packs.manifest import Needs, widened

    packed = next(p for p in opened.pack.skills if p.manifest.id == skill)
    return list(widened(Needs(), packed.manifest.needs))


def tell_pack(output: Output, opened: Opened, findings: Sequence[Finding]) -> None:
    """What a pack is and what in it is worth a look."""
    manifest, pack = opened.pack.manifest, opened.pack
    output.line(
        f"{manifest.id} {manifest.version}, {count(len(pack.skills), 'skill')}", strong=True
    )
    who = f"key {opened.signers.author[:16]}" if opened.signers else "nobody"
    licences = ", ".join(manifest.licences) or "no licence: it may be used and not passed on"
    output.line(f"Signed by {who}; {licences}; made {manifest.created}.")
    if manifest.summary:
        output.line(f"Its author says: {quoted(manifest.summary)}")
    rows = [
        [
            p.manifest.id,
            p.manifest.version,
            ", ".join(g.tool for g in p.manifest.needs.tools) or "none",
            quoted(p.manifest.summary),
        ]
        for p in pack.skills
    ]
    output.table(Table("", ("skill", "version", "tools", "its author says"), rows))
    tell_notes(output, pack.notes)
    if findings:
        rows = [[f.kind, f"{f.file}:{f.line}", f.excerpt] for f in findings[:FINDINGS]]
        title = f"Worth a look ({len(findings)}; finding nothing would prove nothing)"
        output.table(Table(title, ("what", "where", "text"), rows))


def tell_notes(output: Output, notes: Iterable[Insight]) -> None:
    """Insights of a pack, quoted: kept apart, and never served as instructions."""
    rows = [[note.id, quoted(note.condition), quoted(note.advice)] for note in notes]
    if rows:
        output.table(Table("Its author's notes, kept as foreign", ("note", "when", "what"), rows))


def tell_changes(
    output: Output, changes: Sequence[SkillChange], verdicts: Mapping[str, Verdict] | None = None
) -> None:
    """A diff, and for each skill what the conflict rules say and what it asks for."""
    for change in changes:
        versions = " to ".join(v for v in (change.before, change.after) if v is not None)
        output.line()
        output.line(f"{change.kind}: {change.id} {versions}", strong=True)
        if change.fields:
            output.line(f"  differs in {', '.join(change.fields)}")
        verdict = (verdicts or {}).get(change.id)
        for line in verdict.warnings if verdict else ():
            output.line(f"  warning: {line}")
        if verdict is not None:
            output.line(f"  {verdict.action}: {verdict.reason}")
        for grant in verdict.widened if verdict else change.widened:
            output.line(f"  asks for: {grant}")
        for line in change.lines:
            output.line(f"  | {line}", whole=True)


def tell_merge(output: Output, lines: Sequence[MergeLine]) -> None:
    """What a merge did, skill by skill."""
    rows = [[line.name, line.what, line.reason] for line in lines]
    output.table(Table("Merged into the library", ("skill", "now", "why"), rows))


def quoted(text: str) -> str:
    """Somebody else's words, on one line, between quotation marks."""
    plain = " ".join(text.split())
    return f"“{plain[:200]}{'…' if len(plain) > 200 else ''}”"


def change_document(change: SkillChange) -> JsonObject:
    """What `--json` says of one difference."""
    return {
        "id": change.id,
        "kind": change.kind,
        "before": change.before,
        "after": change.after,
        "fields": list(change.fields),
        "widened": list(change.widened),
        "lines": list(change.lines),
    }
