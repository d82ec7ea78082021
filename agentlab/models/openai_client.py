"""A client for an OpenAI-compatible endpoint. The one file that imports openai.

The endpoint is named by the user, in `OPENAI_BASE_URL` or as an argument; there is no default,
so that nothing is sent anywhere unasked. The key is read from `OPENAI_API_KEY` and never
printed, logged or put into an error.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import openai

from agentlab.errors import ConfigError, ModelFaultError

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
    url = base_url or os.environ.get(BASE_URL, "")
    if not url:
        raise ConfigError(
            f"No model endpoint is named; set {BASE_URL}, for instance to "
            "'http://127.0.0.1:8000/v1'."
        )
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigError(f"The model endpoint {url!r} is not an address; set {BASE_URL} to one.")
    key = api_key or os.environ.get(API_KEY) or _NO_KEY
    return openai.OpenAI(base_url=url, api_key=key, timeout=timeout, max_retries=retries)


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
