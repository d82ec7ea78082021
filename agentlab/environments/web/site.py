"""`web:<url>`: any site as an environment, with the options that say how it is used."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from agentlab.environments.web.environment import PageEnvironment
from agentlab.environments.web.options import MOST_MEGABYTES, Dialogs, Grant, Options
from agentlab.errors import ConfigError


class WebEnvironment(PageEnvironment):
    """A web site, used by what its controls are called: `web:<URL>` (extra browser).

    Args:
        options: of the site.
    """

    without_grammar = "name a chat model with --model, which proposes tasks for a site of yours"

    @classmethod
    def from_argument(
        cls,
        argument: str,
        *,
        origins: str | Sequence[str] = (),
        aliases: dict[str, int] | None = None,
        reset_url: str = "",
        enter_url: str = "",
        state_url: str = "",
        drop_url: str = "",
        save_url: str = "",
        load_url: str = "",
        reader: str = "",
        token_variable: str = "",
        token_header: str = "X-Control-Token",
        login: str = "",
        own_certificates: bool = False,
        grants: str | Sequence[str] = (),
        files: str = "",
        dialogs: Dialogs = "dismiss",
        width: int = 1280,
        height: int = 800,
        settle: float = 0.15,
        patience: float = 1.0,
        seconds: float = 10.0,
        most_characters: int = 8_000,
        most_bytes: int = 5_000_000,
        most_megabytes: int = MOST_MEGABYTES,
        trace: bool = False,
        crawl_pages: int = 24,
        crawl_depth: int = 3,
        crawl_seconds: float = 60.0,
        crawl_changes: bool = False,
    ) -> WebEnvironment:
        """The environment for an address; see `options.Options` for what each option means.

        Raises:
            ConfigError: the address or an option is not what it should be.
        """
        try:
            options = Options(
                url=argument,
                origins=_names(origins),
                aliases=aliases or {},
                reset_url=reset_url,
                enter_url=enter_url,
                state_url=state_url,
                drop_url=drop_url,
                save_url=save_url,
                load_url=load_url,
                reader=reader,
                token_variable=token_variable,
                token_header=token_header,
                login=_login(login),
                own_certificates=own_certificates,
                grants=cast("tuple[Grant, ...]", _names(grants)),
                files=os.path.abspath(files) if files else "",
                dialogs=dialogs,
                width=width,
                height=height,
                settle=settle,
                patience=patience,
                seconds=seconds,
                most_characters=most_characters,
                most_bytes=most_bytes,
                most_megabytes=most_megabytes,
                trace=trace,
                crawl_pages=crawl_pages,
                crawl_depth=crawl_depth,
                crawl_seconds=crawl_seconds,
                crawl_changes=crawl_changes,
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ConfigError(f"web: the option {where!r} does not fit: {first['msg']}.") from error
        return cls(options)


def _login(name: str) -> str:
    """The whole path of a file with a login, which each attempt begins with; empty for none."""
    if not name:
        return ""
    try:
        kept: object = json.loads(Path(name).read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise ConfigError(
            f"web: the login {name!r} cannot be read ({why}); name a file that playwright's "
            "`storage_state` or `codegen --save-storage` wrote."
        ) from None
    if not isinstance(kept, dict):
        raise ConfigError(f"web: the login {name!r} is no state that playwright saved.")
    return os.path.abspath(name)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    words = given.split(",") if isinstance(given, str) else given
    return tuple(word.strip() for word in words if word.strip())
