"""`agentlab packs`: skills of others come in, are verified here, and serve.

Nothing is approved by default. `import` stops after it has shown what a pack is, what it asks
for and what it would change; a person or `--approve` lets it go on.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.analysis.figures import count
from agentlab.cli.keys import keys_option, trust_store
from agentlab.cli.options import (
    DisplayName,
    Whole,
    box_options,
    environment_options,
    gather_options,
    named_box,
    option,
    output_options,
    workspace_option,
)
from agentlab.cli.output import Output, Table, opened

if TYPE_CHECKING:
    from agentlab.graph.importing import Checked, Verification
    from agentlab.library.packs.checks import Finding
    from agentlab.library.packs.compare import SkillChange
    from agentlab.library.shelf import Judged
    from agentlab.records import PackRow, Records
    from agentlab.types import JsonObject


@click.group()
def packs() -> None:
    """Share skills: export, inspect, import, verify, merge, revoke."""


@packs.command("import")
@click.argument("source", metavar="SOURCE")
@option("--ref", metavar="NAME", help="Branch or tag, where SOURCE is the address of a repository.")
@option("--approve", is_flag=True, help="Agree to the diff and the grants without being asked.")
@option("--unsigned-ok", is_flag=True, help="Take a pack that nobody signed.")
@option("--trials", type=Whole(2), help="Practice tasks for each skill, with and without it.")
@option("--tool-calls", type=Whole(1), help="Tool calls that each of those attempts may make.")
@option("--seed", type=Whole(), default=0, show_default=True, help="Of everything that is drawn.")
@keys_option
@workspace_option
@environment_options
@box_options
@output_options
def import_(
    source: str,
    ref: str | None,
    approve: bool,
    unsigned_ok: bool,
    trials: int | None,
    tool_calls: int | None,
    seed: int,
    keys: Path | None,
    workspace: Path,
    pairs: tuple[str, ...],
    view: str | None,
    toolset: str | None,
    box: str | None,
    unsafe_local: bool,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Bring in the pack SOURCE: a folder, a zip file, a git address, or agentlab/NAME.

    Without --approve it stops after showing what would change; exits with 1 where nothing of
    the pack passed verification here.
    """
    with opened(as_json=as_json, display=display) as output:
        options = gather_options(pairs, view=view, toolset=toolset)
        from agentlab.library import shelf
        from agentlab.library.packs import checks
        from agentlab.records import Records, Workspace

        files = shelf.open_files(source, ref=ref)
        with Records.open(Workspace.open(workspace)) as records:
            row = shelf.receive(records, files, source)
            judged = shelf.judge(records, row.digest, trust_store(keys))
            document = _show(output, records, judged, checks.report(files))
            output.document(document)
            if judged.row.state == "checked":
                shelf.require_unsigned_ok(judged, unsigned_ok=unsigned_ok)
                if not (approve or _agreed(output)):
                    output.line("It waits in quarantine until its diff and grants are approved.")
                    output.next("packs", "import", source, "--approve")
                    return
                shelf.approve(records, judged, trust_store(keys))
            named = named_box(box, unsafe_local=unsafe_local) or "auto"
            how = _verification(named, trials, tool_calls, seed, options)
            _verify_and_merge(output, records, judged.row.digest, how, document)


@packs.command()
@click.argument("source", metavar="SOURCE")
@option("--ref", metavar="NAME", help="Branch or tag, where SOURCE is the address of a repository.")
@output_options
def inspect(source: str, ref: str | None, as_json: bool, display: DisplayName | None) -> None:
    """Read the pack SOURCE and say what is in it. Nothing is kept, and nothing of it is run."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.cli.packs_shown import pack_document, tell_pack
        from agentlab.library.packs import checks, folder
        from agentlab.library.shelf import open_files

        files = open_files(source, ref=ref)
        found, findings = folder.read(files), checks.report(files)
        output.document(pack_document(found, findings))
        tell_pack(output, found, findings)
        output.next("packs", "import", source)


@packs.command()
@click.argument("source", metavar="[SOURCE|ID]", required=False)
@option("--again", is_flag=True, help="Run every gate again, whatever still holds.")
@option("--trials", type=Whole(2), help="Practice tasks for each skill, with and without it.")
@option("--tool-calls", type=Whole(1), help="Tool calls that each of those attempts may make.")
@option("--seed", type=Whole(), default=0, show_default=True, help="Of everything that is drawn.")
@workspace_option
@environment_options
@box_options
@output_options
def verify(
    source: str | None,
    again: bool,
    trials: int | None,
    tool_calls: int | None,
    seed: int,
    workspace: Path,
    pairs: tuple[str, ...],
    view: str | None,
    toolset: str | None,
    box: str | None,
    unsafe_local: bool,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Check a pack: a SOURCE against its manifest and signature, one on record against its bytes.

    Verification here is redone where the box or the version of agentlab has changed. Without
    SOURCE or ID, every pack on record. Exits with 1, and the file's name, where a byte differs.
    """
    with opened(as_json=as_json, display=display) as output:
        options = gather_options(pairs, view=view, toolset=toolset)
        if source is not None and _is_source(source):
            _verify_source(output, source)
            return
        from agentlab.records import Records, Workspace

        named = named_box(box, unsafe_local=unsafe_local) or "auto"
        how = _verification(named, trials, tool_calls, seed, options, again=again)
        with Records.open(Workspace.open(workspace, create=False)) as records:
            _verify_held(output, records, source, how)


@packs.command("list")
@workspace_option
@output_options
def list_(workspace: Path, as_json: bool, display: DisplayName | None) -> None:
    """The packs that came in, and how far each has come."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.shelf import shipped_packs
        from agentlab.records import Records, Workspace

        with Records.open(Workspace.open(workspace, create=False)) as records:
            rows = records.packs.all()
            sizes = records.packs.count_skills()
            serving = _serving(records)
        output.document(
            [
                _row_document(row, sizes.get(row.digest, 0)) | {"serving": serving[row.digest]}
                for row in rows
            ]
        )
        if not rows:
            output.line("No pack has come in yet.")
            shipped = [f"agentlab/{name}" for name in shipped_packs()]
            words = ("import", shipped[0]) if shipped else ("import", "--help")
            output.next("packs", *words)
            return
        cells = [
            [
                r.name,
                r.version,
                r.state,
                f"{serving[r.digest]} of {sizes.get(r.digest, 0)} serve",
                r.key[:16] if r.key else "none",
            ]
            for r in rows
        ]
        heads = ("pack", "version", "state", "skills", "key")
        output.table(Table("", heads, cells))
        output.next("packs", "verify", rows[-1].name)


def _serving(records: Records) -> Counter[str]:
    """Pack digest to the number of its skills that serve."""
    held = [(row.pack, row.item_id) for row in records.packs.skills() if row.item_id is not None]
    statuses = records.packs.statuses([item for _, item in held])
    return Counter(pack for pack, item in held if statuses.get(item) == "active")


def _show(output: Output, records: Records, judged: Judged, findings: list[Finding]) -> JsonObject:
    """Show what a pack is and what it would change; what `--json` says of it."""
    from agentlab.cli.packs_shown import change_document, pack_document, tell_changes, tell_pack

    changes = _differences(records, judged)
    ids = {p.manifest.digest: p.manifest.id for p in judged.opened.pack.skills}
    by_id = {ids[digest]: verdict for digest, verdict in judged.verdicts.items()}
    if judged.row.state == "checked":
        tell_pack(output, judged.opened, findings)
        tell_changes(output, changes, by_id)
        output.line()
        output.line(f"Key: {judged.standing}.")
    document = pack_document(judged.opened, findings)
    document["state"] = judged.row.state
    document["standing"] = judged.standing
    document["changes"] = [change_document(change) for change in changes]
    document["verdicts"] = {
        name: {
            "action": v.action,
            "reason": v.reason,
            "warnings": list(v.warnings),
            "asks": list(v.widened),
        }
        for name, v in by_id.items()
    }
    return document


def _differences(records: Records, judged: Judged) -> tuple[SkillChange, ...]:
    from agentlab.library.packs.compare import compare_with_library
    from agentlab.library.shelf import held_versions

    held, skills = held_versions(records, judged.opened)
    return compare_with_library(held, skills, judged.opened.pack)


def _agreed(output: Output) -> bool:
    """Ask the person at the terminal; nobody there is a no."""
    if output.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return click.confirm("Approve these changes and grants?", default=False)


def _verification(
    box: str,
    trials: int | None,
    tool_calls: int | None,
    seed: int,
    options: JsonObject,
    *,
    again: bool = False,
) -> Verification:
    from typing import cast

    from agentlab.config import AdmissionConfig, BoxName
    from agentlab.graph.importing import Verification

    admission = AdmissionConfig(
        trials=8 if trials is None else trials,
        trial_tool_calls=300 if tool_calls is None else tool_calls,
    )
    named = cast("BoxName", box)
    return Verification(box=named, admission=admission, options=options, seed=seed, again=again)


def _verify_and_merge(
    output: Output, records: Records, digest: str, how: Verification, document: JsonObject
) -> None:
    """Run the gates, serve what passed, and say so; exits with 1 where nothing did."""
    from agentlab.cli.packs_shown import tell_merge
    from agentlab.graph.importing import verify_pack
    from agentlab.library.merging import merge

    output.line()
    output.line("Verifying here; each skill is run in a box, from fresh starts.")
    found = asyncio.run(verify_pack(records, digest, how))
    _tell_checked(output, found)
    good = [checked for checked in found if checked.passed]
    lines = merge(records, digest) if good else ()
    if lines:
        tell_merge(output, lines)
    row = records.packs.get(digest)
    document["state"] = row.state
    document["checked"] = [_checked_document(checked) for checked in found]
    document["merged"] = [
        {"skill": line.skill, "now": line.what, "reason": line.reason} for line in lines
    ]
    output.document(document)
    if not good:
        output.line(f"Nothing of {row.name} serves here.", strong=True)
        output.next("packs", "list")
        raise SystemExit(1)
    output.line(f"{count(len(good), 'skill')} of {len(found)} verified here.", strong=True)
    output.next("skills", "list")


def _verify_source(output: Output, source: str) -> None:
    from agentlab.library.packs import folder
    from agentlab.library.shelf import open_files

    found = folder.read(open_files(source))
    manifest = found.pack.manifest
    key = found.signers.author if found.signers else None
    output.document(
        {"id": manifest.id, "version": manifest.version, "digest": found.digest, "key_id": key}
    )
    who = f"signed by key {key[:16]}" if key else "signed by nobody"
    output.line(f"{manifest.id} {manifest.version} is what its manifest says, {who}.", strong=True)
    output.next("packs", "import", source)


def _verify_held(output: Output, records: Records, name: str | None, how: Verification) -> None:
    from agentlab.graph.importing import verify_pack
    from agentlab.library.merging import merge
    from agentlab.library.shelf import find_packs, open_pack

    rows = records.packs.all() if name is None else find_packs(records, name)
    documents: list[JsonObject] = []
    failed = False
    for row in rows:
        open_pack(records, row.digest)
        found: tuple[Checked, ...] = ()
        if row.state in ("approved", "verified", "active"):
            found = asyncio.run(verify_pack(records, row.digest, how))
            state = records.packs.get(row.digest).state
            if state in ("verified", "active"):
                merge(records, row.digest)
            failed = failed or not any(checked.passed for checked in found)
        now = records.packs.get(row.digest)
        document = _row_document(now, len(found))
        document["checked"] = [_checked_document(c) for c in found]
        documents.append(document)
        told = f"{now.name} {now.version}: every byte is as received; {now.state}."
        output.line(told, strong=True)
        _tell_checked(output, found)
    output.document(documents)
    output.next("packs", "list")
    if failed:
        raise SystemExit(1)


def _tell_checked(output: Output, found: tuple[Checked, ...]) -> None:
    if not found:
        return
    rows = [
        [c.name, "yes" if c.passed else "no", c.reason or ("now" if c.again else "holds still")]
        for c in found
    ]
    output.table(Table("Verified here", ("skill", "passed", "why"), rows))


def _checked_document(checked: Checked) -> JsonObject:
    return {
        "skill": checked.skill,
        "name": checked.name,
        "passed": checked.passed,
        "reason": checked.reason,
        "again": checked.again,
    }


def _row_document(row: PackRow, skills: int) -> JsonObject:
    return {
        "id": row.name,
        "version": row.version,
        "digest": row.digest,
        "key_id": row.key,
        "state": row.state,
        "reason": row.reason,
        "skills": skills,
    }


def _is_source(name: str) -> bool:
    """Whether something is named that is not on record: a path, an address, a shipped pack."""
    from agentlab.library.packs.repository import is_address

    return Path(name).exists() or is_address(name)
