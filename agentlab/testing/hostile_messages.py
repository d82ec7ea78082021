"""Messages that an MCP server must answer with an error, or survive: seeded, of every kind we know.

For tests of servers: broken JSON, numbers and texts that are none, wrong types, deep nesting,
batches, replies that nobody asked for, methods and tools that do not exist, envelopes with parts
missing or of another make, and arguments that would like to be code, paths or shell words.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from agentlab.types import JsonObject

VERSION = "2026-07-28"
META: JsonObject = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "hostile", "version": "0"},
}
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, -(10**18), 1e308, "", " ", "\x00", "a" * 5000, "é" * 300,
    "\u202eevil", "../../etc/passwd", "__class__", "__init__", "; rm -rf /", "$(id)", "{{7*7}}",
    "<script>alert(1)</script>", "%s%n", "DROP TABLE items;--", [], {}, [[]], [{}], {"a": None},
    {"__proto__": {"x": 1}}, ["x"] * 500, {"$ref": "http://127.0.0.1:1/x"}, "\ufdd0", "🙂" * 50,
)  # fmt: skip
METHODS = (
    "tools/list", "tools/call", "resources/list", "resources/read", "resources/templates/list",
    "server/discover", "prompts/list", "prompts/get", "completion/complete", "ping",
    "resources/subscribe", "resources/unsubscribe", "logging/setLevel", "initialize",
)  # fmt: skip
NO_METHODS = (
    "", "tools", "tools/", "/tools/list", "TOOLS/LIST", "tools/list ", "rpc.discover", "__init__",
    "eval", "tools/call\n", "../tools/list", "notifications/", "sampling/createMessage",
    "roots/list", "elicitation/create", "server/discover/../x", "x" * 199, "x" * 10_000,
)  # fmt: skip


_NO_IDS: tuple[Any, ...] = (None, True, 1.5, [], {}, "x" * 5000, 10**40)
_NO_NAMES: tuple[Any, ...] = (None, 7, [], {}, "", "x" * 5000)


class Hostile(NamedTuple):
    """One message."""

    kind: str
    data: bytes
    must_fail: bool
    """Whether only an error is right; else any answer is, as long as there is one."""
    notification: bool = False
    """Whether it is one, to which nothing is the right answer."""


def hostile_messages(count: int, *, seed: int = 0) -> Iterator[Hostile]:
    """So many messages, the same for the same seed."""
    rng = random.Random(seed)
    for number in range(count):
        kind, make = _KINDS[number % len(_KINDS)]
        data, must_fail, notification = make(rng, number + 1)
        yield Hostile(kind, data, must_fail, notification)


Made = tuple[bytes, bool, bool]
Maker = Callable[[random.Random, int], Made]


def request(number: int, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """A request as the newest protocol has it."""
    inner: dict[str, Any] = {"_meta": META, **(params or {})}
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": inner}


def _good(rng: random.Random, number: int) -> dict[str, Any]:
    if rng.random() < 0.5:
        return request(number, "tools/list")
    call = {"name": "begin", "arguments": {"seed": rng.randrange(5)}}
    return request(number, "tools/call", call)


def _spelt(message: Any) -> bytes:
    return json.dumps(message).encode()


def _broken(rng: random.Random, number: int) -> Made:
    """Part of a message, or one with a byte too many in the wrong place."""
    data = _spelt(_good(rng, number))
    cut = rng.randrange(1, len(data) - 1)
    if rng.random() < 0.5:
        return data[:cut], True, False
    return data + rng.choice([b"}", b"]", b"{", b"x", b"\x00", b"\xff"]), True, False


def _flipped(rng: random.Random, number: int) -> Made:
    """A message with some bytes changed, which may still be one."""
    data = bytearray(_spelt(_good(rng, number)))
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.choice(b'{}[]",:0aZ\\ \x7f\xc3')
    return bytes(data).replace(b"\n", b" "), False, True


def _number(rng: random.Random, number: int) -> Made:
    """Numbers that are none, or that no parser should have to build."""
    odd = rng.choice(["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "01", "0x1"])
    text = json.dumps(request(number, "tools/call", {"name": "begin", "arguments": {"seed": 0}}))
    return text.replace('"seed": 0', f'"seed": {odd}').encode(), True, False


def _text(rng: random.Random, number: int) -> Made:
    """Texts that are none."""
    good = _spelt(request(number, "tools/call", {"name": "here", "arguments": {}}))
    odd = rng.choice(
        [rb"\ud800", rb"\udfff", rb"\ud83d\ud83d", b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80"]
    )
    return good.replace(b"here", odd), True, False


def _deep(rng: random.Random, number: int) -> Made:
    """Nesting that a parser's stack does not bear."""
    levels = rng.choice([60, 500, 20_000])
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}")])
    inner = opening * levels + "1" + closing * levels
    text = json.dumps(request(number, "tools/call", {"name": "begin", "arguments": {"seed": 0}}))
    return text.replace('"seed": 0', f'"seed": {inner}').encode(), True, False


def _batch(rng: random.Random, number: int) -> Made:
    """Several at once, which this protocol has not, and other things that are no object."""
    good = _good(rng, number)
    odd: tuple[Any, ...] = ([], [good], [good] * 20, 7, "tools/list", None, True, [[]])
    return _spelt(rng.choice(odd)), True, False


def _reply(rng: random.Random, number: int) -> Made:
    """An answer to what nobody asked."""
    error = {"code": -1, "message": "no"}
    body = rng.choice([{"result": {}}, {"error": error}, {"result": {}, "error": error}, {}])
    return _spelt({"jsonrpc": "2.0", "id": number, **body}), True, False


def _envelope(rng: random.Random, number: int) -> Made:
    """A request one of whose parts is of another make."""
    message = _good(rng, number)
    part = rng.choice(["jsonrpc", "id", "method", "params"])
    odd: Any = rng.choice(ODD)
    if part == "id":
        odd = rng.choice(_NO_IDS)
    elif part == "method":
        odd = rng.choice(_NO_NAMES)
    elif part == "params":
        odd = rng.choice([None, 7, "x", [], [1], True])
    return _spelt({**message, part: odd}), True, False


def _unknown(rng: random.Random, number: int) -> Made:
    """Methods that are not there."""
    return _spelt(request(number, rng.choice(NO_METHODS))), True, False


def _meta(rng: random.Random, number: int) -> Made:
    """A request without what the newest protocol wants beside it, or with another of it."""
    message = _good(rng, number)
    key = rng.choice(list(META))
    meta: dict[str, Any] = dict(META)
    if rng.random() < 0.5:
        del meta[key]
    else:
        meta[key] = rng.choice(ODD)
    message["params"]["_meta"] = rng.choice([meta, meta, meta, 7, "x", [], None])
    return _spelt(message), False, False


def _params(rng: random.Random, number: int) -> Made:
    """Parameters of known methods that are not what they should be."""
    method = rng.choice(METHODS)
    names = ("name", "arguments", "uri", "cursor", "level", "ref", "argument", "protocolVersion")
    params = {name: rng.choice(ODD) for name in rng.sample(names, rng.randrange(4))}
    return _spelt(request(number, method, params)), False, False


def _tool(rng: random.Random, number: int) -> Made:
    """Tools that are not there."""
    name = rng.choice(
        ["nope", "Begin", "begin ", "__class__", "at/../begin", "x" * 4000, "\x1b[2J"]
    )
    return _spelt(request(number, "tools/call", {"name": name, "arguments": {}})), True, False


def _arguments(rng: random.Random, number: int) -> Made:
    """Arguments of tools that are there."""
    tool = rng.choice(["begin", "search_skills", "feedback", "at", "delivered", "holding"])
    names = ("seed", "setup", "query", "limit", "call", "success", "comment", "item", "place", "x")
    arguments = {name: rng.choice(ODD) for name in rng.sample(names, rng.randrange(1, 4))}
    return (
        _spelt(request(number, "tools/call", {"name": tool, "arguments": arguments})),
        False,
        False,
    )


def _resource(rng: random.Random, number: int) -> Made:
    """Resources that are not there."""
    uri = rng.choice([
        "", "agentlab://", "agentlab://courier/skills/../../records.db", "file:///etc/passwd",
        "agentlab://courier/skills/at%00", "http://127.0.0.1/", "agentlab://other/skills/at",
        "x" * 9000,
    ])  # fmt: skip
    return _spelt(request(number, "resources/read", {"uri": uri})), True, False


def _cursor(rng: random.Random, number: int) -> Made:
    """Pages that are not there."""
    cursor = rng.choice(["-1", "0", "1", "999999999", "x", "", "1e3", "٣", "9" * 500])
    method = rng.choice(["tools/list", "resources/list"])
    return _spelt(request(number, method, {"cursor": cursor})), True, False


_KINDS: tuple[tuple[str, Maker], ...] = (
    ("broken", _broken), ("flipped", _flipped), ("number", _number), ("text", _text),
    ("deep", _deep), ("batch", _batch), ("reply", _reply), ("envelope", _envelope),
    ("unknown method", _unknown), ("meta", _meta), ("params", _params), ("unknown tool", _tool),
    ("arguments", _arguments), ("resource", _resource), ("cursor", _cursor),
)  # fmt: skip
