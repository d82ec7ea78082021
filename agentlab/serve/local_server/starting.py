"""From a command line to a server that answers: the trainers' Python runs this.

Exit codes are those of the command: 2 for what was asked wrongly, 1 where the model cannot be
served. One line on stdout says where the server is, once it answers.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn, cast

KEY = "AGENTLAB_SERVE_KEY"
"""Environment variable with the key that requests must bring."""
NEEDED = ("torch", "transformers", "fastapi", "uvicorn", "jinja2")
LEAST_IDLE = 512
"""Connections without a request under way that are kept open: agents ask many at a time."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def main(arguments: list[str] | None = None) -> None:
    """Load a model and serve it until the process is told to end."""
    given = _parser().parse_args(arguments)
    local = given.host in LOOPBACK
    key = os.environ.get(KEY) or None
    if not local and key is None:
        _end(f"Bound to {given.host}, the server asks for a key; set {KEY} to one.", 2)
    pairs = [_pair(each) for each in given.adapter]
    libraries = _libraries()
    libraries["transformers"].utils.logging.disable_progress_bar()
    torch = libraries["torch"]
    torch.set_num_threads(given.threads)

    from agentlab.serve.local_server.app import make_app
    from agentlab.serve.local_server.asked import Refusal
    from agentlab.serve.local_server.desk import Desk
    from agentlab.serve.local_server.engine import Engine, Limits
    from agentlab.serve.local_server.weights import Libraries, Weights, WrongFolderError

    folder = given.folder.absolute()
    try:
        weights = Weights(
            Libraries(torch, libraries["transformers"]),
            folder,
            given.name or folder.name,
            device=given.device,
        )
        for name, adapter in pairs:
            weights.load(name, adapter.absolute())
    except (WrongFolderError, Refusal) as error:
        _end(str(error), 1)
    limits = Limits(given.batch, given.waiting, given.cache_mib * 2**20)
    engine = Engine(torch, weights, limits, device=given.device)
    desk = Desk(engine, weights, seed=given.seed)
    listening = _listening(given.host, given.port)
    host, port = listening.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
    engine.start()
    try:
        app = make_app(desk, engine, key=key)
        config = configured(app, most=given.batch + given.waiting)
        _serve(libraries["uvicorn"].Server(config), listening, address, weights)
    finally:
        engine.close()


def configured(app: Any, *, most: int) -> Any:
    """How the routes are served: who has not said a request yet holds no place for long.

    Args:
        app: what `make_app` gave.
        most: requests that are taken up or wait.
    """
    import uvicorn

    from agentlab.serve.connections import LARGEST_HEAD, Connection

    class Patient(Connection):
        most_idle = max(LEAST_IDLE, 2 * most)

    return uvicorn.Config(
        app,
        # Named, because another parser that is installed would not bound the head.
        http=Patient,
        ws="none",
        h11_max_incomplete_event_size=LARGEST_HEAD,
        # Bodies that are being sent are connections too, and each may hold some megabytes.
        limit_concurrency=2 * Patient.most_idle,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        lifespan="off",
    )


def _serve(server: Any, listening: socket.socket, address: str, weights: Any) -> None:
    names = [served.name for served in weights.names]
    # Connections wait in the socket from here on, so whoever reads this line can connect.
    print(json.dumps({"url": address, "models": names, "pid": os.getpid()}), flush=True)
    server.run(sockets=[listening])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agentlab serve-local")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--adapter", action="append", default=[])
    parser.add_argument("--name", default="")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--waiting", type=int, default=256)
    parser.add_argument("--cache-mib", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser


def _pair(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not equals or not name or not folder:
        _end(f"--adapter {text!r} is not NAME=DIR; write for instance lab-v0001=DIR.", 2)
    return name, Path(folder)


def _libraries() -> dict[str, Any]:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    found: dict[str, Any] = {}
    for name in NEEDED:
        try:
            found[name] = cast("Any", importlib.import_module(name))
        except ModuleNotFoundError:
            _end(
                f"The Python {sys.executable!r} has no {name!r}: install agentlab-practice[serve] "
                "there, or name another with AGENTLAB_TRAIN_PYTHON.",
                1,
            )
    return found


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(1024)
    except (OSError, OverflowError) as error:
        _end(f"The address {host}:{port} cannot be listened on: {error}.", 1)
    return listening


def _end(why: str, status: int) -> NoReturn:
    print(why, file=sys.stderr)
    raise SystemExit(status)
