"""`agentlab packs`, the rest: packs go out, are compared, merged, revoked, and put back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.analysis.figures import count
from agentlab.cli.keys import key_file, keys_option
from agentlab.cli.options import DisplayName, option, output_options, workspace_option
from agentlab.cli.output import Output, opened

if TYPE_CHECKING:
    from agentlab.library.packs.contents import Pack
    from agentlab.library.packs.keys import SigningKey
    from agentlab.records import Records


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@option("--environment", metavar="ENV", help="Whose skills.")
@option("--out", required=True, metavar="DIR|FILE.zip", type=click.Path(path_type=Path),
        help="A new folder, or a new zip file.")  # fmt: skip
@option("--id", "pack", required=True, metavar="OWNER/NAME", help="The name of the pack.")
@option("--version", metavar="X.Y.Z",
        help="Without it, the pack of that name that came in is given on as it is.")  # fmt: skip
@option("--licence", metavar="SPDX", help="Without one, others may use the skills, not share them.")
@option("--licence-file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
        help="The text of the licence, unless it is Apache-2.0.")  # fmt: skip
@option("--author", "authors", multiple=True, metavar="NAME", help="May be repeated.")
@option("--summary", default="", metavar="TEXT", help="One line.")
@option("--created", metavar="TIME", help="ISO 8601. [default: when the newest skill was learnt]")
@option("--key", metavar="NAME|FILE", help="Sign it with this key; see `agentlab keys`.")
@keys_option
@workspace_option
@output_options
def export(
    names: tuple[str, ...],
    environment: str | None,
    out: Path,
    pack: str,
    version: str | None,
    licence: str | None,
    licence_file: Path | None,
    authors: tuple[str, ...],
    summary: str,
    created: str | None,
    key: str | None,
    keys: Path | None,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Make a pack of the skills that were learnt here, or of NAMEs, with all that they call."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.errors import UsageError
        from agentlab.library.exporting import Export, export_held, write
        from agentlab.library.exporting import export as make
        from agentlab.library.packs import folder
        from agentlab.records import Records, Workspace

        with Records.open(Workspace.open(workspace, create=False)) as records:
            if version is None:
                made = export_held(records, pack)
            elif environment is None:
                raise UsageError("Say whose skills to export with --environment.")
            else:
                wanted = Export(
                    id=pack,
                    version=version,
                    environment=environment,
                    names=names,
                    licence=licence,
                    licence_file=licence_file,
                    authors=authors,
                    summary=summary,
                    created=created,
                )
                made = make(records, wanted, key=_key(keys, key))
        write(out, made)
        found = folder.read(made)
        skills = [p.manifest.id for p in found.pack.skills]
        output.document(
            {
                "id": found.pack.manifest.id,
                "version": found.pack.manifest.version,
                "digest": found.digest,
                "key_id": found.signers.author if found.signers else None,
                "out": str(out),
                "skills": list(skills),
            }
        )
        who = "signed" if found.signers else "unsigned"
        output.line(f"Wrote {count(len(skills), 'skill')} to {out}, {who}.", strong=True)
        output.line(f"Digest {found.digest}.")
        output.next("packs", "inspect", str(out))


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@workspace_option
@output_options
def diff(
    before: str, after: str, workspace: Path, as_json: bool, display: DisplayName | None
) -> None:
    """How pack B differs from pack A. Each is a path, an address, or a pack that came in."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.cli.packs_shown import change_document, tell_changes
        from agentlab.library.packs.compare import compare

        old, new = _pack(workspace, before), _pack(workspace, after)
        found = compare(old, new)
        output.document(
            {
                "skills": [change_document(change) for change in found.skills],
                "notes_added": list(found.notes_added),
                "notes_removed": list(found.notes_removed),
                "licences_added": list(found.licences_added),
                "widened": found.widened,
            }
        )
        if found.empty:
            output.line("They are the same, but for signatures.", strong=True)
        tell_changes(output, found.skills)
        for label, ids in (("added", found.notes_added), ("removed", found.notes_removed)):
            if ids:
                output.line(f"{count(len(ids), 'note')} {label}: {', '.join(ids)}")
        output.next("packs", "inspect", after)


@click.command()
@click.argument("first", metavar="ID|A")
@click.argument("second", metavar="[B]", required=False)
@option("--out", metavar="DIR|FILE.zip", type=click.Path(path_type=Path),
        help="Where the pack made of A and B goes.")  # fmt: skip
@option("--id", "pack", metavar="OWNER/NAME", help="The name of the pack made of A and B.")
@option("--version", metavar="X.Y.Z", default="1.0.0", show_default=True, help="Of that pack.")
@option("--author", "authors", multiple=True, metavar="NAME", help="Of that pack.")
@option("--key", metavar="NAME|FILE", help="Sign that pack with this key.")
@keys_option
@workspace_option
@output_options
def merge(
    first: str,
    second: str | None,
    out: Path | None,
    pack: str | None,
    version: str,
    authors: tuple[str, ...],
    key: str | None,
    keys: Path | None,
    workspace: Path,
    as_json: bool,
    display: DisplayName | None,
) -> None:
    """Serve what was verified of the pack ID, or make one pack out of A and B.

    Prints what changed. Undo the former with `agentlab packs undo`.
    """
    with opened(as_json=as_json, display=display) as output:
        from agentlab.cli.packs_shown import tell_merge
        from agentlab.errors import UsageError
        from agentlab.library.merging import merge as serve
        from agentlab.library.shelf import newest_pack, open_pack
        from agentlab.records import Records, Workspace

        if second is not None:
            if out is None or pack is None:
                raise UsageError("Say where the pack of both goes, with --out and --id.")
            united = _pack(workspace, first), _pack(workspace, second)
            _unite(output, united, out, pack, version, authors, _key(keys, key))
            return
        with Records.open(Workspace.open(workspace, create=False)) as records:
            row = newest_pack(records, first)
            open_pack(records, row.digest)
            lines = serve(records, row.digest)
        output.document(
            [{"skill": n.skill, "name": n.name, "now": n.what, "reason": n.reason} for n in lines]
        )
        tell_merge(output, lines)
        output.next("packs", "undo")


@click.command()
@click.argument("name", metavar="ID")
@option("--reason", default="revoked by hand", show_default=True, metavar="TEXT", help="Why.")
@workspace_option
@output_options
def revoke(
    name: str, reason: str, workspace: Path, as_json: bool, display: DisplayName | None
) -> None:
    """Retire the pack ID, or one skill of it (owner/name.skill), and all derived from it."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.revocation import revoke as retire
        from agentlab.records import Records, Workspace

        with Records.open(Workspace.open(workspace, create=False)) as records:
            rows, skill = _meant(records, name)
            found = retire(records, rows, skill, reason=reason)
        output.document(
            {
                "items": list(found.items),
                "derived": list(found.derived),
                "packs": list(found.packs),
            }
        )
        output.line(
            f"Revoked {name}: {count(len(found.items), 'skill')} of it and "
            f"{count(len(found.derived), 'skill')} derived from it serve no more.",
            strong=True,
        )
        output.next("packs", "undo")


@click.command()
@workspace_option
@output_options
def undo(workspace: Path, as_json: bool, display: DisplayName | None) -> None:
    """Take back the newest merge or revocation, as a whole."""
    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.merging import undo as take_back
        from agentlab.records import Records, Workspace

        with Records.open(Workspace.open(workspace, create=False)) as records:
            found = take_back(records)
        output.document(
            {
                "kind": found.kind,
                "pack": found.pack.name,
                "state": found.pack.state,
                "items": found.items,
                "left": list(found.left),
            }
        )
        output.line(
            f"Took back the {found.kind} of {found.pack.name} {found.pack.version}: "
            f"{count(found.items, 'skill')} put back; the pack is {found.pack.state}.",
            strong=True,
        )
        if found.left:
            output.line(f"Changed since, and left as they are: {', '.join(found.left)}.")
        output.next("packs", "list")


def _unite(
    output: Output,
    both: tuple[Pack, Pack],
    out: Path,
    pack: str,
    version: str,
    authors: tuple[str, ...],
    key: SigningKey | None,
) -> None:
    from agentlab.cli.packs_shown import change_document, tell_changes
    from agentlab.library.exporting import write
    from agentlab.library.packs import folder
    from agentlab.library.packs.compare import compare
    from agentlab.library.packs.union import unite

    united = unite(*both, id=pack, version=version, authors=authors)
    files = folder.build(united.pack, key=key)
    write(out, files)
    found = folder.read(files)
    changes = compare(None, found.pack).skills
    output.document(
        {
            "id": pack,
            "digest": found.digest,
            "out": str(out),
            "left": list(united.left),
            "skills": [change_document(change) for change in changes],
        }
    )
    tell_changes(output, changes)
    for line in united.left:
        output.line(line)
    output.line(f"Wrote {count(len(changes), 'skill')} to {out}.", strong=True)
    output.next("packs", "inspect", str(out))


def _key(keys: Path | None, name: str | None) -> SigningKey | None:
    from agentlab.library.packs.keys import load_key

    return None if name is None else load_key(key_file(keys, name))


def _pack(workspace: Path, name: str) -> Pack:
    """A pack by path or address, or one that came in, by its name."""
    from agentlab.library.packs import folder
    from agentlab.library.packs.repository import is_address
    from agentlab.library.shelf import newest_pack, open_files, open_pack
    from agentlab.records import Records, Workspace

    if not Path(name).exists() and not is_address(name) and workspace.exists():
        with Records.open(Workspace.open(workspace, create=False)) as records:
            plain = name.partition("@")[0]
            if any(plain == row.name or row.digest.startswith(name) for row in records.packs.all()):
                return open_pack(records, newest_pack(records, name).digest).pack
    return folder.read(open_files(name)).pack


def _meant(records: Records, name: str):  # pyright infers it
    """The packs that an id names, and the one skill of them, if it names one."""
    from agentlab.errors import UnknownNameError
    from agentlab.library.shelf import find_packs

    rows = records.packs.skills(ids=[name])
    if rows:
        wanted = {row.pack for row in rows}
        return [row for row in records.packs.all() if row.digest in wanted], name
    try:
        return find_packs(records, name), None
    except UnknownNameError as error:
        ids = {row.skill for row in records.packs.skills()}
        raise UnknownNameError("pack or skill of one", name, {*error.known, *ids}) from None
