"""`agentlab keys`: the keys that packs are signed with, and whose keys are believed.

They belong to a person and not to a workspace, so they lie in the user's configuration, in a
folder that nobody else can read. No private half is ever printed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentlab.cli.options import DisplayName, option, output_options

if TYPE_CHECKING:
    from agentlab.library.packs.trust import TrustStore
    from agentlab.types import JsonObject

F = TypeVar("F", bound=Callable[..., Any])
TRUSTED = "trusted.db"
DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def keys_option(function: F) -> F:
    """Add `--keys DIR`, passed as `keys: Path | None`; see `keys_folder`."""
    return option(
        "--keys",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="AGENTLAB_KEYS",
        metavar="DIR",
        help="Where keys and trusted keys lie. [default: agentlab/keys in the user's settings]",
    )(function)


def keys_folder(given: Path | None) -> Path:
    """The folder of keys; see `library.packs.trust.keys_folder`."""
    from agentlab.library.packs import trust

    return trust.keys_folder(given)


def trust_store(given: Path | None) -> TrustStore:
    """The keys that the user has approved."""
    from agentlab.library.packs.trust import TrustStore

    return TrustStore(keys_folder(given) / TRUSTED)


def key_file(given: Path | None, name: str) -> Path:
    """The private half of a key by its name, or by a path.

    Raises:
        SigningKeyError: the name is none.
    """
    from agentlab.errors import SigningKeyError

    if os.sep in name:
        return Path(name)
    if not _NAME.fullmatch(name) or name.endswith(".pub") or name == TRUSTED:
        raise SigningKeyError(
            f"{name!r} is no name of a key; use up to 64 letters, digits, '.', '_' and '-'."
        )
    return keys_folder(given) / name


@click.group()
def keys() -> None:
    """Make keys to sign packs with, and say whose packs are believed."""


@keys.command()
@click.argument("name", metavar="NAME", default=DEFAULT)
@keys_option
@output_options
def create(name: str, keys: Path | None, as_json: bool, display: DisplayName | None) -> None:
    """Make the key NAME: a private half for you alone, and a public one to give away."""
    from agentlab.cli.output import opened

    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.packs.keys import create_key

        path = key_file(keys, name)
        key = create_key(path)
        output.document({"name": name, "key_id": key.key_id, "public": f"{path}.pub"})
        output.line(f"Made the key {name!r}, {key.key_id[:16]}; its public half is {path}.pub.")
        output.next("packs", "export", "--key", name, "--help")


@keys.command("list")
@keys_option
@output_options
def list_(keys: Path | None, as_json: bool, display: DisplayName | None) -> None:
    """Your own keys, and the keys that you believe for packs of others."""
    from agentlab.cli.output import Table, opened

    with opened(as_json=as_json, display=display) as output:
        own = _own(keys_folder(keys))
        trusted = trust_store(keys).trusted()
        believed: list[JsonObject] = [
            {"pack": t.pack, "key_id": t.key_id, "version": t.version} for t in trusted
        ]
        output.document({"keys": list(own), "trusted": list(believed)})
        if own:
            rows = [[str(key["name"]), str(key["key_id"])[:16]] for key in own]
            output.table(Table("Your keys", ("name", "key"), rows))
        if trusted:
            rows = [[t.pack, t.key_id[:16], t.version] for t in trusted]
            output.table(Table("Believed for", ("pack", "key", "since version"), rows))
        if not own and not trusted:
            output.line("There is no key yet, and none is believed.")
        output.next("keys", "create")


@keys.command()
@click.argument("name", metavar="NAME", default=DEFAULT)
@keys_option
@output_options
def show(name: str, keys: Path | None, as_json: bool, display: DisplayName | None) -> None:
    """The public half of the key NAME, to give to those who import your packs."""
    from agentlab.cli.output import opened

    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.packs.canonical import sha256
        from agentlab.library.packs.keys import load_public

        path = Path(f"{key_file(keys, name)}.pub")
        key_id = sha256(load_public(path))
        text = path.read_text(encoding="ascii")
        output.document({"name": name, "key_id": key_id, "public": text})
        output.line(f"Key {name!r}, {key_id}", strong=True)
        output.line(text.strip())
        output.next("keys", "list")


@keys.command()
@click.argument("pack", metavar="PACK")
@option(
    "--key", "public", required=True, metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path), help="The author's public half, a .pub file.",
)  # fmt: skip
@keys_option
@output_options
def trust(
    pack: str, public: Path, keys: Path | None, as_json: bool, display: DisplayName | None
) -> None:
    """Believe a key for PACK (owner/name) before the first import of it."""
    from agentlab.cli.output import opened

    with opened(as_json=as_json, display=display) as output:
        from agentlab.library.packs.canonical import sha256
        from agentlab.library.packs.keys import load_public

        data = load_public(public)
        trust_store(keys).pin(pack, sha256(data), data, version="0.0.0")
        output.document({"pack": pack, "key_id": sha256(data)})
        output.line(f"Packs of {pack} are believed by key {sha256(data)[:16]} and no other.")
        output.next("packs", "import", pack)


@keys.command()
@click.argument("pack", metavar="PACK")
@keys_option
@output_options
def forget(pack: str, keys: Path | None, as_json: bool, display: DisplayName | None) -> None:
    """Forget the key of PACK, so that the next one is a first one again."""
    from agentlab.cli.output import opened

    with opened(as_json=as_json, display=display) as output:
        from agentlab.errors import UnknownNameError

        store = trust_store(keys)
        known = [t.pack for t in store.trusted()]
        if not store.forget(pack):
            raise UnknownNameError("pack with a trusted key", pack, known)
        output.document({"pack": pack, "forgotten": True})
        output.line(f"The key of {pack} is forgotten; ask its owner before you trust a new one.")
        output.next("keys", "list")


def _own(folder: Path) -> list[JsonObject]:
    """Name and id of each key in the folder, by its public half."""
    paths = sorted(folder.glob("*.pub"))
    if not paths:
        return []
    from agentlab.library.packs.canonical import sha256
    from agentlab.library.packs.keys import load_public

    return [{"name": p.stem, "key_id": sha256(load_public(p))} for p in paths]
