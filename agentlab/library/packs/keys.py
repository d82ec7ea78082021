"""Ed25519 keys: made, kept in files that nobody else can read, and told apart by a digest.

The private half never leaves its file but to sign; it is not printed, logged or put into a
pack. `cryptography` is imported when a key is first used, since most runs never sign.
"""

from __future__ import annotations

import os
import stat
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from agentlab.errors import MissingExtraError, SigningKeyError
from agentlab.library.packs.canonical import sha256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
MAX_KEY_FILE = 10_000
"""Bytes; a PEM file of an Ed25519 key has about 120."""


class SigningKey:
    """The private half of a key, in memory."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public: bytes = private.public_key().public_bytes_raw()
        """The public half, 32 bytes."""

    @property
    def key_id(self) -> str:
        """SHA-256 of the public half, 64 digits."""
        return sha256(self.public)

    def sign(self, data: bytes) -> bytes:
        """The signature, 64 bytes; the same data always gives the same."""
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id[:16]}…)"


def create_key(path: str | Path) -> SigningKey:
    """Make a key: the private half at `path` with mode 0600, the public one at `path`.pub.

    Raises:
        SigningKeyError: a file is there already, or the folder cannot be written.
        MissingExtraError: `cryptography` is not installed.
    """
    _require()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    secret = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    shown = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write_new(path, secret, 0o600)
    _write_new(f"{os.fspath(path)}.pub", shown, 0o644)
    return SigningKey(private)


def load_key(path: str | Path) -> SigningKey:
    """The key in a file that only its owner can read.

    Raises:
        SigningKeyError: it is missing, a link, readable by others, or no Ed25519 key.
        MissingExtraError: `cryptography` is not installed.
    """
    _require()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = _read_private(path)
    try:
        private = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise SigningKeyError(f"The file {str(path)!r} holds no unencrypted Ed25519 key in PEM.")
    return SigningKey(private)


def load_public(path: str | Path) -> bytes:
    """The 32 bytes of the public half in a `.pub` file.

    Raises:
        SigningKeyError: the file is missing or holds no Ed25519 key.
        MissingExtraError: `cryptography` is not installed.
    """
    _require()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        public = serialization.load_pem_public_key(Path(path).read_bytes()[:MAX_KEY_FILE])
    except OSError as error:
        raise SigningKeyError(
            f"The key file {str(path)!r} cannot be read: {error.strerror}."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise SigningKeyError(f"The file {str(path)!r} holds no public Ed25519 key in PEM.")
    return public.public_bytes_raw()


def is_signed(public: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the holder of the key signed exactly this data.

    Raises:
        MissingExtraError: `cryptography` is not installed.
    """
    _require()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _require() -> None:
    if find_spec("cryptography") is None:
        raise MissingExtraError("Signing and checking packs", "packs")


def _write_new(path: str | Path, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, mode)
    except FileExistsError:
        raise SigningKeyError(
            f"There is a file {os.fspath(path)!r} already; name another, keys are never replaced."
        ) from None
    except OSError as error:
        raise SigningKeyError(
            f"The key file {os.fspath(path)!r} cannot be made: {error.strerror}."
        ) from None
    with open(descriptor, "wb") as file:
        # The mask of the process may have taken rights away, never added any.
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_private(path: str | Path) -> bytes:
    shown = os.fspath(path)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except OSError as error:
        raise SigningKeyError(f"The key file {shown!r} cannot be read: {error.strerror}.") from None
    with open(descriptor, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise SigningKeyError(f"The key file {shown!r} is not a plain file.")
        if state.st_mode & 0o077:
            raise SigningKeyError(
                f"The key file {shown!r} can be read by others; make a new key, "
                "or `chmod 600` it if nobody has read it."
            )
        if state.st_uid != os.geteuid():
            raise SigningKeyError(f"The key file {shown!r} belongs to another user.")
        return file.read(MAX_KEY_FILE)
