"""What stands before the protocol, part by part: messages, tokens, rates, pins, names."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentlab.errors import ConfigError, UsageError
from agentlab.serve.mcp import pins as pins_module
from agentlab.serve.mcp.http import is_loopback, names_of
from agentlab.serve.mcp.pages import plain
from agentlab.serve.mcp.pins import Pins, pin_of
from agentlab.serve.mcp.rates import Allowance
from agentlab.serve.mcp.tokens import Tokens, read_tokens
from agentlab.serve.mcp.wire import RefusedMessageError, read_message
from agentlab.types import JsonObject, Scope

LEAVES = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES,
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=4), part, max_size=3)
    ),
    max_leaves=6,
)


def read(data: bytes) -> JsonObject:
    return read_message(data, most=100_000, depth=48)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(-(2**53), 2**53) | st.text(max_size=200), st.dictionaries(st.text(), VALUES))
def test_a_message_is_read_as_it_is(number: int | str, params: JsonObject) -> None:
    message: JsonObject = {"jsonrpc": "2.0", "id": number, "method": "x/y", "params": params}
    assert read(json.dumps(message, ensure_ascii=False).encode(errors="ignore")) == json.loads(
        json.dumps(message, ensure_ascii=False).encode(errors="ignore")
    )


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        message = read(data)
    except RefusedMessageError as error:
        answer = json.loads(error.answer)
        assert answer["error"]["code"] in (-32700, -32600)
        assert answer["id"] is None or isinstance(answer["id"], str | int)
    else:
        assert message["jsonrpc"] == "2.0"


@given(st.integers(1, 400), st.sampled_from(["[", '{"a":']))
def test_depth_is_counted_and_not_felt(levels: int, opening: str) -> None:
    close = "]" if opening == "[" else "}"
    text = f'{{"jsonrpc":"2.0","method":"m","params":{{"a":{opening * levels}1{close * levels}}}}}'
    if levels + 2 <= 48:
        assert read(text.encode())["method"] == "m"
    else:
        with pytest.raises(RefusedMessageError, match="levels deep"):
            read(text.encode())


def test_brackets_in_texts_are_no_depth() -> None:
    text = "[" * 500 + '\\"{' * 100
    message = {"jsonrpc": "2.0", "method": "m", "params": {"a": text}}
    assert read(json.dumps(message).encode()) == message


@given(st.lists(st.floats(0, 2, allow_nan=False), max_size=60))
def test_an_allowance_is_never_passed(steps: list[float]) -> None:
    now = 0.0
    allowance = Allowance(3.0, 5.0, clock=lambda: now)
    taken = 0
    for step in steps:
        now += step
        for _ in range(4):
            wait = allowance.take()
            taken += wait == 0
            assert wait >= 0
            assert taken <= 5 + 3 * now + 1e-6


def test_tokens_open_their_scopes() -> None:
    tokens = Tokens([("a" * 24, ""), ("b" * 24, "acme"), ("c" * 24, "acme/ann")])
    scopes = [tokens.whose(letter * 24) for letter in "abcd"]
    assert [None if p is None else p.scope for p in scopes] == [
        Scope(), Scope(tenant="acme"), Scope(tenant="acme", user="ann"), None
    ]  # fmt: skip
    assert "a" * 24 not in repr(vars(tokens))


def test_tokens_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# who\n\n{'a' * 24}\n{'b' * 24} acme/ann\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="read by others"):
        read_tokens(file, {})
    file.chmod(0o600)
    assert [p.scope.path for p in read_tokens(file, {}).principals] == ["", "acme/ann"]
    for wrong in ("a" * 24 + " x y\n", "short\n", "", f"{'a' * 24} ../x\n", f"{'a' * 24}\n" * 2):
        file.write_text(wrong)
        with pytest.raises(ConfigError) as refused:
            read_tokens(file, {})
        assert "a" * 24 not in str(refused.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(tmp_path / "none", {})
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="no plain file"):
        read_tokens(tmp_path / "pipe", {})
    with pytest.raises(UsageError, match="AGENTLAB_MCP_TOKEN"):
        read_tokens(None, {})
    assert len(read_tokens(None, {"AGENTLAB_MCP_TOKEN": "a" * 24}).principals) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x", "pins": {}}', "x" * 10])
def test_pins_that_are_none_stop_the_server(tmp_path: Path, text: str) -> None:
    file = tmp_path / "pins.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="holds no pins"):
        Pins(file)


def test_two_servers_pin_into_one_file(tmp_path: Path) -> None:
    one, two = Pins(tmp_path / "pins"), Pins(tmp_path / "pins")
    pins = {name: pin_of(name, "what", {}) for name in ("a", "b")}
    assert one.hold("place", "a", "1", pins["a"])
    one.keep()
    assert two.hold("place", "b", "1", pins["b"])
    two.keep()
    later = Pins(tmp_path / "pins")
    assert later.hold("place", "a", "1", pins["a"])
    assert not later.hold("place", "a", "1", pins["b"])
    assert later.hold("place", "a", "2", pins["b"])
    assert later.hold("elsewhere", "a", "1", pins["b"])


def test_a_server_pins_only_once_another_that_pins_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pins_module.replace_text
    writing, go_on = threading.Event(), threading.Event()

    def slowly(path: Path, text: str) -> None:
        if not writing.is_set():
            writing.set()
            assert go_on.wait(20)
        own(path, text)

    monkeypatch.setattr(pins_module, "replace_text", slowly)
    one, two = Pins(tmp_path / "pins"), Pins(tmp_path / "pins")
    assert one.hold("place", "a", "1", "one") and two.hold("place", "b", "1", "two")
    threads = [threading.Thread(target=pins.keep) for pins in (one, two)]
    threads[0].start()
    assert writing.wait(20)
    threads[1].start()
    threads[1].join(0.2)  # without a lock it would have read and written by now
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(20)
    later = Pins(tmp_path / "pins")
    assert not later.hold("place", "a", "1", "x") and not later.hold("place", "b", "1", "x")


def test_where_it_listens_is_what_it_goes_by() -> None:
    assert names_of("127.0.0.1", 1) == {"127.0.0.1:1", "localhost:1", "[::1]:1"}
    assert names_of("192.0.2.7", 80, ["lab.example"]) == {"192.0.2.7:80", "lab.example"}
    assert names_of("0.0.0.0", 1) == names_of("127.0.0.1", 1)
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")


@given(st.text())
def test_foreign_text_is_bounded_and_shows(text: str) -> None:
    shown = plain(f"\x1b[2J\u202e\u200b{text}", 50)
    assert len(shown) <= 50
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    shown.encode()
