"""`agentlab mcp serve`: a verified library for any MCP client, over stdio or HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from agentlab.cli.options import (
    PREFIX,
    WORKSPACE,
    Whole,
    box_options,
    environment_options,
    gather_options,
    named_box,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentlab.serve.mcp.offerings import Offerings
    from agentlab.serve.mcp.service import Serving
    from agentlab.types import Scope

PORT = 8765


@click.group()
def mcp() -> None:
    """Serve the library to MCP clients."""


@mcp.command()
@option(
    "--library", "workspace", type=click.Path(file_okay=False, path_type=Path),
    default=WORKSPACE, envvar=f"{PREFIX}_WORKSPACE", show_default=True, metavar="WORKSPACE",
    help="The workspace whose library is served.",
)  # fmt: skip
@option(
    "--environment", metavar="ENV", default="babyai", show_default=True,
    help="Where skills act; a caller has one of its own.",
)  # fmt: skip
@option(
    "--transport", type=click.Choice(["stdio", "http"]), default="stdio", show_default=True,
    help="stdio: a client starts this command. http: streamable HTTP, with a bearer token.",
)  # fmt: skip
@option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
        help="Where to listen, over HTTP.")  # fmt: skip
@option("--port", type=Whole(), default=PORT, show_default=True, help="0 takes a free one.")
@option("--allow-host", "allowed", multiple=True, metavar="NAME[:PORT]",
        help="Another name that the server goes by; may be repeated.")  # fmt: skip
@option(
    "--tokens", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Bearer tokens, a line each: TOKEN, or TOKEN TENANT[/USER]. Without it, the one in "
    "AGENTLAB_MCP_TOKEN.",
)  # fmt: skip
@option(
    "--pin", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Where names, descriptions and schemas are pinned by hash. "
    "[default: mcp-pins.json in the workspace]",
)  # fmt: skip
@option("--rate", type=click.FloatRange(min=0, min_open=True), default=20.0, show_default=True,
        help="Requests a second of each token.")  # fmt: skip
@option("--sessions", type=Whole(1), default=16, show_default=True,
        help="Open sessions of each token.")  # fmt: skip
@option("--message-bytes", type=Whole(1024), default=256 * 1024, show_default=True,
        help="Of one message.")  # fmt: skip
@option("--call-seconds", type=click.FloatRange(min=0, min_open=True), default=60.0,
        show_default=True, help="Of one call.")  # fmt: skip
@environment_options
@box_options
def serve(
    workspace: Path,
    environment: str,
    transport: Literal["stdio", "http"],
    host: str,
    port: int,
    allowed: tuple[str, ...],
    tokens: Path | None,
    pin: Path | None,
    rate: float,
    sessions: int,
    message_bytes: int,
    call_seconds: float,
    pairs: tuple[str, ...],
    view: str | None,
    toolset: str | None,
    box: str | None,
    unsafe_local: bool,
) -> None:
    """Serve the verified skills of a library as MCP tools, and its advice as resources.

    A skill acts in an environment that the server holds for each caller, in a box, and each call is
    put on record. Every change of the library is announced. Ends with Ctrl-C, over stdio when the
    client goes.
    """
    options = gather_options(pairs, view=view, toolset=toolset)
    where = named_box(box, unsafe_local=unsafe_local) or "auto"
    _require()
    from agentlab.serve.mcp.limits import ServeLimits
    from agentlab.serve.mcp.service import Serving
    from agentlab.types import EnvironmentRef

    limits = ServeLimits(
        rate=rate, sessions=sessions, message_bytes=message_bytes, call_seconds=call_seconds
    )
    serving = Serving(
        workspace=workspace,
        environment=EnvironmentRef(name=environment, options=options),
        pin=pin,
        box=where,
        limits=limits,
    )
    if transport == "http":
        _over_http(serving, host, port, allowed, tokens)
    else:
        _over_stdio(serving)


def _require() -> None:
    """Return, where the extra is installed.

    Raises:
        MissingExtraError: it is not.
    """
    from importlib.util import find_spec

    from agentlab.errors import MissingExtraError

    if find_spec("mcp") is None or find_spec("uvicorn") is None:
        raise MissingExtraError("`agentlab mcp serve`", "mcp")


def _over_stdio(serving: Serving) -> None:
    import asyncio

    from agentlab.serve.mcp.service import Service
    from agentlab.serve.mcp.stdio import reserve_stdout, serve_stdio
    from agentlab.serve.mcp.tokens import LOCAL

    out = reserve_stdout()

    async def work() -> None:
        async with Service(serving, [LOCAL]) as service:
            _tell(service.offered)
            await serve_stdio(service.served[LOCAL.name].server, out, serving.limits)

    asyncio.run(work())


def _over_http(
    serving: Serving, host: str, port: int, allowed: tuple[str, ...], file: Path | None
) -> None:
    import asyncio
    import os

    from agentlab.models.redaction import name_secret
    from agentlab.serve.mcp.http import address_of, bound, is_loopback, names_of, serve_http
    from agentlab.serve.mcp.service import Service
    from agentlab.serve.mcp.tokens import VARIABLE, read_tokens

    name_secret(VARIABLE)
    tokens = read_tokens(file, os.environ)
    if not is_loopback(host):
        click.echo(
            f"WARNING: listening on {host}, which other machines can reach. Messages and tokens "
            "go over the network unencrypted unless a proxy with TLS stands before this server. It "
            "answers under its own names alone; name others with --allow-host NAME:PORT.",
            err=True,
        )
    listening = bound(host, port)
    hosts = names_of(host, listening.getsockname()[1], allowed)

    async def work() -> None:
        async with Service(serving, tokens.principals) as service:
            _tell(service.offered)
            # On stderr, as everything that is said: a client reads nothing but messages.
            address = address_of(listening)
            await serve_http(
                service,
                tokens,
                listening,
                hosts=hosts,
                ready=lambda: click.echo(f"Serving at {address}", err=True),
            )

    with listening:
        asyncio.run(work())


def _tell(offered: Mapping[Scope, Offerings]) -> None:
    from agentlab.analysis.foreign import one_line

    for scope, offerings in offered.items():
        listing = offerings.listing
        skills = sum(tool.skill is not None for tool in listing.tools.values())
        whose = f" to {scope}" if scope.path else ""
        click.echo(
            f"{skills} skills and {len(listing.pages)} resources of {offerings.environment} are "
            f"served{whose}.",
            err=True,
        )
        for why in listing.withheld.values():
            click.echo(one_line(f"Withheld: {why}."), err=True)
