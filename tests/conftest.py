"""What holds for every test: a workspace of its own, and no network beyond this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import settings

settings.register_profile("agentlab", derandomize=True, deadline=None, database=None)
settings.load_profile("agentlab")


class NetworkInTestError(AssertionError):
    """A test tried to reach something other than this machine."""


def _is_local(host: object) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse_beyond_loopback(family: int, address: object) -> None:
    # A tuple's first part is the host; local sockets are named by a path.
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = cast("tuple[object, ...]", address)[0] if isinstance(address, tuple) else address
    if not _is_local(host):
        raise NetworkInTestError(f"No test may reach {host!r}; serve it on 127.0.0.1 instead.")


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Connecting, sending and looking up names work for loopback alone, in this process."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    sendto, getaddrinfo = socket.socket.sendto, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_beyond_loopback(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_beyond_loopback(self.family, address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: Any, *rest: Any) -> int:
        _refuse_beyond_loopback(self.family, rest[-1])
        return sendto(self, data, *rest)

    def guarded_getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if not _is_local(host):
            raise NetworkInTestError(f"No test may look up {host!r}.")
        return getaddrinfo(host, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket.socket, "sendto", guarded_sendto)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield


@pytest.fixture(autouse=True)
def isolated_workspace(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workspace is a new directory, and no setting of the person who runs this counts."""
    for name in [name for name in os.environ if name.startswith("AGENTLAB_")]:
        monkeypatch.delenv(name)
    workspace = tmp_path_factory.mktemp("workspace", numbered=True) / "agentlab"
    monkeypatch.setenv("AGENTLAB_WORKSPACE", str(workspace))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the one line to run where tests were skipped for want of something."""
    reasons = [
        str(getattr(report, "longrepr", "")) for report in terminalreporter.stats.get("skipped", [])
    ]
    browser = sum("no Chromium" in reason for reason in reasons)
    if browser:
        terminalreporter.write_line(
            f"{browser} browser tests were skipped for want of Chromium; to run them: "
            "apt-get install chromium"
        )
    trainers = sum("no trainers' environment" in reason for reason in reasons)
    if trainers:
        terminalreporter.write_line(
            f"{trainers} tests were skipped for want of the trainers' environment; to run them: "
            "make trainers"
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=10,
        help="how many times tests/faults kills a run (make faults: 50)",
    )


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    """How many kills to spread over runs."""
    number = pytestconfig.getoption("--kills")
    assert isinstance(number, int)
    return number
