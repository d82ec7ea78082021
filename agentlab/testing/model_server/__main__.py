"""`python -m agentlab.testing.model_server`: the server as a process of its own.

It prints one line of JSON with its address and answers until it is terminated.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from types import FrameType

from agentlab.testing.model_server.faults import FaultPlan
from agentlab.testing.model_server.server import ModelServer
from agentlab.testing.rules import RULES, load_rule


def main() -> None:
    """Read the options, start, and stay."""
    parser = argparse.ArgumentParser(
        prog="python -m agentlab.testing.model_server",
        description="An OpenAI-compatible endpoint that answers by rules, for tests.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 finds a free one")
    parser.add_argument(
        "--rules", required=True, help=f"one of {', '.join(RULES)}, or module:function"
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--faults", default="{}", help="a FaultPlan as JSON")
    parser.add_argument("--model", action="append", help="a name that /v1/models lists")
    parser.add_argument("--key", help="refuse requests without this key")
    parser.add_argument(
        "--no-schemas", action="store_true", help="refuse response_format, as some servers do"
    )
    parser.add_argument(
        "--end-with-stdin", action="store_true", help="end when the standard input is closed"
    )
    options = parser.parse_args()
    server = ModelServer(
        load_rule(options.rules),
        faults=FaultPlan.model_validate_json(options.faults),
        latency=options.latency,
        port=options.port,
        models=options.model or ("rules",),
        key=options.key,
        schemas=not options.no_schemas,
    )
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    if options.end_with_stdin:
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    with server:
        told = {"address": server.address, "base_url": server.base_url, "pid": os.getpid()}
        print(json.dumps(told), flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
