"""`agentlab serve-local`: a small model of your own behind the OpenAI protocol."""

from __future__ import annotations

from pathlib import Path

import click

from agentlab.cli.options import Whole, option


@click.command("serve-local")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="NAME=DIR",
    help="An adapter to serve beside the model; may be repeated. Others can be loaded later.",
)
@option("--name", metavar="NAME", help="What the model is called. [default: the folder's name]")
@option("--port", type=Whole(), default=0, help="0 takes a free one. [default: 0]")
@option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
    help="Where to listen; beyond this machine requests need the key in AGENTLAB_SERVE_KEY.",
)  # fmt: skip
@option("--batch", type=Whole(1), default=32, help="Requests at a time. [default: 32]")
@option("--waiting", type=Whole(), default=256, help="Requests that may wait. [default: 256]")
@option(
    "--cache-mib", type=Whole(1), default=512,
    help="Memory for what conversations have computed, for each set of weights. [default: 512]",
)  # fmt: skip
@option("--seed", type=Whole(), default=0, help="Of requests that bring none. [default: 0]")
@option("--threads", type=Whole(1), default=1, help="Of a pass. [default: 1]")
@option("--device", default="cpu", show_default=True, metavar="NAME", help="Such as cuda.")
def serve_local(folder: Path, adapters: tuple[str, ...], name: str | None, **rest: object) -> None:
    """Serve the small model in FOLDER, as transformers saves one, on this machine.

    It speaks the OpenAI protocol as vLLM does: tool calls, token ids, log-probabilities, adapters
    that are loaded and unloaded while it runs. The first line on stdout says where it is. Use it as
    `agentlab practice ENV --model vllm:NAME --base-url URL`.
    """
    from agentlab.serve.starting import serve_in_place

    options = [part for pair in adapters for part in ("--adapter", pair)]
    options += ["--name", name] if name else []
    for key, value in rest.items():
        options += [f"--{key.replace('_', '-')}", str(value)]
    serve_in_place(folder, options)
