"""What in a skill's calls will not be there in the next episode: references, ids, endless waits.

A tool says in its schema what is fleeting: a parameter marked `x-volatile` takes what holds for
one observation alone, and one with a `maximum` is bounded. A skill may pass neither the first nor
more than the second; and no text of it may hold an id of a session or a record. Read from the
source and the schemas; nothing here runs code or knows an environment.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import cast

from agentlab.types import JsonObject, ToolSpec

VOLATILE = "x-volatile"
_IDS = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
    r"|\b(?:attempt|task|run|skill|insight|session|episode)-[0-9a-f]{8,}\b"
    r"|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{16,}\b"
    r"|\beyJ[\w-]{10,}\.[\w-]{6,}",
    re.IGNORECASE,
)
"""UUIDs, our own ids, long hexadecimal keys, and signed tokens."""


def fleeting(source: str, tools: Sequence[ToolSpec]) -> str | None:
    """Why a skill would work in one episode alone, or wait without bound; None where it would not.

    Args:
        source: code that parses.
        tools: the environment's, with their schemas.
    """
    tree = ast.parse(source)
    schemas = {tool.name: _properties(tool) for tool in tools}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := _tool(node)) in schemas:
            reason = next(_faults(node, name, schemas[name]), None)
            if reason is not None:
                return f"static: {reason}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = _IDS.search(node.value)
            if found is not None:
                return f"static: it holds {found[0][:40]!r}, an id of one session or record"
    return None


def _tool(call: ast.Call) -> str:
    """The tool that a call names: `env.<tool>(…)`; empty for any other call."""
    function = call.func
    ours = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
    if ours and cast("ast.Name", cast("ast.Attribute", function).value).id == "env":
        return cast("ast.Attribute", function).attr
    return ""


def _faults(call: ast.Call, tool: str, schemas: dict[str, JsonObject]) -> Iterator[str]:
    volatile = [name for name, schema in schemas.items() if schema.get(VOLATILE) is True]
    for keyword in call.keywords:
        if keyword.arg is None:
            if volatile:
                yield f"it calls {tool!r} with arguments that cannot be read from the code"
            continue
        if keyword.arg in volatile:
            yield f"it passes {keyword.arg!r} to {tool!r}, which holds for one observation alone"
        most = schemas.get(keyword.arg, {}).get("maximum")
        given = _number(keyword.value)
        if isinstance(most, int | float) and given is not None and given > most:
            yield f"it passes {given:g} as {keyword.arg!r} to {tool!r}, more than {most:g}"


def _number(node: ast.expr) -> float | None:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(cast("float", node.value))
    return None


def _properties(tool: ToolSpec) -> dict[str, JsonObject]:
    found = tool.parameters.get("properties")
    return cast("dict[str, JsonObject]", found) if isinstance(found, dict) else {}
