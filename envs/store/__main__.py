"""Serve the shop on this machine: `python -m agentlab.envs.store`."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from agentlab.errors import ConfigError, MissingExtraError

TOKEN_VARIABLE = "AGENTLAB_STORE_TOKEN"


@click.command()
@click.option("--port", default=8600, show_default=True, help="0 takes any free one.")
@click.option("--skin", type=click.Choice(["a", "b"]), default="a", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of what is for sale and to whom.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder that keeps the shop.")
@click.option("--control-token", envvar=TOKEN_VARIABLE, help="Allow worlds for episodes.")
def main(port: int, skin: str, seed: int, data: Path | None, control_token: str | None) -> None:
    """Serve a small shop on 127.0.0.1, and print its address when it is ready."""
    try:
        import uvicorn

        from agentlab.envs.store.app import create_app
    except ImportError as error:
        raise click.ClickException(str(MissingExtraError("The shop", "store"))) from error

    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
    try:
        app = create_app(
            skin="b" if skin == "b" else "a",
            seed=seed,
            database=data / "store.db" if data else None,
            control_token=control_token,
        )
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    # Bound before the server starts, so that the address is known and taken.
    with socket.create_server(("127.0.0.1", port)) as listener:
        click.echo(f"http://127.0.0.1:{listener.getsockname()[1]}")
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(prog_name=f"python -m agentlab.envs.{os.path.basename(os.path.dirname(__file__))}")
