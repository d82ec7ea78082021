"""What somebody did in a browser, read from a recording: calls by role and name.

Three forms are understood: a script of Playwright's codegen in Python or in JavaScript, and a trace
zip. A script is read as text and never run. What cannot be said as a call, a CSS selector for one,
is left out and told, and so is what was typed into a field for a secret, since calls are kept.
Playwright finds names by a part and without regard to case unless a recording says otherwise; calls
here name things whole, so a recording may name what a call does not find, which shows when it is
carried out.
"""

from __future__ import annotations

import ast
import io
import json
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from agentlab.environments.web.actions import KEYS
from agentlab.environments.web.hearsay import clean
from agentlab.environments.web.origins import AllowList, origin_of, without_login
from agentlab.errors import ConfigError
from agentlab.types import JsonObject, ToolCall

MOST_CALLS = 60
MOST_BYTES = 30_000_000
SECRET = re.compile(
    r"pass ?(word|code|phrase)|\bpin\b|\bsecret\b|\btoken\b|api[ _-]?key|\bcvc\b|\bcvv\b"
    r"|card number|kennwort|passwort|mot de passe|contrase",
    re.IGNORECASE,
)
"""Names of fields whose content nobody wants to see kept."""
MOST_LEFT = 20
"""Sentences on what is left out."""

Value = str | int | bool | None


class Recording(NamedTuple):
    """What a recording holds."""

    calls: tuple[ToolCall, ...]
    left_out: tuple[str, ...]


class _Link(NamedTuple):
    """One method of a chain: `get_by_role("link", name="Cart")`."""

    method: str
    values: tuple[Value, ...] = ()
    named: Mapping[str, Value] = {}


class _Step(NamedTuple):
    """One statement or action, and where it stands."""

    chain: tuple[_Link, ...]
    where: str
    page: int = 0
    """Which of the pages that were opened; the first is 0."""


class _Tabs:
    """The tabs of a recording, in the order in which they were opened, and the one in front."""

    def __init__(self) -> None:
        self._known = 0
        self._open: list[int] = []
        self._front = 0
        self._closing: list[int] = []

    def close(self, page: int) -> None:
        """Note that a page is closed: told with the next call, since none follows most often."""
        self._closing.append(page)

    def turned_to(self, page: int) -> list[ToolCall]:
        """The calls that put a page in front, which is none where it is."""
        self._open.extend(range(self._known, page + 1))
        self._known = max(self._known, page + 1)
        calls: list[ToolCall] = []
        for gone in self._closing:
            if gone in self._open and len(self._open) > 1:
                number = self._open.index(gone) + 1
                calls.append(ToolCall(tool="tabs", arguments={"number": number, "close": "yes"}))
                self._open.remove(gone)
                self._front = self._open[-1] if gone == self._front else self._front
        self._closing.clear()
        if page != self._front and page in self._open:
            number = self._open.index(page) + 1
            calls.append(ToolCall(tool="tabs", arguments={"number": number}))
            self._front = page
        return calls


def read_recording(name: str, data: bytes, allowed: AllowList, url: str) -> Recording:
    """The calls in a recording.

    Args:
        name: of the file, for messages.
        data: its content.
        allowed: where calls may lead.
        url: of the site's first page, where every attempt begins.

    Raises:
        ConfigError: it cannot be read, or holds no call.
    """
    if len(data) > MOST_BYTES:
        raise ConfigError(f"The recording {name!r} has more than {MOST_BYTES:,} bytes.")
    steps = list(_steps(name, data))
    calls: list[ToolCall] = []
    left: list[str] = []
    tabs = _Tabs()
    for number, step in enumerate(steps):
        if step.chain[-1].method == "close" and len(step.chain) == 1:
            tabs.close(step.page)
            continue
        said = _call(step, allowed, url, first=number == 0)
        if isinstance(said, ToolCall) and not all(map(_can_be_kept, said.arguments.values())):
            left.append(f"{step.where}: {said.tool} of a text that holds half a character")
        elif isinstance(said, ToolCall):
            calls += [*tabs.turned_to(step.page), said]
        elif said:
            left.append(f"{step.where}: {said}")
    if not calls:
        raise ConfigError(
            f"The recording {name!r} holds nothing that can be said as a call by role and name; "
            "give a script of `playwright codegen` in Python or JavaScript, or a trace zip."
        )
    if len(calls) > MOST_CALLS:
        raise ConfigError(f"The recording {name!r} has {len(calls)} calls; at most {MOST_CALLS}.")
    return Recording(tuple(calls), tuple(left[:MOST_LEFT]))


def _can_be_kept(value: object) -> bool:
    return not isinstance(value, str) or clean(value) == value


def _steps(name: str, data: bytes) -> Iterator[_Step]:
    if data.startswith(b"PK"):
        yield from _of_trace(name, data)
        return
    text = data.decode("utf-8", "replace")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield from _of_javascript(text)
        return
    yield from _of_python(tree)


# --- from a chain to a call -----------------------------------------------------------------

_TYPING = frozenset(("fill", "type", "press_sequentially"))
_VALUED = _TYPING | {"select_option"}
_BY_NAME = ("get_by_label", "get_by_text", "get_by_placeholder", "get_by_title", "get_by_test_id",
            "get_by_alt_text")  # fmt: skip
_WITHOUT_TARGET = frozenset(("pause", "wait_for_timeout", "wait_for_load_state",
                             "wait_for_url", "screenshot", "set_default_timeout"))  # fmt: skip


class _Target(NamedTuple):
    name: str
    role: str


def _target(chain: Sequence[_Link]) -> _Target | None:
    """What a chain points at; None where it goes by more than one role, name or text."""
    if not chain:
        return None
    first, *rest = chain
    spoken = str(first.named.get("name") or "") if first.method == "get_by_role" else ""
    if first.method == "get_by_role" and first.values and "name" in first.named:
        found = _Target(spoken, str(first.values[0]))
    elif first.method in _BY_NAME and first.values and isinstance(first.values[0], str):
        found = _Target(first.values[0], "")
    else:
        return None
    for link in rest:
        number = 0 if link.method == "first" else link.values[0] if link.method == "nth" else None
        if not isinstance(number, int) or number < 0:
            return None
        found = found._replace(name=f"{found.name} #{number + 1}") if number else found
    return found if found.name else None


def _call(step: _Step, allowed: AllowList, url: str, *, first: bool) -> ToolCall | str:
    """The call of a step; a sentence where there is none, empty where none is missed."""
    *chain, last = step.chain
    value = last.values[0] if last.values else None
    if not chain:
        if last.method == "goto":
            return _goto(str(value or ""), allowed, url, first=first)
        if last.method == "go_back":
            return ToolCall(tool="back")
        return "" if last.method in _WITHOUT_TARGET else f"{last.method} is not understood"
    if last.method == "press":
        key = str(value or "")
        known = key in KEYS
        return ToolCall(tool="press", arguments={"key": key}) if known else f"no such key: {key!r}"
    target = _target(chain)
    if target is None:
        return f"{last.method} of what is not named by one role and name, label or text"
    if last.method in _TYPING and SECRET.search(target.name):
        return (
            f"what was typed into {target.name!r} is not kept; let attempts begin signed in, "
            "with the option login"
        )
    if last.method in _VALUED and _given(last) is None:
        return f"{last.method} of what the recording does not spell out as one text"
    made = _on(target, last)
    return made or f"{last.method} is not understood"


def _given(last: _Link) -> str | None:
    """The one text that is typed or chosen."""
    found = last.named.get("label", last.named.get("value", (*last.values, None)[0]))
    return found if isinstance(found, str) else None


def _on(target: _Target, last: _Link) -> ToolCall | None:
    named: JsonObject = {"name": target.name, **({"role": target.role} if target.role else {})}
    match last.method:
        case "click" | "dblclick":
            return ToolCall(tool="click", arguments=named)
        case "hover":
            return ToolCall(tool="hover", arguments=named)
        case method if method in _TYPING:
            return _tool("fill", label=target.name, text=_given(last) or "")
        case "select_option":
            return _tool("select", label=target.name, option=_given(last) or "")
        case "check" | "uncheck" | "set_checked":
            checked = (
                last.values[:1] == (True,)
                if last.method == "set_checked"
                else last.method == "check"
            )
            return _tool("check", label=target.name, checked=checked)
        case _:
            return None


def _tool(tool: str, **arguments: str | bool) -> ToolCall:
    return ToolCall(tool=tool, arguments={**arguments})


def _goto(address: str, allowed: AllowList, url: str, *, first: bool) -> ToolCall | str:
    why = allowed.refusal(address)
    if why:
        return f"goto {without_login(address)[:80]!r}: {why}"
    if first and address.rstrip("/") == url.rstrip("/"):
        return ""  # every attempt begins there
    parts = urlsplit(address)
    short = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _tool("goto", url=short if origin_of(address) == origin_of(url) else address)


# --- scripts --------------------------------------------------------------------------------


def _of_python(tree: ast.Module) -> Iterator[_Step]:
    # In the order of the text: `ast.walk` tells what stands in a `with` block after all the rest.
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    for node in sorted(found, key=lambda each: (each.lineno, each.col_offset)):
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        chain: list[_Link] = []
        while isinstance(value, ast.Call | ast.Attribute):
            called = value if isinstance(value, ast.Call) else None
            place = value.func if isinstance(value, ast.Call) else value
            if not isinstance(place, ast.Attribute):
                break
            values = tuple(map(_literal, called.args)) if called else ()
            named = {k.arg: _literal(k.value) for k in called.keywords if k.arg} if called else {}
            chain.append(_Link(place.attr, values, named))
            value = place.value
        page = re.fullmatch(_PAGE, value.id) if isinstance(value, ast.Name) else None
        if chain and page is not None:
            yield _Step(tuple(reversed(chain)), f"line {node.lineno}", int(page[1] or 0))


def _literal(node: ast.expr) -> Value:
    try:
        found: object = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    if isinstance(found, list) and len(alone := cast("list[object]", found)) == 1:
        found = alone[0]  # one of those that could be several
    return found if isinstance(found, str | int | bool) else None


MOST_DIGITS = 10
_PAGE = r"page(\d{0,2})"
"""What codegen calls a page: the first has no number."""
_JS_START = re.compile(rf"(?m)^[ \t]*(?:await[ \t]+)?{_PAGE}(?=\s*\.)")
_JS_METHOD = re.compile(r"\s*\.\s*([A-Za-z]\w*)\s*\(")
_JS_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)"""
    r"""|(?P<number>-?\d+)|(?P<word>[A-Za-z_]\w*)|(?P<mark>[{}(),:]))"""
)


def _of_javascript(text: str) -> Iterator[_Step]:
    number, counted = 1, 0
    for start in _JS_START.finditer(text):
        number += text.count("\n", counted, start.end())
        counted = start.end()
        place, chain = start.end(), list[_Link]()
        while (method := _JS_METHOD.match(text, place)) is not None:
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method[1]).lower()
            read = _js_values(text, method.end())
            if read is None:
                chain.append(_Link(name))
                break
            values, named, place = read
            chain.append(_Link(name, values, named))
        if chain:
            yield _Step(tuple(chain), f"line {number}", int(start[1] or 0))


def _js_values(text: str, place: int) -> tuple[tuple[Value, ...], dict[str, Value], int] | None:
    """The literals up to the closing bracket; None where there is anything else."""
    values: list[Value] = []
    named: dict[str, Value] = {}
    key, inside = "", False
    while (token := _JS_TOKEN.match(text, place)) is not None:
        place = token.end()
        mark, word = token["mark"], token["word"]
        if mark == ")":
            return tuple(values), named, place
        if mark in ("{", "}"):
            inside = mark == "{"
        elif mark is None and inside and not key:
            key = word or _js_text(token["string"] or "''")
        elif mark is None:
            value = _js_literal(token)
            if inside:
                named[key], key = value, ""
            else:
                values.append(value)
    return None


def _js_literal(token: re.Match[str]) -> Value:
    if token["string"]:
        return _js_text(token["string"])
    if token["number"]:
        return int(token["number"]) if len(token["number"]) < MOST_DIGITS else None
    return {"true": True, "false": False}.get(token["word"] or "")


def _js_text(spelt: str) -> str:
    escapes = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), spelt[1:-1])


# --- traces ---------------------------------------------------------------------------------

_SELECTOR = re.compile(
    r"""internal:role=(?P<role>[a-z]+)\[name=(?P<name>"(?:[^"\\]|\\.)*")[is]?\]"""
    r"""|internal:(?:label|text)=(?P<text>"(?:[^"\\]|\\.)*")[is]?"""
    r"""|internal:(?:attr|testid)=\[[\w-]+=(?P<attribute>"(?:[^"\\]|\\.)*")[is]?\]"""
)
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, RuntimeError,
           EOFError, ValueError, OverflowError)  # fmt: skip
"""What reading a zip raises that is none, or was made to be none."""
_ACTIONS = frozenset(("goto", "click", "dblclick", "fill", "type", "press", "selectOption", "check",
                      "uncheck", "hover", "goBack"))  # fmt: skip


def _of_trace(name: str, data: bytes) -> Iterator[_Step]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inside = [each for each in archive.infolist() if each.filename.endswith(".trace")]
            if not inside or sum(each.file_size for each in inside) > MOST_BYTES:
                raise ConfigError(
                    f"The recording {name!r} is no trace of Playwright, or one of more than "
                    f"{MOST_BYTES:,} bytes."
                )
            lines = [line for each in inside for line in archive.read(each).splitlines()]
    except _BROKEN as error:
        raise ConfigError(f"The recording {name!r} is no whole zip: {error}.") from None
    number, pages = 0, dict[str, int]()
    for line in lines:
        try:
            event: object = json.loads(line)
        except (ValueError, RecursionError):
            continue
        told = cast("JsonObject", event) if isinstance(event, dict) else {}
        given, method = told.get("params"), told.get("method")
        if told.get("type") == "before" and method in _ACTIONS and isinstance(given, dict):
            number += 1
            page = pages.setdefault(str(told.get("pageId")), len(pages))
            yield _Step(_of_action(str(method), given), f"action {number}", page)


def _of_action(method: str, given: JsonObject) -> tuple[_Link, ...]:
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method).lower()
    value = next((given[k] for k in ("url", "value", "text", "key") if k in given), None)
    options = given.get("options")
    if isinstance(options, list) and len(options) == 1 and isinstance(options[0], dict):
        value = next(iter(options[0].values()), None)
    last = _Link(name, (value,) if isinstance(value, str) else ())
    selector = given.get("selector")
    return (*_of_selector(selector), last) if isinstance(selector, str) else (last,)


def _of_selector(selector: str) -> tuple[_Link, ...]:
    links: list[_Link] = []
    for part in selector.split(" >> "):
        found = _SELECTOR.fullmatch(part)
        name = _spelt(found["name"] or found["text"] or found["attribute"]) if found else None
        if found is not None and name is not None and found["role"]:
            links.append(_Link("get_by_role", (found["role"],), {"name": name}))
        elif name is not None:
            links.append(_Link("get_by_text", (name,)))
        elif re.fullmatch(r"nth=\d{1,9}", part):
            links.append(_Link("nth", (int(part[4:]),)))
        else:
            links.append(_Link("locator", (part,)))
    return tuple(links)


def _spelt(name: str) -> str | None:
    try:
        return str(json.loads(name))
    except ValueError:
        return None
