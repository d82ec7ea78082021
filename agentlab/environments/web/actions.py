"""The tools of a page: their names, what they say of themselves, and the schemas they hold to.

Things are named as a person would: by role and name, a field by its label. A `ref` stands beside
that for who has just read it in an observation; it is marked volatile, so no skill may use one.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.environments.web.options import Grant
from agentlab.types import JsonObject, SideEffect, ToolSpec

KEYS = (
    "Enter", "Escape", "Tab", "Shift+Tab", "Space", "Backspace", "Delete", "ArrowUp",
    "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown", "Control+A",
    "Control+C", "Control+V", "Control+X", "Control+Z",
)  # fmt: skip
DIRECTIONS = ("down", "up", "left", "right")
MOST_WAIT = 10
MOST_TYPED = 10_000
"""Characters that one call may type."""

_REF: JsonObject = {
    "type": "string",
    "description": "the reference that the last observation shows, such as e12, in place of a name",
    "x-volatile": True,
}
_ROLE: JsonObject = {
    "type": "string",
    "description": "its role, such as button or link",
    "x-property-of": "name",
}


def _name(what: str, entity: str) -> JsonObject:
    return {"type": "string", "description": what, "x-entity": entity}


def _tool(
    name: str,
    description: str,
    properties: JsonObject,
    required: Sequence[str] = (),
    effect: SideEffect = "changes",
) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=description,
        parameters={
            "type": "object",
            "properties": properties,
            "required": list(required),
            "additionalProperties": False,
        },
        effect=effect,
    )


GOTO = _tool(
    "goto",
    "Open an address in this tab.",
    {"url": {"type": "string", "description": "the address; one without a host is of this site"}},
    ["url"],
)
CLICK = _tool(
    "click",
    "Click something: by its role and name, or by its text. Of things called alike, the second is "
    '"Name #2".',
    {"name": _name("its name or text", "*"), "role": _ROLE, "ref": _REF},
)
FILL = _tool(
    "fill",
    "Put text into a field, in place of what is there.",
    {
        "label": _name("the field's name, label or hint", "field"),
        "text": {**_name("the text", "text"), "maxLength": MOST_TYPED},
        "ref": _REF,
    },
    ["text"],
)
SELECT = _tool(
    "select",
    "Choose an option of a list.",
    {
        "label": _name(
            "the list's name or label; without it, the one list with that option", "choice"
        ),
        "option": _name("the option", "option"),
        "ref": _REF,
    },
    ["option"],
)
CHECK = _tool(
    "check",
    "Tick a checkbox, a radio button or a switch, or untick it.",
    {
        "label": _name("its name or label", "check"),
        "checked": {"type": "boolean", "description": "whether it is to be ticked"},
        "ref": _REF,
    },
    ["checked"],
)
PRESS = _tool(
    "press",
    "Press a key, where the focus is.",
    # No `enum`: a search that tries each key in each state would come to little else.
    {"key": {"type": "string", "description": f"one of {', '.join(KEYS)}"}},
    ["key"],
)
HOVER = _tool(
    "hover",
    "Move the mouse over something, to see what that shows.",
    {"name": _name("its name or text", "*"), "role": _ROLE, "ref": _REF},
    effect="explores",
)
SCROLL = _tool(
    "scroll",
    "Scroll by most of a screen.",
    {"direction": {"type": "string", "enum": list(DIRECTIONS)}},
    ["direction"],
    effect="explores",
)
BACK = _tool("back", "Go back to the page before.", {})
WAIT = _tool(
    "wait_for",
    "Wait until a text is to be seen.",
    {
        "text": {"type": "string", "description": "the text, or a part of it"},
        "seconds": {"type": "number", "minimum": 0, "maximum": MOST_WAIT},
    },
    ["text"],
    effect="explores",
)
READ = _tool(
    "read",
    "Read the page's text, or that of one part of it, from a character on.",
    {
        "name": _name("the name or text of the part; the whole page without one", ""),
        "role": _ROLE,
        "start": {"type": "integer", "minimum": 0, "description": "characters to leave out"},
    },
    effect="none",
)
TABS = _tool(
    "tabs",
    "Tell the tabs; with a number, put that one in front, or close it.",
    {
        "number": {"type": "integer", "minimum": 1},
        "close": {"type": "string", "description": "'yes' closes the tab of that number"},
    },
    effect="explores",
)
SCREENSHOT = _tool("screenshot", "Take a picture of what is to be seen now.", {}, effect="none")
UPLOAD = _tool(
    "upload",
    "Give a file to a field that takes one.",
    {
        "label": _name("the field's name or label", ""),
        "file": {"type": "string", "description": "the file's name"},
        "ref": _REF,
    },
    ["file"],
)
DOWNLOAD = _tool(
    "download",
    "Click something that downloads a file, and tell what came.",
    {"name": _name("its name or text", ""), "role": _ROLE, "ref": _REF},
)

ALWAYS = (
    GOTO, CLICK, FILL, SELECT, CHECK, PRESS, HOVER, SCROLL, BACK, WAIT, READ, TABS, SCREENSHOT,
)  # fmt: skip
GRANTED: dict[Grant, ToolSpec] = {"upload": UPLOAD, "download": DOWNLOAD}


def tools(grants: Sequence[Grant], *, files: Sequence[str] = ()) -> tuple[ToolSpec, ...]:
    """The tools, those that must be granted only where they are.

    Args:
        grants: what is granted.
        files: what may be uploaded.
    """
    found = [*ALWAYS]
    for grant, tool in GRANTED.items():
        if grant in grants:
            found.append(_offering(tool, files) if grant == "upload" and files else tool)
    return tuple(found)


def _offering(tool: ToolSpec, files: Sequence[str]) -> ToolSpec:
    properties = tool.parameters["properties"]
    assert isinstance(properties, dict)
    file: JsonObject = {"type": "string", "enum": list(files)}
    return tool.model_copy(
        update={"parameters": {**tool.parameters, "properties": {**properties, "file": file}}}
    )
