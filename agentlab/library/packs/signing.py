"""Signatures over manifests: Ed25519 in DSSE envelopes around in-toto statements.

A signature says who, never that a pack is safe. What is signed is a statement that names the
digest of a manifest, its id and version, and the author's key, so that nobody can add a
signature of their own and pass for the author. Encoding after DSSE 1.0
(github.com/secure-systems-lab/dsse, protocol.md). This profile is narrower: base64 in the
standard alphabet only, a canonical file, and the public key of each signature beside it, which
`keyid`, its digest, must match; whether a key is believed is `trust`'s business.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, StringConstraints

from agentlab.library.packs.canonical import decode, decode_model, encode, encode_model, sha256
from agentlab.library.packs.keys import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey, is_signed
from agentlab.library.packs.manifest import FORMAT, Digest, PackManifest, SkillManifest
from agentlab.library.packs.refusal import refuse
from agentlab.types.base import Frozen

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:agentlab:pack:1"
MAX_SIGNATURES = 16

_Base64 = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9+/]*={0,2}$")]


class Signature(Frozen):
    """One signature of an envelope."""

    keyid: Digest
    publicKey: _Base64
    sig: _Base64


class Envelope(Frozen):
    """A DSSE envelope."""

    payload: _Base64
    payloadType: Literal["application/vnd.in-toto+json"] = PAYLOAD_TYPE
    signatures: tuple[Signature, ...] = Field(min_length=1, max_length=MAX_SIGNATURES)


class Signers(NamedTuple):
    """Who signed a manifest; each signature has been checked."""

    author: str
    """Key id of the author, which the statement names."""
    public: bytes
    """The author's public key, 32 bytes."""
    others: tuple[str, ...]
    """Key ids that signed as well, sorted."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding of DSSE: what is signed in place of the payload."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def statement(manifest: PackManifest | SkillManifest, author: str) -> bytes:
    """The in-toto statement that names a manifest and its author's key id."""
    name = "pack.json" if isinstance(manifest, PackManifest) else "manifest.json"
    return encode(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": manifest.digest}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "format": FORMAT,
                "id": manifest.id,
                "version": manifest.version,
                "author": author,
            },
        }
    )


def sign(manifest: PackManifest | SkillManifest, key: SigningKey) -> bytes:
    """The envelope by which the author vouches for a manifest."""
    payload = statement(manifest, key.key_id)
    return encode_model(Envelope(payload=_spell(payload), signatures=(_signature(payload, key),)))


def countersign(file: str, envelope: bytes, key: SigningKey) -> bytes:
    """The envelope with one more signature over the same statement.

    Raises:
        PackRefusedError: the envelope is not one, or has that key's signature already.
    """
    found = parse(file, envelope)
    if any(signature.keyid == key.key_id for signature in found.signatures):
        raise refuse(file, "signature", "is signed by that key already")
    payload = _unspell(file, found.payload)
    signatures = sorted((*found.signatures, _signature(payload, key)), key=lambda s: s.keyid)
    return encode_model(found.model_copy(update={"signatures": tuple(signatures)}))


def parse(file: str, data: bytes) -> Envelope:
    """The envelope in a file, nothing of it checked but its form.

    Raises:
        PackRefusedError: it is not an envelope of this profile.
    """
    return decode_model(Envelope, file, decode(file, data))


def is_about(file: str, data: bytes, manifest: PackManifest | SkillManifest) -> bool:
    """Whether an envelope is over this manifest, without checking who signed it.

    Raises:
        PackRefusedError: it is not an envelope of this profile.
    """
    envelope = parse(file, data)
    payload = _unspell(file, envelope.payload)
    return any(payload == statement(manifest, s.keyid) for s in envelope.signatures)


def check(file: str, data: bytes, manifest: PackManifest | SkillManifest) -> Signers:
    """Who signed the manifest, by an envelope of which every signature holds.

    Raises:
        PackRefusedError: a signature does not hold, or is for something else.
        MissingExtraError: `cryptography` is not installed.
    """
    envelope = parse(file, data)
    payload = _unspell(file, envelope.payload)
    signed = pae(envelope.payloadType, payload)
    keys: dict[str, bytes] = {}
    for signature in envelope.signatures:
        public = _unspell(file, signature.publicKey)
        value = _unspell(file, signature.sig)
        if len(public) != PUBLIC_BYTES or len(value) != SIGNATURE_BYTES:
            raise refuse(file, "signature", "has a key or a signature of the wrong length")
        if sha256(public) != signature.keyid:
            raise refuse(file, "signature", "names a key by the digest of another")
        if not is_signed(public, value, signed):
            raise refuse(file, "signature", f"has a wrong signature of key {signature.keyid[:16]}")
        keys[signature.keyid] = public
    if list(keys) != sorted(keys) or len(keys) != len(envelope.signatures):
        raise refuse(file, "signature", "has its signatures out of order or twice")
    for author in keys:
        if payload == statement(manifest, author):
            others = tuple(key for key in keys if key != author)
            return Signers(author, keys[author], others)
    raise refuse(file, "signature", "is for another manifest, or its author has not signed")


def _signature(payload: bytes, key: SigningKey) -> Signature:
    value = key.sign(pae(PAYLOAD_TYPE, payload))
    return Signature(keyid=key.key_id, publicKey=_spell(key.public), sig=_spell(value))


def _spell(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unspell(file: str, text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise refuse(file, "signature", "is not base64") from None
    # The last character may hold bits that decoding drops: two spellings of one signature.
    if _spell(data) != text:
        raise refuse(file, "signature", "is not the one spelling of base64 that is allowed")
    return data
