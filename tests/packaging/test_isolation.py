"""The guards of tests/conftest.py hold: they are what every other test relies on."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

# Addresses reserved for documentation (RFC 5737, RFC 3849): nothing answers there.
BEYOND = [("192.0.2.1", 80), ("2001:db8::1", 80)]


@pytest.mark.parametrize("address", BEYOND)
def test_connecting_beyond_loopback_is_refused(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        with pytest.raises(AssertionError, match=r"No test may reach '(192\.0|2001)"):
            client.connect(address)
        with pytest.raises(AssertionError, match="No test may reach"):
            client.connect_ex(address)


def test_datagrams_beyond_loopback_are_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        with pytest.raises(AssertionError, match="No test may reach"):
            client.sendto(b"x", ("192.0.2.1", 53))


def test_names_are_not_looked_up() -> None:
    with pytest.raises(AssertionError, match="No test may look up"):
        socket.create_connection(("example.invalid", 80), timeout=1)


def test_loopback_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"yes")

        thread = threading.Thread(target=answer)
        thread.start()
        with socket.create_connection(("localhost", server.getsockname()[1]), timeout=5) as client:
            assert client.recv(3) == b"yes"
        thread.join()


def test_workspace_is_a_new_directory_outside_the_checkout() -> None:
    workspace = Path(os.environ["AGENTLAB_WORKSPACE"])
    assert not workspace.exists()
    assert not workspace.is_relative_to(Path(__file__).parents[2])
    assert [name for name in os.environ if name.startswith("AGENTLAB_")] == ["AGENTLAB_WORKSPACE"]
