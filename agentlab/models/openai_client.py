"""Clients for an OpenAI-compatible endpoint. The one file that imports openai.

The endpoint is named by the user, in `OPENAI_BASE_URL` or as an argument; there is no default,
so that nothing is sent anywhere unasked. The key is read from `OPENAI_API_KEY` and never
printed, logged or put into an error.

The blocking client is for embeddings. `ChatEndpoint` is for chat: it sends a body, gives back
the bytes of the answer, and says of a failure whether it may pass. What the bytes mean is for
`openai_chat`: the package's own reading rounds nothing, but believes what an endpoint says.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit, urlunsplit

import openai

from agentlab.errors import ConfigError, ModelFaultError
from agentlab.models.faults import ContextFullError, PassingFaultError, RefusedRequestError
from agentlab.models.redaction import Redactor, address_holds_secret, environment_secrets
from agentlab.types import JsonObject

BASE_URL = "OPENAI_BASE_URL"
API_KEY = "OPENAI_API_KEY"
_NO_KEY = "none"
"""Sent where no key is set: local servers ask for none, and the client insists on one."""


def open_client(
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    timeout: float = 60.0,
    retries: int = 3,
) -> openai.OpenAI:
    """A client; nothing is sent before its first use.

    Args:
        base_url: such as `http://127.0.0.1:8000/v1`; else `OPENAI_BASE_URL`.
        api_key: else `OPENAI_API_KEY`; may be missing, as local servers need none.
        timeout: seconds a request may take.
        retries: times that a request is tried again after a connection error or a status 408,
            409, 429 or 5xx, with growing pauses.

    Raises:
        ConfigError: no endpoint is named, or its address is no http or https URL.
    """
    address = find_address(base_url, api_key)
    return openai.OpenAI(
        base_url=address.url, api_key=address.key, timeout=timeout, max_retries=retries
    )


class Address(NamedTuple):
    """Where to send requests, and what to show there."""

    url: str
    key: str
    variable: str = API_KEY
    """The environment variable that the key was read from, or would be."""

    def __repr__(self) -> str:
        """Without the key."""
        return f"Address({self.url!r})"


def find_address(
    base_url: str | None = None, api_key: str | None = None, *, variable: str = API_KEY
) -> Address:
    """The endpoint's address and key, from arguments or the environment.

    Args:
        base_url: else `OPENAI_BASE_URL`.
        api_key: else `OPENAI_API_KEY`.
        variable: where the key was read, for errors.

    Raises:
        ConfigError: no endpoint is named, its address is no http or https URL or holds a
            secret, or the key can be no key.
    """
    url = base_url or os.environ.get(BASE_URL, "")
    if not url:
        raise ConfigError(
            f"No model endpoint is named; set {BASE_URL}, for instance to "
            "'http://127.0.0.1:8000/v1'."
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if address_holds_secret(url):
        # An address is told in errors and records, and logged by the client.
        raise ConfigError(
            "The address of the model endpoint holds a password or key; take it out of "
            f"{BASE_URL} and set {API_KEY}."
        )
    if parts.scheme not in {"http", "https"}:
        raise ConfigError(
            f"The model endpoint {url!r} is not an address; write one such as "
            f"'http://127.0.0.1:8000/v1', where you named it or in {BASE_URL}."
        )
    key = (api_key or os.environ.get(API_KEY) or _NO_KEY).strip()
    if not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"The key for the model endpoint holds characters that no header can; set {API_KEY} "
            "to the key alone."
        )
    read = API_KEY if not api_key and os.environ.get(API_KEY) else variable
    return Address(url, key, read)


class ChatEndpoint:
    """Chat completions of one endpoint, as bytes. For one event loop; nothing is sent unasked.

    Redirects are not followed: what is said to one endpoint is not for another.

    Args:
        address: where, and with which key.
        timeout: seconds until an answer must have arrived whole.
        largest: bytes that an answer may have.
    """

    def __init__(
        self, address: Address, *, timeout: float = 300.0, largest: int = 32 * 1024 * 1024
    ) -> None:
        self._timeout = timeout
        self._largest = largest
        self._variable = address.variable
        self._has_key = address.key != _NO_KEY
        self.redactor = Redactor([address.key, *environment_secrets()])
        parts = urlsplit(address.url)
        self.host = parts.hostname or ""
        self.url = self.redactor.text(urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")))
        """As errors show it: a query can hold a key too."""
        self._client = openai.AsyncOpenAI(
            base_url=address.url,
            api_key=address.key,
            timeout=timeout,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
        )

    async def post(self, model: str, body: JsonObject) -> bytes:
        """The bytes of an answer that was given with a status of success.

        Args:
            model: the endpoint's name for it.
            body: the rest of the request.

        Raises:
            PassingFaultError: no answer, not all of it, or one that says to come again.
            RefusedRequestError: the endpoint does not take the request.
        """
        what = f"The endpoint {self.url!r} failed at chat with {model!r}"
        try:
            async with asyncio.timeout(self._timeout):
                return await self._read(model, body)
        except TimeoutError:
            fault: ModelFaultError = PassingFaultError(
                f"{what}: no answer within {self._timeout:g} s", outage="yes"
            )
        except openai.APIStatusError as error:
            fault = self._of_status(what, error)
            if error.status_code == 404:
                fault = RefusedRequestError(
                    f"{fault}; {await self._instead(model)}", status=error.status_code
                )
        except openai.APIConnectionError as error:
            cause = error.__cause__
            told = type(cause).__name__ if cause is not None else type(error).__name__
            hint = ""
            if told == "ConnectError":
                hint = (
                    f"; nothing can be reached there: start the server, or name another with "
                    f"--base-url or {BASE_URL}"
                )
            fault = PassingFaultError(f"{what}: {told}: {self._told(error)}{hint}", outage="yes")
        except _TooLargeError:
            fault = PassingFaultError(f"{what}: its answer has more than {self._largest} bytes")
        except Exception as error:  # whatever happens while bytes arrive is the connection's
            fault = PassingFaultError(f"{what}: {type(error).__name__}: {self._told(error)}")
        # Outside of the handlers, so that the error does not carry the request with its headers.
        raise fault

    async def _read(self, model: str, body: JsonObject) -> bytes:
        received = bytearray()
        # The messages go with the rest of the body: the package then takes them as they are.
        async with self._client.chat.completions.with_streaming_response.create(
            model=model, messages=[], extra_body=cast("dict[str, Any]", body)
        ) as response:
            async for part in response.iter_bytes():
                received += part
                if len(received) > self._largest:
                    raise _TooLargeError
        return bytes(received)

    def _of_status(self, what: str, error: openai.APIStatusError) -> ModelFaultError:
        status = error.status_code
        # The package's own text leaves out what is not in the field `message`.
        body = "" if " - " in str(error) or not error.body else f" - {error.body}"
        told = f"{what}: {self._told(f'{error}{body}')}"
        if 300 <= status < 400:
            told = f"{what}: it sends requests elsewhere (status {status}); name that address"
        if status in {401, 403}:
            held = "the key in" if self._has_key else "a request without a key, as none is set in"
            told = f"{told}; it refuses {held} {self._variable}: set that to a key for it"
        passing = status >= 500 or status in {408, 409, 425, 429}
        if status == 400 and _is_context(error.code, told):
            return ContextFullError(told, status=status)
        if not passing or error.code in _SPENT:
            return RefusedRequestError(told, status=status)
        return PassingFaultError(
            told,
            outage="no" if status in {409, 425} else "perhaps" if status == 500 else "yes",
            retry_after=error.response.headers.get("retry-after"),
        )

    async def _instead(self, model: str) -> str:
        """What to name instead of what was not found, from what the endpoint says it serves."""
        served: list[str] | None = None
        try:
            async with asyncio.timeout(min(LISTING_SECONDS, self._timeout)):
                served = [each.id async for each in self._client.models.list()]
        except Exception:  # whatever it is: it was a question beside the matter
            served = None
        if served is None:
            path = urlsplit(self.url).path.rstrip("/")
            return "it lists no models either, so its address is likely wrong" + (
                "" if path.endswith("/v1") else f": try '{self.url.rstrip('/')}/v1'"
            )
        if model in served:
            return "it lists that model, so it may not be one for chat"
        named = ", ".join(repr(name) for name in served[:MOST_LISTED])
        more = f" and {len(served) - MOST_LISTED} more" if len(served) > MOST_LISTED else ""
        return self._told(f"it serves {named or 'no model'}{more}: name one that it serves")

    def _told(self, error: Exception | str) -> str:
        text = self.redactor.text(str(error))
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

    async def models(self) -> list[str]:
        """The models that the endpoint lists.

        Raises:
            PassingFaultError: it does not answer, or refuses.
        """
        try:
            async with asyncio.timeout(min(LISTING_SECONDS, self._timeout)):
                return [each.id async for each in self._client.models.list()]
        except Exception as error:  # whatever it is, it names no models
            told = f"{type(error).__name__}: {self._told(error)}"
        raise PassingFaultError(f"The endpoint {self.url!r} lists no models: {told}")

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._client.close()


def _is_context(code: str | None, told: str) -> bool:
    """Whether a refusal says that the conversation is too long: OpenAI by a code, vLLM in words."""
    return code == "context_length_exceeded" or "maximum context length" in told


class _TooLargeError(Exception):
    """An answer is longer than it may be."""


_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes with status 429 that only a payment helps against."""
LISTING_SECONDS = 5.0
"""That a list of models may take, which is asked for where one is not known."""
MOST_LISTED = 12
_SHOWN = 500
"""Characters of what an endpoint says about a failure."""


def listed_models() -> list[str]:
    """The models that the endpoint of the environment lists, asked once.

    Raises:
        ConfigError: no endpoint is named, or its address or key cannot be used.
        ModelFaultError: it does not answer, or refuses; never tells the key.
    """
    client = open_client(timeout=LISTING_SECONDS, retries=0)
    with client, model_faults(client, f"the list of its models, at {BASE_URL} with {API_KEY}"):
        return [each.id for each in client.models.list()]


@contextmanager
def model_faults(client: openai.OpenAI, what: str) -> Generator[None]:
    """Turn what openai raises inside into `ModelFaultError`, without the key.

    Args:
        client: whose key must not be told.
        what: names the request in the error, such as `embedding with 'm'`.

    Raises:
        ModelFaultError: the endpoint failed for good.
    """
    try:
        yield
    except openai.OpenAIError as error:
        told = str(error) or type(error).__name__
        if client.api_key and client.api_key != _NO_KEY:
            told = told.replace(client.api_key, "[key]")
        raise ModelFaultError(
            f"The endpoint {str(client.base_url)!r} failed at {what}: {told}"
        ) from None
