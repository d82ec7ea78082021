"""Replies kept by the content of their requests, for replays. Off unless the user names a folder.

A reply that was drawn is a sample: two attempts at a task that ask the same must not get the
same one. So a request that fixes neither a seed nor the temperature 0 is kept with how many
times it was asked before by this process, and a replay gets the first reply first.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from agentlab.errors import ConfigError
from agentlab.models.redaction import Redactor, environment_secrets
from agentlab.protocols import ChatModel
from agentlab.types import ChatReply, ChatRequest, Frozen, digest

_VERSION = 1
"""Of the files; another one is a miss."""


class _Kept(Frozen):
    version: int
    model: str
    reply: ChatReply


class Cache:
    """A folder of replies, one file each, written whole or not at all.

    Several processes may use one folder; a damaged file counts as missing.

    Raises:
        ConfigError: the folder cannot be made.
    """

    def __init__(self, folder: Path, redactor: Redactor | None = None) -> None:
        self._folder = folder
        self._redactor = redactor or Redactor(environment_secrets())
        self._asked: Counter[str] = Counter()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(
                f"The folder for cached replies cannot be made: {error}; name another."
            ) from None

    def place(self, model: str, request: ChatRequest) -> Path:
        """Where the reply to a request belongs; each call counts as asking once."""
        content = request.model_dump(mode="json", exclude={"prompt"})
        key = digest(model, self._redactor.json(content))
        sampling = request.sampling
        if sampling.seed is None and sampling.temperature != 0:
            self._asked[key] += 1
            key = digest(key, self._asked[key])
        return self._folder / key[:2] / f"{key}.json"

    def read(self, place: Path) -> ChatReply | None:
        """The reply there, or None."""
        try:
            kept = _Kept.model_validate_json(place.read_bytes())
        except (OSError, ValidationError):
            return None
        return kept.reply if kept.version == _VERSION else None

    def write(self, place: Path, model: str, reply: ChatReply) -> None:
        """Keep a reply; where the disk does not let us, the replay asks again."""
        text = _Kept(version=_VERSION, model=model, reply=reply).model_dump_json()
        with suppress(OSError):
            place.parent.mkdir(exist_ok=True, mode=0o700)
            number, name = tempfile.mkstemp(dir=place.parent, suffix=".part")
            try:
                with os.fdopen(number, "w", encoding="utf-8") as file:
                    file.write(self._redactor.text(text))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, place)
            except BaseException:
                os.unlink(name)
                raise


class Cached:
    """A chat model whose replies are kept. Implements `protocols.ChatModel`.

    It stands outside of what retries and inside of a meter, so that a replay is charged, and
    ends, like the run it replays. Failures are not kept.
    """

    def __init__(self, model: ChatModel, cache: Cache) -> None:
        self._model = model
        self._cache = cache

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    async def chat(self, request: ChatRequest) -> ChatReply:
        """The kept reply, else the model's."""
        place = self._cache.place(self._model.name, request)
        kept = self._cache.read(place)
        if kept is not None:
            return kept
        reply = await self._model.chat(request)
        self._cache.write(place, self._model.name, reply)
        return reply
