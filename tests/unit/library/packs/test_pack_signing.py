"""Signatures, key files and the store of trusted keys."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agentlab.errors import MissingExtraError, PackRefusedError, SigningKeyError
from agentlab.library.packs import keys, signing
from agentlab.library.packs.canonical import sha256
from agentlab.library.packs.folder import build, read
from agentlab.library.packs.keys import SigningKey, create_key, is_signed, load_key, load_public
from agentlab.library.packs.trust import TrustStore, our_key
from agentlab.testing.sample_packs import sample_key, sample_pack

MANIFEST = sample_pack().manifest


def test_encoding_is_that_of_the_specification() -> None:
    # The example of DSSE's protocol.md.
    found = signing.pae("http://example.com/HelloWorld", b"hello world")
    assert found == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert signing.pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_ed25519_is_that_of_the_standard() -> None:
    # RFC 8032, section 7.1, test 2.
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert is_signed(public, signature, b"\x72")
    assert not is_signed(public, signature, b"\x73")
    assert not is_signed(public, signature[:-1], b"\x72")
    assert not is_signed(public[:-1], signature, b"\x72")


def test_statements_are_in_toto() -> None:
    envelope = json.loads(signing.sign(MANIFEST, sample_key()))
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "pack.json", "digest": {"sha256": MANIFEST.digest}}]
    assert statement["predicate"]["author"] == sample_key().key_id


def test_a_signature_says_who() -> None:
    key = sample_key()
    found = signing.check("e", signing.sign(MANIFEST, key), MANIFEST)
    assert found == (key.key_id, key.public, ())
    assert key.key_id == sha256(key.public)


def test_others_can_sign_and_the_author_stays() -> None:
    author, second, third = sample_key(), sample_key(1), sample_key(2)
    envelope = signing.sign(MANIFEST, author)
    for key in (second, third):
        envelope = signing.countersign("e", envelope, key)
    found = signing.check("e", envelope, MANIFEST)
    assert found.author == author.key_id
    assert found.others == tuple(sorted((second.key_id, third.key_id)))
    with pytest.raises(PackRefusedError, match="already"):
        signing.countersign("e", envelope, third)


def test_nobody_becomes_the_author_by_signing_too() -> None:
    author, other = sample_key(), sample_key(1)
    envelope = json.loads(signing.countersign("e", signing.sign(MANIFEST, author), other))
    envelope["signatures"] = [s for s in envelope["signatures"] if s["keyid"] == other.key_id]
    data = json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(PackRefusedError, match="author has not signed"):
        signing.check("e", data, MANIFEST)


def test_countersigned_packs_are_read_and_built_again() -> None:
    files = build(sample_pack(), key=sample_key())
    files["pack.dsse.json"] = signing.countersign(
        "pack.dsse.json", files["pack.dsse.json"], sample_key(1)
    )
    opened = read(files)
    assert opened.signers is not None
    assert opened.signers.others == (sample_key(1).key_id,)
    assert build(opened.pack) == files


def test_base64_has_one_spelling() -> None:
    envelope = json.loads(signing.sign(MANIFEST, sample_key()))
    value: str = envelope["signatures"][0]["sig"]
    assert value.endswith("==")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = value[:-3] + letters[letters.index(value[-3]) + 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(value)
    envelope["signatures"][0]["sig"] = other
    data = json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(PackRefusedError, match="spelling of base64"):
        signing.check("e", data, MANIFEST)


def test_keys_are_kept_where_nobody_else_reads(tmp_path: Path) -> None:
    path = tmp_path / "me"
    old = os.umask(0)
    try:
        key = create_key(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "me.pub").stat().st_mode) == 0o644
    assert load_key(path).public == key.public
    assert load_public(tmp_path / "me.pub") == key.public
    secret = path.read_text().splitlines()[1]
    assert secret not in (tmp_path / "me.pub").read_text()
    assert secret not in repr(key) and repr(key) == f"SigningKey({key.key_id[:16]}…)"


def test_keys_are_never_replaced(tmp_path: Path) -> None:
    create_key(tmp_path / "me")
    before = (tmp_path / "me").read_bytes()
    with pytest.raises(SigningKeyError, match="never replaced"):
        create_key(tmp_path / "me")
    assert (tmp_path / "me").read_bytes() == before
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SigningKeyError, match="never replaced"):
        create_key(tmp_path / "link")
    with pytest.raises(SigningKeyError, match="cannot be made"):
        create_key(tmp_path / "no" / "me")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o777])
def test_keys_that_others_can_read_are_refused(tmp_path: Path, mode: int) -> None:
    create_key(tmp_path / "me")
    (tmp_path / "me").chmod(mode)
    with pytest.raises(SigningKeyError, match="read by others"):
        load_key(tmp_path / "me")


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "me"
    with pytest.raises(SigningKeyError, match="cannot be read"):
        load_key(path)
    with pytest.raises(SigningKeyError, match="cannot be read"):
        load_public(path)
    path.write_text("nothing")
    path.chmod(0o600)
    with pytest.raises(SigningKeyError, match="no unencrypted Ed25519 key"):
        load_key(path)
    with pytest.raises(SigningKeyError, match="no public Ed25519 key"):
        load_public(path)
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(other)
    with pytest.raises(SigningKeyError, match="no unencrypted Ed25519 key"):
        load_key(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(SigningKeyError, match="cannot be read"):
        load_key(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SigningKeyError, match="not a plain file"):
        load_key(tmp_path / "pipe")


def test_without_cryptography_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        assert name == "cryptography"

    monkeypatch.setattr(keys, "find_spec", missing)
    with pytest.raises(MissingExtraError, match=r"agentlab-practice\[packs\]"):
        is_signed(b"", b"", b"")
    # An unsigned pack needs no signatures to be checked.
    assert read(build(sample_pack())).signers is None


def test_reading_a_pack_loads_no_cryptography() -> None:
    statement = (
        "import sys; import agentlab.library.packs.folder, agentlab.library.packs.trust; "
        "print(any(m.partition('.')[0] == 'cryptography' for m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", statement], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"


def pinned(path: Path, key: SigningKey) -> TrustStore:
    store = TrustStore(path)
    store.pin("a/b", key.key_id, key.public, version="1.0.0")
    return store


def test_the_first_key_is_kept_on_approval_only(tmp_path: Path) -> None:
    key = sample_key()
    store = TrustStore(tmp_path / "trust.db")
    assert store.standing("a/b", key.key_id) == "first"
    assert store.standing("a/b", None) == "unsigned"
    assert store.key_of("a/b") is None
    store.pin("a/b", key.key_id, key.public, version="1.0.0")
    assert TrustStore(tmp_path / "trust.db").standing("a/b", key.key_id) == "known"
    assert store.trusted() == [("a/b", key.key_id, key.public, "1.0.0")]
    assert store.standing("a/c", key.key_id) == "first"


def test_a_changed_key_stops(tmp_path: Path) -> None:
    store = pinned(tmp_path / "trust.db", sample_key())
    other = sample_key(1)
    for key_id in (other.key_id, None):
        with pytest.raises(PackRefusedError) as refusal:
            store.standing("a/b", key_id)
        assert refusal.value.reason == "changed-key"
    with pytest.raises(PackRefusedError):
        store.pin("a/b", other.key_id, other.public, version="2.0.0")
    kept = store.key_of("a/b")
    assert kept is not None and kept.key_id == sample_key().key_id
    assert store.forget("a/b") and not store.forget("a/b")
    assert store.standing("a/b", other.key_id) == "first"


def test_a_damaged_store_is_said(tmp_path: Path) -> None:
    (tmp_path / "trust.db").write_text("no database" * 100)
    with pytest.raises(SigningKeyError, match="store of trusted keys"):
        TrustStore(tmp_path / "trust.db").trusted()
    with pytest.raises(SigningKeyError, match="store of trusted keys"):
        TrustStore(tmp_path / "no" / "trust.db").trusted()


def test_only_the_shipped_key_speaks_for_agentlab(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trust.db")
    ours = our_key()
    assert ours is not None
    assert store.standing("agentlab/anything", ours) == "first"
    for other in ("0" * 64, None):
        with pytest.raises(PackRefusedError, match="only come from agentlab's own key"):
            store.standing("agentlab/anything", other)
    assert store.standing("agentlabs/anything", "0" * 64) == "first"
