"""Keeps keys out of everything that is written: errors, records, caches.

A key gets into a reply when a server repeats the request's headers, and into a request when a
tool shows its environment. Both are found by the key's own text, and nothing else is guessed.
Which variables hold keys is told by their names, or by the user who named one (`name_secret`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlsplit

from pydantic import JsonValue

SHOWN = "[key]"
"""Stands where a key was."""
SHORTEST = 8
"""A shorter secret is not searched for: it would be found in ordinary words."""
_NAMED = re.compile(
    r"(?i)(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|CREDS?)(?:_?\d+)?$"
)


class Redactor:
    """Replaces secrets by a mark. Its own repr does not tell them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first, so that a secret inside another leaves no rest of it.
        found = sorted({each for each in secrets if len(each) >= SHORTEST}, key=lambda x: -len(x))
        self._found = re.compile("|".join(re.escape(each) for each in found)) if found else None

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return self._found is not None

    def text(self, text: str) -> str:
        """The text without secrets."""
        return self._found.sub(SHOWN, text) if self._found else text

    def json(self, value: JsonValue) -> JsonValue:
        """The value without secrets, in texts and in the names of fields."""
        if self._found is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.json(each) for each in value]
        if isinstance(value, dict):
            return {self.text(name): self.json(part) for name, part in value.items()}
        return value


_named: set[str] = set()
_known = Redactor()


def name_secret(*variables: str) -> None:
    """Count the values of these variables among this process's secrets from now on."""
    if not _named.issuperset(variables):
        _named.update(variables)
        look_again()


def named_secrets() -> tuple[str, ...]:
    """The variables that were named, for a process that this one starts."""
    return tuple(sorted(_named))


def look_again() -> None:
    """Read this process's secrets anew; its environment may have changed."""
    global _known
    _known = Redactor(environment_secrets())


def known() -> Redactor:
    """Takes out this process's secrets, as they were when it last looked."""
    return _known


def environment_secrets(environment: Mapping[str, str] | None = None) -> list[str]:
    """The values of variables that are named, or whose names say it, such as `…_API_KEY`."""
    variables = os.environ if environment is None else environment
    return [
        value.strip() for name, value in variables.items() if says_secret(name) or name in _named
    ]


def address_holds_secret(url: str) -> bool:
    """Whether an address has a user, a password, or a parameter whose name says it is a key."""
    try:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            return True
        named = [*parse_qsl(parts.query, keep_blank_values=True), *parse_qsl(parts.fragment)]
    except ValueError:
        return "@" in url
    return any(says_secret(_snake(name)) or _snake(name) in _IN_ADDRESSES for name, _ in named)


_IN_ADDRESSES = frozenset({"auth", "authorization", "code", "jwt", "pass", "pwd", "sig"})
"""Parameters of addresses that hold a key beside those whose names say so anywhere."""


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def says_secret(name: str) -> bool:
    """Whether a name says that its value is secret, such as `OPENAI_API_KEY` or `token`."""
    return _NAMED.search(name) is not None
