"""Keeps keys out of everything that is written: errors, records, caches.

A key gets into a reply when a server repeats the request's headers, and into a request when a
tool shows its environment. Both are found by the key's own text, and nothing else is guessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

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


def environment_secrets(environment: Mapping[str, str] | None = None) -> list[str]:
    """The values of variables whose names say that they are secret, such as `…_API_KEY`."""
    variables = os.environ if environment is None else environment
    return [value.strip() for name, value in variables.items() if says_secret(name)]


def says_secret(name: str) -> bool:
    """Whether a name says that its value is secret, such as `OPENAI_API_KEY` or `token`."""
    return _NAMED.search(name) is not None
