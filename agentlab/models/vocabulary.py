"""What a model's folder says of its tokens: the tokenizer and the chat template, by digest.

Rows of tokens mean something only together with the tokenizer that numbered them and the template
that joined the messages, so calls and exports carry both digests. Nothing is tokenized here: what
was drawn is decoded, to see that it is what the endpoint says was said.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from agentlab.errors import ConfigError


class Vocabulary:
    """A tokenizer with its template.

    Args:
        tokenizer: the bytes of `tokenizer.json`.
        template: the chat template's text; None where the folder has none.
    """

    def __init__(self, tokenizer: bytes, template: str | None) -> None:
        self.tokenizer_sha256 = hashlib.sha256(tokenizer).hexdigest()
        self.chat_template_sha256 = None if template is None else template_hash(template)
        self._bytes = tokenizer
        self._tokenizer: Any = None

    def spelt(self, ids: Sequence[int]) -> str | None:
        """The text of tokens, marks included; None where no tokenizer library is installed.

        Raises:
            ConfigError: `tokenizer.json` is none.
        """
        if self._tokenizer is None:
            try:
                library = cast("Any", importlib.import_module("tokenizers"))
            except ModuleNotFoundError:
                return None
            try:
                self._tokenizer = library.Tokenizer.from_str(self._bytes.decode())
            except Exception as error:  # the library's own kinds of error have no common base
                raise ConfigError(f"The tokenizer.json cannot be read: {error}.") from None
        return cast("str", self._tokenizer.decode(list(ids), skip_special_tokens=False))


def template_hash(template: str) -> str:
    """SHA-256 of a chat template's text, as calls, exports and adapters carry it."""
    return hashlib.sha256(template.encode()).hexdigest()


@lru_cache(maxsize=8)
def read_vocabulary(folder: Path) -> Vocabulary:
    """The tokenizer and template of a folder as transformers saves it.

    Raises:
        ConfigError: the folder has no `tokenizer.json`, or its files cannot be read.
    """
    try:
        return Vocabulary((folder / "tokenizer.json").read_bytes(), _template(folder))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The folder {str(folder)!r} holds no tokenizer that can be read ({error}); name the "
            "folder of the model that was asked."
        ) from None


def _template(folder: Path) -> str | None:
    text = folder / "chat_template.jinja"
    if text.is_file():
        return text.read_text(encoding="utf-8")
    settings = folder / "tokenizer_config.json"
    if not settings.is_file():
        return None
    found: object = cast("dict[str, object]", json.loads(settings.read_bytes())).get(
        "chat_template"
    )
    if isinstance(found, list):
        named = {each.get("name"): each.get("template") for each in cast("list[Any]", found)}
        found = named.get("default")
    return found if isinstance(found, str) else None
