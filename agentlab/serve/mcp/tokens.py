"""Who calls over HTTP: bearer tokens, and the scope that each opens.

A token comes from a file or a variable, never from the command line, which other users of a
machine can read. Only digests are kept; they are compared in constant time, all of them whoever
asks, so that the time of an answer tells nothing. No text of a token is ever in an error.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agentlab.errors import ConfigError, UsageError
from agentlab.types import SHARED, Frozen, Scope

VARIABLE = "AGENTLAB_MCP_TOKEN"
SHORTEST = 24
"""Characters of a token: 18 random bytes in base 64 are that many."""
MOST_FILE = 1 << 20
MOST_TOKENS = 1000
_TOKEN = re.compile(rf"[A-Za-z0-9._~+/=-]{{{SHORTEST},512}}")
MAKE = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"


class Principal(Frozen):
    """Who calls, as far as the server knows: one token."""

    name: str
    """`token-1` and so on, by its place in the file: what logs and records may say."""
    scope: Scope = SHARED
    """Whose items it is offered, with those of the scopes around it."""


LOCAL = Principal(name="stdio")
"""The client that started the server."""


class _Known(NamedTuple):
    digest: bytes
    principal: Principal


class Tokens:
    """The tokens that open the server.

    Args:
        given: token to scope, in order.

    Raises:
        ConfigError: there is none, two are alike, one is short or a scope is none.
    """

    def __init__(self, given: Sequence[tuple[str, str]]) -> None:
        known: list[_Known] = []
        for number, (token, scope) in enumerate(given, start=1):
            if not _TOKEN.fullmatch(token):
                raise ConfigError(
                    f"The token number {number} is no token: it needs {SHORTEST} to 512 letters, "
                    f"digits and ._~+/=-; make one with `{MAKE}`."
                )
            try:
                whose = Scope.parse(scope)
            except UsageError as error:
                raise ConfigError(f"Of the token number {number}: {error}") from None
            known.append(_Known(_digest(token), Principal(name=f"token-{number}", scope=whose)))
        if not known or len(known) > MOST_TOKENS:
            raise ConfigError(f"There must be 1 to {MOST_TOKENS} tokens, not {len(known)}.")
        if len({each.digest for each in known}) < len(known):
            raise ConfigError("Two tokens are alike; each caller needs one of its own.")
        self._known = tuple(known)

    @property
    def principals(self) -> tuple[Principal, ...]:
        """Whoever may call."""
        return tuple(each.principal for each in self._known)

    def whose(self, token: str) -> Principal | None:
        """Who brings the token; None where nobody does."""
        digest = _digest(token)
        found: Principal | None = None
        for each in self._known:
            if hmac.compare_digest(each.digest, digest):
                found = each.principal
        return found


def read_tokens(file: Path | None, environment: Mapping[str, str]) -> Tokens:
    """The tokens of a file, or the one in `AGENTLAB_MCP_TOKEN`.

    A line of the file is `TOKEN` or `TOKEN SCOPE`; empty lines and those that begin with `#` are
    left out.

    Raises:
        ConfigError: the file cannot be read, can be read by others, or holds no tokens.
        UsageError: there is neither.
    """
    if file is not None:
        return Tokens(_lines(file))
    token = environment.get(VARIABLE, "").strip()
    if not token:
        raise UsageError(
            f"Over HTTP the server needs a bearer token: put one into {VARIABLE}, or one a line "
            f"into a file that is yours alone and name it with --tokens; make one with `{MAKE}`."
        )
    return Tokens([(token, "")])


def _lines(file: Path) -> list[tuple[str, str]]:
    shown = repr(str(file))
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(handle, "rb") as opened:
            about = os.fstat(opened.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise ConfigError(f"The tokens {shown} are no plain file.")
            if about.st_mode & 0o077:
                raise ConfigError(
                    f"The tokens {shown} can be read by others; make new ones, or `chmod 600` "
                    "the file if nobody has read it."
                )
            text = opened.read(MOST_FILE).decode("utf-8")
    except OSError as error:
        raise ConfigError(f"The tokens {shown} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"The tokens {shown} are not UTF-8.") from None
    found: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) > 2:
            raise ConfigError(f"Line {number} of the tokens {shown} is not TOKEN or TOKEN SCOPE.")
        found.append((words[0], words[1] if len(words) == 2 else ""))
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
