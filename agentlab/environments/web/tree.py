"""The accessibility tree of a page as nodes, read from playwright's snapshot text.

Pure: text in, nodes and lines out. Wrappers that say nothing are taken out, so that what is left
is what a person would be told by a screen reader. Names are cut at `MOST_NAME`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from agentlab.environments.web.hearsay import MOST_BESIDE, clean
from agentlab.types import Entity, JsonObject

FIELDS = frozenset({"textbox", "searchbox", "spinbutton"})
CHECKS = frozenset({"checkbox", "radio", "switch", "menuitemcheckbox", "menuitemradio"})
CHOICES = frozenset({"combobox", "listbox"})
CONTROLS = (
    frozenset({"button", "link", "tab", "menuitem", "option", "slider", "treeitem", "gridcell"})
    | FIELDS
    | CHECKS
    | CHOICES
)
"""Roles of what one can act on."""
PLAIN = frozenset({"generic", "none", "presentation"})
MOST_NAME = 200
MOST_WORDS = 60
"""Characters of a text that is told of what stands around a thing."""
MOST_UP = 4
"""Levels above a thing that are looked for words."""
MOST_INSIDE = 40
"""Parts of what is looked for words; more is no row any more."""
_LINE = re.compile(
    r"^(?P<role>[a-z][a-z-]*|/[a-z]+)"
    r'(?:\s+(?P<name>"(?:[^"\\]|\\.)*"))?'
    r"(?P<attributes>(?:\s+\[[^\]]*\])*)\s*$"
)
_NO_ROOM = re.compile("[\u200b\u00ad]")
_ATTRIBUTE = re.compile(r"\[([a-z-]+)(?:=([^\]]*))?\]")


@dataclass
class Node:
    """One element of the tree, or a piece of text (role `text`)."""

    role: str
    name: str = ""
    text: str = ""
    """What stands in it, where that is text alone; a field's value."""
    attributes: dict[str, str] = field(default_factory=dict[str, str])
    children: list[Node] = field(default_factory=list["Node"])

    @property
    def ref(self) -> str:
        """Playwright's name of the element; empty where it cannot be acted on."""
        return self.attributes.get("ref", "")

    @property
    def pointed(self) -> bool:
        """Whether the mouse shows that it can be clicked, and it has no role that says so."""
        return self.role not in CONTROLS and self.attributes.get("cursor") == "pointer"

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in the page's order."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def content(self) -> str:
        """All text in it, in one line."""
        # Each child once: asked twice at each level, a page of thirty levels would never be told.
        below = [child.content for child in self.children]
        own = self.name or self.text
        return " ".join([own, *below] if own else [text for text in below if text]).strip()

    @property
    def label(self) -> str:
        """What it is called: its name, or where only the mouse tells, its text."""
        return self.name or (self.content if self.pointed else "")


def parse(snapshot: str) -> Node:
    """The tree; its root has the role `document`."""
    root = Node("document")
    stack: list[tuple[int, Node]] = [(-1, root)]
    # A line ends where playwright ends it, and nowhere that an address or a hint says so.
    for line in clean(snapshot).split("\n"):
        body = line.lstrip(" ")
        if not body.startswith("- "):
            continue
        depth = len(line) - len(body)
        node = _node(body[2:])
        while stack[-1][0] >= depth:
            stack.pop()
        parent = stack[-1][1]
        if node.role.startswith("/"):
            parent.attributes[node.role[1:]] = node.text
            continue
        parent.children.append(node)
        stack.append((depth, node))
    return root


def _node(text: str) -> Node:
    key, value = _split(text)
    found = _LINE.match(key)
    if found is None:
        return Node("text", text=_plain(text)[:2_000])
    name = _plain(found["name"] or "")
    attributes = dict(_ATTRIBUTE.findall(found["attributes"] or ""))
    return Node(found["role"], name[:MOST_NAME], _plain(value), attributes)


def _split(text: str) -> tuple[str, str]:
    """Key and value of a line of YAML, as playwright writes it."""
    if text.startswith("'"):
        end = 1
        while end < len(text):
            if text[end] == "'" and text[end + 1 : end + 2] != "'":
                break
            end += 2 if text[end] == "'" else 1
        return text[1:end].replace("''", "'"), text[end + 1 :].removeprefix(":").strip()
    quoted = False
    for index, letter in enumerate(text):
        if letter == '"' and (index == 0 or text[index - 1] != "\\"):
            quoted = not quoted
        if letter == ":" and not quoted and text[index + 1 : index + 2] in ("", " "):
            return text[:index], text[index + 1 :].strip()
    return text, ""


def _plain(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return clean(str(json.loads(value)))
        except ValueError:
            return value[1:-1]
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1].replace("''", "'")
    return value


def masked(root: Node, secrets: Sequence[str]) -> None:
    """Put dots where a field shows one of these values: what was typed as a password."""
    known = {_told(secret) for secret in secrets}
    for node in root.walk():
        if node.role in FIELDS and node.text and _told(node.text) in known:
            node.text = "•" * 8


def _told(value: str) -> str:
    """What playwright tells of a value: in one line, without what takes no room."""
    return " ".join(_NO_ROOM.sub("", value).split())


def tidied(root: Node) -> Node:
    """The tree without wrappers: a nameless plain element gives way to its children."""
    children: list[Node] = []
    if root.role in FIELDS and root.children and all(c.role == "text" for c in root.children):
        # What stands in a field that has a hint beside it is told as a part of the field.
        text = " ".join(part for part in (root.text, *(c.text for c in root.children)) if part)
        return Node(root.role, root.name, text, root.attributes)
    for child in map(tidied, root.children):
        # What can be clicked and says nothing is told by the document, see `page.js`.
        bare = child.role in PLAIN and not child.name and not (child.pointed and child.content)
        if not bare:
            children.append(child)
        elif child.text and not child.children:
            children.append(Node("text", text=child.text))
        else:
            children.extend([Node("text", text=child.text)] if child.text else [])
            children.extend(child.children)
    return Node(root.role, root.name, root.text, root.attributes, children)


def lines(root: Node, depth: int = 0) -> Iterator[str]:
    """The tree in lines, for a reader."""
    for child in root.children:
        yield f"{'  ' * depth}- {_said(child)}"
        yield from lines(child, depth + 1)


def _said(node: Node) -> str:
    if node.role == "text":
        return f"text: {_line(node.text)}"
    role = "clickable" if node.role in PLAIN and node.pointed else node.role
    parts = [role]
    if node.name:
        parts.append(json.dumps(node.name, ensure_ascii=False))
    acts = node.role in CONTROLS or node.pointed
    for name, value in node.attributes.items():
        if name in ("cursor", "box", "url", "placeholder") or (name == "ref" and not acts):
            continue
        parts.append(f"[{name}={value}]" if value else f"[{name}]")
    if node.role == "link" and node.attributes.get("url"):
        parts.append(f"-> {_line(node.attributes['url'][:120])}")
    if "placeholder" in node.attributes:
        parts.append(f"(hint: {_line(node.attributes['placeholder'][:80])})")
    return " ".join(parts) + (f": {_line(node.text)}" if node.text else "")


def _line(text: str) -> str:
    """A text that begins no line of its own, which would look like one of the tree."""
    return " ".join(text.splitlines())


def acted_on(root: Node) -> list[tuple[str, Node]]:
    """What one can act on, each by the name that stands for it alone.

    Of things called alike the first is `Reply #1`; what has no name goes by its role.
    """
    found = [
        (called(node), node)
        for node in root.walk()
        if (node.role in CONTROLS or (node.pointed and node.label))
        and (node.role != "option" or node.name)
    ]
    total = Counter(name for name, _ in found)
    counts: Counter[str] = Counter()
    named: list[tuple[str, Node]] = []
    for name, node in found:
        counts[name] += 1
        named.append((name if total[name] == 1 else f"{name} #{counts[name]}", node))
    return named


def called(node: Node) -> str:
    """What a node goes by, others called alike apart."""
    return " ".join(node.label.split())[:MOST_NAME] or node.role


def words_beside(root: Node) -> dict[str, tuple[str, ...]]:
    """By reference, the texts around each control that others are called like.

    They are of the smallest part of the page that has other words: so the row tells which of the
    buttons in a table is meant. What stands in fields is nobody's name.

    Args:
        root: of the tree as it was read, with the wrappers that a row may be.
    """
    named = [node for node in root.walk() if node.ref and (node.role in CONTROLS or node.pointed)]
    count = Counter(map(called, named))
    alike = [node for node in named if count[called(node)] > 1]
    if not alike:
        return {}
    parents = {id(child): node for node in root.walk() for child in node.children}
    return {node.ref: texts for node in alike if (texts := _around(node, parents))}


def _around(node: Node, parents: Mapping[int, Node]) -> tuple[str, ...]:
    own = {id(each) for each in node.walk()}
    around = parents.get(id(node))
    for _ in range(MOST_UP):
        if around is None or around.role == "document":
            break
        inside = list(islice(_words_in(around), MOST_INSIDE + 1))
        if len(inside) > MOST_INSIDE:
            break
        others = (each.name or each.text for each in inside if id(each) not in own)
        texts = [" ".join(text.split())[:MOST_WORDS] for text in others if text.strip()]
        if texts:
            return tuple(dict.fromkeys(texts))[:MOST_BESIDE]
        around = parents.get(id(around))
    return ()


def _words_in(around: Node) -> Iterator[Node]:
    for child in around.children:
        if child.role not in FIELDS:
            yield child
            yield from _words_in(child)


def kind_of(node: Node) -> str:
    """The type of entity that a node is."""
    if node.role in FIELDS or (node.role == "combobox" and not _options(node)):
        return "field"
    if node.role in CHECKS:
        return "check"
    if node.role in CHOICES:
        return "choice"
    return "option" if node.role == "option" else "control"


def _options(node: Node) -> list[Node]:
    return [child for child in node.walk() if child.role == "option"]


def entity_of(name: str, node: Node, beside: Sequence[str] = ()) -> Entity:
    """What can be acted on, as an entity: called by name, described by role and state.

    Args:
        name: what stands for it alone.
        node: of the tree.
        beside: the words around it, where others are called alike.
    """
    properties: JsonObject = {"role": node.role if node.role not in PLAIN else "clickable"}
    for flag in ("checked", "selected", "expanded", "pressed", "disabled"):
        if flag in node.attributes:
            properties[flag] = node.attributes[flag] != "false"
    if kind_of(node) == "field":
        properties["value"] = node.text[:MOST_NAME]
    if kind_of(node) == "choice":
        chosen = [o.name for o in _options(node) if "selected" in o.attributes]
        properties["value"] = chosen[0] if len(chosen) == 1 else list(chosen)
    if node.attributes.get("url"):
        properties["leads_to"] = node.attributes["url"][:MOST_NAME]
    if beside:
        properties["beside"] = [*beside]
    return Entity(type=kind_of(node), reference=name, properties=properties)
