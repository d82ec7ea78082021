"""The side of a model server that agents do not use: health, models, adapters, probing.

    server = ModelServerClient("http://127.0.0.1:8000/v1")
    server.load(adapter.name, adapter.folder)
    server.log_probabilities(adapter.name, prompt, output)

It speaks vLLM's protocol, which `agentlab serve-local` speaks too, over plain blocking HTTP: these
are a few requests between runs. An adapter is only ever loaded under a name that is not taken;
`load_inplace` is never sent, because a server may then answer one request with two versions.
What a server says is believed in nothing that matters; see `liveness`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple, cast
from urllib.error import URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from pydantic import JsonValue

from agentlab.errors import ModelFaultError
from agentlab.models.openai_client import API_KEY, find_address
from agentlab.models.redaction import Redactor, environment_secrets
from agentlab.types import JsonObject

LARGEST = 64 * 1024 * 1024
SHOWN = 300


class Served(NamedTuple):
    """A model that a server lists."""

    name: str
    root: str
    """Where its files are, as the server sees them; empty where it does not say."""
    parent: str
    """Of an adapter, the base model; empty for a base model."""


class ServerFaultError(ModelFaultError):
    """Raised when a server does not answer, or refuses; `status` is 0 where there was none."""

    def __init__(self, text: str, status: int = 0) -> None:
        self.status = status
        super().__init__(text)


class ModelServerClient:
    """One server. Safe to share between threads.

    Args:
        base_url: such as `http://127.0.0.1:8000/v1`.
        timeout: seconds that a request may take.
        key: else `OPENAI_API_KEY`; local servers need none.

    Raises:
        ConfigError: the address is none, or holds a secret.
    """

    def __init__(self, base_url: str, *, timeout: float = 60.0, key: str | None = None) -> None:
        address = find_address(base_url, key or os.environ.get(API_KEY))
        self.base_url = address.url.rstrip("/")
        parts = urlsplit(self.base_url)
        path = parts.path.removesuffix("/v1")
        self._root = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self._key = address.key
        self._timeout = timeout
        self._redactor = Redactor([address.key, *environment_secrets()])
        # No redirects, and no proxies that the environment names: what is said here is for the
        # server alone.
        self._opener = OpenerDirector()
        for handler in (ProxyHandler({}), HTTPHandler(), HTTPSHandler()):
            self._opener.add_handler(handler)

    def __repr__(self) -> str:
        """Without the key."""
        return f"ModelServerClient({self.base_url!r})"

    def healthy(self) -> bool:
        """Whether it says that it is up; a model may still fail at the first request."""
        try:
            self._ask("GET", f"{self._root}/health", what="health", timeout=5.0)
        except ServerFaultError:
            return False
        return True

    def fault(self) -> str:
        """Why it says that it is of no use any more; nothing while it is up, or too busy to say."""
        try:
            self._ask("GET", f"{self._root}/health", what="health", timeout=5.0)
        except ServerFaultError as error:
            return str(error) if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
        return ""

    def models(self) -> list[Served]:
        """The base models, then the adapters.

        Raises:
            ServerFaultError: it does not answer, or with something else.
        """
        answer = self._json("GET", "/models", what="the list of its models")
        found = answer.get("data")
        if not isinstance(found, list):
            raise self._odd("the list of its models")
        return [
            Served(_text(each.get("id")), _text(each.get("root")), _text(each.get("parent")))
            for each in found
            if isinstance(each, dict) and each.get("id")
        ]

    def base(self) -> Served:
        """The base model that it serves.

        Raises:
            ServerFaultError: it lists none.
        """
        found = [each for each in self.models() if not each.parent]
        if not found:
            raise self._odd("the list of its models, where no base model is")
        return found[0]

    def load(self, name: str, folder: Path) -> bool:
        """Load an adapter under a name; False where that name is loaded already.

        Raises:
            ServerFaultError: the server refuses it, or has no adapters.
        """
        body: JsonObject = {"lora_name": name, "lora_path": str(folder)}
        what = f"loading the adapter {name!r}"
        if any(each.name == name for each in self.models()):
            return False
        try:
            self._post("/load_lora_adapter", body, what=what)
        except ServerFaultError as error:
            if error.status == HTTPStatus.BAD_REQUEST and "already been loaded" in str(error):
                return False  # somebody else did meanwhile; names never mean other bytes
            if error.status == HTTPStatus.NOT_FOUND and name not in str(error).split(what)[-1]:
                raise ServerFaultError(
                    f"{error}; it has no runtime adapters: start it with --enable-lora and "
                    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
                    error.status,
                ) from None
            raise
        return True

    def unload(self, name: str) -> bool:
        """Take an adapter off; False where it is not there.

        Raises:
            ServerFaultError: the server does not answer, or refuses.
        """
        try:
            self._post(
                "/unload_lora_adapter", {"lora_name": name}, what=f"unloading the adapter {name!r}"
            )
        except ServerFaultError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def log_probabilities(
        self, model: str, prompt_ids: Sequence[int], output_ids: Sequence[int]
    ) -> tuple[float, ...]:
        """How likely a model finds each token of an output after a prompt, in nats.

        Raises:
            ServerFaultError: the server does not answer, or says nothing of these tokens.
        """
        what = f"the log-probabilities of {model!r}"
        body: JsonObject = {
            "model": model,
            "prompt": cast("list[JsonValue]", [*prompt_ids, *output_ids]),
            "max_tokens": 1,
            "temperature": 1.0,
            "prompt_logprobs": 1,
        }
        answer = self._json("POST", "/completions", body, what=what)
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        told = choice.get("prompt_logprobs") if isinstance(choice, dict) else None
        whole = len(prompt_ids) + len(output_ids)
        if not isinstance(told, list) or len(told) != whole:
            raise self._odd(f"{what}: it gives none for the prompt")
        found: list[float] = []
        for place, token in enumerate(output_ids, start=len(prompt_ids)):
            entry = told[place]
            one = entry.get(str(token)) if isinstance(entry, dict) else None
            number = one.get("logprob") if isinstance(one, dict) else one
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise self._odd(f"{what}: it gives none for the token at {place}")
            if not math.isfinite(number):
                raise self._odd(f"{what}: that of the token at {place} is no number")
            found.append(float(number))
        return tuple(found)

    def answers(self, model: str) -> None:
        """Return, unless the model does not answer a real request; /health is no proof of it.

        Raises:
            ServerFaultError: it does not.
        """
        body: JsonObject = {"model": model, "prompt": [1], "max_tokens": 1}
        self._json("POST", "/completions", body, what=f"a first request to {model!r}")

    def _post(self, path: str, body: JsonObject, *, what: str) -> bytes:
        data = json.dumps(body).encode()
        return self._ask("POST", f"{self.base_url}{path}", data, what=what)

    def _json(
        self, method: str, path: str, body: JsonObject | None = None, *, what: str
    ) -> JsonObject:
        data = None if body is None else json.dumps(body).encode()
        received = self._ask(method, f"{self.base_url}{path}", data, what=what)
        try:
            found: object = json.loads(received)
        except (ValueError, RecursionError):
            raise self._odd(what) from None
        if not isinstance(found, dict):
            raise self._odd(what)
        return cast("JsonObject", found)

    def _ask(
        self, method: str, url: str, data: bytes | None = None, *, what: str, timeout: float = 0.0
    ) -> bytes:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        request = Request(url, data=data, method=method, headers=headers)
        try:
            with self._opener.open(request, timeout=timeout or self._timeout) as answer:
                status: int = answer.status
                received: bytes = answer.read(LARGEST + 1)
        except (URLError, OSError, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise ServerFaultError(
                f"The model server at {self.base_url!r} cannot be reached for {what} "
                f"({self._told(str(reason) or type(reason).__name__)}); start it, or name another "
                "with --base-url."
            ) from None
        if len(received) > LARGEST:
            raise self._odd(what)
        if not 200 <= status < 300:
            raise ServerFaultError(
                f"The model server at {self.base_url!r} refuses {what} (status {status}): "
                f"{self._told(_message(received))}",
                status,
            )
        return received

    def _odd(self, what: str) -> ServerFaultError:
        return ServerFaultError(
            f"The model server at {self.base_url!r} answers with something else than {what}; name "
            "a vLLM server, or one that `agentlab serve-local` started."
        )

    def _told(self, text: str) -> str:
        clean = self._redactor.text(" ".join(text.split()))
        return clean if len(clean) <= SHOWN else f"{clean[:SHOWN]}…"


def _message(received: bytes) -> str:
    """What an error says, in whichever of its shapes."""
    text = received.decode("utf-8", "replace")
    try:
        told: object = json.loads(text)
    except (ValueError, RecursionError):
        return text or "nothing"
    if isinstance(told, dict):
        body = cast("JsonObject", told)
        inner = body.get("error")
        for value in (inner.get("message") if isinstance(inner, dict) else inner,
                      body.get("message"), body.get("detail")):  # fmt: skip
            if isinstance(value, str):
                return value
    return text


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""
