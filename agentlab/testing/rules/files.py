"""An executor that works on files through whatever tools read, write, move and list them.

Tools are known by their names and parameters, so a toolset of one's own and a file server will
both do. It works an instruction off clause by clause and looks only at what its calls answered.
What it forgets is that a folder must be there before something is put into it: it is refused, and
gives up, unless something in the request speaks of making folders. Where requests have a seed, with
some seeds it thinks of the folder after it was refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from pydantic import JsonValue

from agentlab.testing.rules.reading import (
    QUOTED,
    Call,
    acting,
    arguments_of,
    calls_made,
    given,
    labelled,
    own_turns,
    whole_text,
)
from agentlab.types import ChatRequest, JsonObject, Message, ToolSpec, derive_uniform

Verb = str
MOST_TURNS = 40
REMEMBERS = 0.3
"""Of the seeds, those with which it thinks of the folder after it was refused."""

TOOLS: dict[Verb, tuple[str, ...]] = {
    "read": (r"read_text_file", r"read_file", r"(?:read|open|show|get)(?:_text|_note)?", r"cat"),
    "write": (r"write_(?:text_)?file", r"(?:write|save|put)(?:_text|_note)?"),
    "append": (r"append(?:_to)?(?:_file)?",),
    "move": (r"move_file", r"(?:move|rename|mv)(?:_file)?"),
    "list": (r"list_(?:directory|files|folder)", r"(?:list|ls)"),
    "make": (r"(?:create|make)_(?:directory|folder|dir)", r"mkdir"),
    "roots": (r"list_allowed_directories",),
}
"""Names of the tools that do it, best first."""
PARAMETERS = {
    "source": r"source|src|from|old\w*|from_\w+",
    "destination": r"destination|dest|dst|to|target|new\w*|to_\w+",
    "content": r"contents?|text|data|body",
    "path": r"path|file\w*|name|directory|dir|folder|where",
}
PATH = r"['\"`]?(?P<{0}>[\w./ -]*?[\w/])['\"`]?"
SAID = r"(?P<q>['\"])(?P<content>.*?)(?P=q)"
A_FILE = r"(?:the |a |an )?(?:new )?(?:text )?(?:file |note )?(?:called |named )?"
A_FOLDER = r"(?:the |a |an )?(?:new )?(?:folder|directory) (?:called |named )?"
CLAUSES: tuple[tuple[Verb, str], ...] = (
    ("append", rf"(?:append|add) {SAID} to (?:the end of )?{A_FILE}{PATH.format('path')}"),
    ("write", rf"(?:write|put|save) {SAID} (?:to|into|in) {A_FILE}{PATH.format('path')}"),
    ("make", rf"(?:create|make) {A_FOLDER}{PATH.format('path')}"),
    (
        "write",
        rf"(?:create|make|write) {A_FILE}{PATH.format('path')} "
        rf"(?:with|that says|containing) (?:the (?:text|content) )?{SAID}",
    ),
    (
        "copy",
        rf"copy (?:the contents? of )?{A_FILE}{PATH.format('source')} "
        rf"(?:in)?to {A_FILE}{PATH.format('destination')}",
    ),
    (
        "move",
        rf"(?:move|rename) {A_FILE}{PATH.format('source')} "
        rf"(?:in)?to {A_FILE}{PATH.format('destination')}",
    ),
    ("read", rf"(?:read|show|open|tell what is in) {A_FILE}{PATH.format('path')}"),
    ("list", rf"list (?:the (?:files|contents?) (?:in|of) )?(?:the folder )?{PATH.format('path')}"),
)
JOINTS = re.compile(
    r"(?:,? and then|, then|; then|;|,? and|,)\s+"
    r"(?=(?:append|add|write|put|save|create|make|copy|move|rename|read|show|open|tell|list)\b)",
    re.IGNORECASE,
)
REFUSED = re.compile(
    r"(?i)\A(?:error|the call was refused|the skill did not|not carried out)|ENOENT|access denied"
)
ROOT = re.compile(
    r"(?i)outside allowed directories: .* not in (?P<refused>/[^\s,⟧]+)"
    r"|allowed directories:\s*\n\s*(?P<listed>/[^\s⟧]+)"
)
"""How file servers say to which folder they keep."""


class Clause(NamedTuple):
    """One thing that is asked for."""

    verb: Verb
    values: dict[str, str]
    """By the names in `PARAMETERS`."""


class Made(NamedTuple):
    """A call that was made."""

    name: str
    arguments: JsonObject
    answer: str

    @property
    def worked(self) -> bool:
        """Whether nothing says that it was refused."""
        return not REFUSED.search(self.answer)


def play(request: ChatRequest) -> Message:
    """The next call, or the last words."""
    parsed = (parse(text) for text in _instructions(request))
    clauses = next((found for found in parsed if found), ())
    if not clauses:
        return Message(role="assistant", text="I do not see what to do here.")
    if own_turns(request) >= MOST_TURNS:
        return Message(role="assistant", text="I give up: this takes too long.")
    made = [Made(use.name, arguments_of(use), answer) for use, answer in calls_made(request)]
    last = ""
    place = 0
    for clause in clauses:
        wanted, place, last = _work_off(request, clause, made, place)
        if wanted is not None:
            wanted = _mended(request, wanted, made)
            if wanted is None:
                return Message(role="assistant", text="I could not do it.")
            return acting(request, [wanted])
    # An answer may be what was asked for, so what was read last is told.
    return Message(role="assistant", text=f"Done. {last}".strip())


def parse(text: str) -> tuple[Clause, ...]:
    """The clauses of an instruction; empty if it is none."""
    made: list[Clause] = []
    for part in JOINTS.split(text.strip().rstrip(".!")):
        for verb, pattern in CLAUSES:
            found = re.fullmatch(pattern, part.strip(), re.IGNORECASE)
            if found is not None:
                values = {k: v for k, v in found.groupdict().items() if k != "q" and v}
                made.append(Clause(verb, values))
                break
        else:
            return ()
    return tuple(made)


def _instructions(request: ChatRequest) -> list[str]:
    task = labelled(request, "task")
    plain = [line for m in request.messages if m.role == "user" for line in m.text.split("\n")]
    return [*([task] if task else []), *given(request), *plain]


def _work_off(
    request: ChatRequest, clause: Clause, made: Sequence[Made], place: int
) -> tuple[Call | None, int, str]:
    """The clause's first call that has not worked yet, or None; where to go on; what was read."""
    read = ""
    for verb, values in _steps(clause):
        if values.get("content") == "":
            # What a copy writes is what was read before.
            values = {**values, "content": read + clause.values.get("content", "")}
        wanted = call(request, verb, values, made)
        if wanted is None:
            return ("", {}), place, read
        done = next(
            (
                n
                for n in range(place, len(made))
                if made[n].worked and (made[n].name, made[n].arguments) == wanted
            ),
            None,
        )
        if done is None:
            return wanted, place, read
        place = done + 1
        if verb in ("read", "list"):
            read = _content(made[done].answer)
    return None, place, read


def _steps(clause: Clause) -> list[tuple[Verb, dict[str, str]]]:
    values = clause.values
    match clause.verb:
        case "copy":
            return [
                ("read", {"path": values["source"]}),
                ("write", {"path": values["destination"], "content": ""}),
            ]
        case "append":
            path = values["path"]
            return [("read", {"path": path}), ("write", {"path": path, "content": ""})]
        case "move":
            target = values["destination"]
            if target.endswith("/"):
                values = {**values, "destination": target + values["source"].rsplit("/")[-1]}
            return [("move", values)]
        case verb:
            return [(verb, values)]


def call(
    request: ChatRequest, verb: Verb, values: dict[str, str], made: Sequence[Made] = ()
) -> Call | None:
    """The call of a tool that does it; a skill whose name says the same goes first, once."""
    root = ROOT.search(whole_text(request))
    if root is not None:
        folder = root["refused"] or root["listed"]
        values = {
            name: value if name == "content" or value.startswith("/") else f"{folder}/{value}"
            for name, value in values.items()
        }
    failed = {m.name for m in made if not m.worked}
    skills = [t for t in request.tools if "skill" in t.description[:20].lower()]
    for tool in skills:
        arguments = _arguments(tool, values)
        if tool.name not in failed and verb in tool.name and arguments is not None:
            return tool.name, arguments
    for pattern in TOOLS.get(verb, ()):
        for tool in request.tools:
            if tool not in skills and re.fullmatch(pattern, tool.name):
                arguments = _arguments(tool, values)
                if arguments is not None:
                    return tool.name, arguments
    return None


def _arguments(tool: ToolSpec, values: dict[str, str]) -> JsonObject | None:
    """The arguments of a tool that takes these values; None where it needs others."""
    properties, required = tool.parameters.get("properties"), tool.parameters.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return {} if not values else None
    left = dict(values)
    made: JsonObject = {}
    for name in properties:
        kind = next((k for k, p in PARAMETERS.items() if k in left and re.fullmatch(p, name)), None)
        if kind is not None:
            made[name] = left.pop(kind)
        elif name in required:
            return None
    return None if left else made


def _mended(request: ChatRequest, wanted: Call, made: Sequence[Made]) -> Call | None:
    """The call, or what must come before it after it was refused; None to give up."""
    if not wanted[0]:
        return None
    folder = next(
        (
            value.rpartition("/")[0]
            for name, value in wanted[1].items()
            if isinstance(value, str)
            and "/" in value.strip("/")
            and re.fullmatch(f"{PARAMETERS['destination']}|{PARAMETERS['path']}", name)
        ),
        "",
    )
    writes = any(re.fullmatch(p, wanted[0]) for verb in ("write", "move") for p in TOOLS[verb])
    make = call(request, "make", {"path": folder}, made) if folder and writes else None
    places = [n for n, m in enumerate(made) if (m.name, m.arguments) == make]
    # What was refused before the folder was made is tried again.
    since = made[places[-1] + 1 :] if places else made
    refused = [m for m in since if not m.worked and (m.name, m.arguments) == wanted]
    if make is not None and not places:
        if _remembers(request) or (refused and _bethinks(request)):
            return make
    if not refused:
        return wanted
    if re.search(r"(?i)denied|outside|allowed", refused[-1].answer):
        roots = call(request, "roots", {}, made)
        if roots is not None and not any(m.name == roots[0] for m in made):
            return roots
    return None


def _remembers(request: ChatRequest) -> bool:
    """Whether something that was learnt speaks of making folders."""
    told = [piece for piece in given(request) if not parse(piece)]
    told += [t.description for t in request.tools if "skill" in t.description[:20].lower()]
    return any(re.search(r"(?i)(?:create|make)s? .{0,40}(?:folder|director)", t) for t in told)


def _bethinks(request: ChatRequest) -> bool:
    """Whether it thinks of the folder by itself, once it was refused."""
    seed = request.sampling.seed
    return seed is not None and derive_uniform("folders", seed) < REMEMBERS


def _content(answer: str) -> str:
    """What a file holds, from what the call answered: bare, quoted, or a field of an object."""
    found = QUOTED.search(answer)
    text = found[1] if found is not None else answer
    try:
        value = cast("JsonValue", json.loads(text))
    except ValueError:
        return text
    if isinstance(value, dict):
        for name in ("content", "text", "result"):
            inner = value.get(name)
            if isinstance(inner, str):
                return inner
    return text
