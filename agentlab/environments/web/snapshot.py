"""What an agent is shown of a page: its tree, what has no name there, and how much was left out.

Playwright's accessibility snapshot tells roles, names and references; `page.js` tells what it
leaves out: pictures and controls without a name, by what the document says of them. A page too
large for a tree is told by its headings, controls and first text. Every part has a limit, and
what is cut is counted. Playwright tells a tree whole, so how much the document says is looked at
first, in a world of playwright's that the page cannot reach; what frames and fields say beside it,
and what grows meanwhile, meets the limits of memory (`launcher`, `driver`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from agentlab.environments.web import tree
from agentlab.environments.web.asking import told_by
from agentlab.environments.web.browser import (
    BrowserError,
    BrowserTimeout,
    ElementHandle,
    Page,
)
from agentlab.environments.web.hearsay import Unnamed, facts_of, passwords_of
from agentlab.environments.web.scripts import script
from agentlab.environments.web.tree import Node
from agentlab.types import Entity, JsonObject

MOST_NODES = 12_000
"""Elements of a page from which its tree is not asked for."""
MOST_WORDS = 5_000_000
"""Characters in a page's elements from which its tree is not asked for; no honest answer of a
server has more, see `Options.most_bytes`."""
MOST_SAID = 500_000
"""Characters of one attribute that a tree repeats."""
_GREAT = (
    f"xpath=/*[string-length(.) > {MOST_WORDS} or //@*[string-length() > {MOST_SAID} and "
    "contains('|aria-label|alt|title|placeholder|href|value|label|', concat('|', name(), '|'))]]"
)
MOST_ENTITIES = 150
MOST_UNNAMED = 40
"""Lines for what has no name."""
MOST_TEXT = 200_000
"""Characters of a page's text that are looked at, for reading on."""
TRIES = 4
"""That a page which goes elsewhere meanwhile is looked at."""
TREE_SECONDS = 5.0
"""That a page may take to tell its tree."""
MOST_FRAMES = 50
FRAME_SECONDS = 1.0
"""That a frame may take to say what stands in its fields for passwords."""
_PASSWORDS = """() => {
  const found = [];
  const look = (root) => {
    for (const field of root.querySelectorAll("input[type=password]"))
      if (field.value) found.push(field.value);
    for (const each of root.querySelectorAll("*")) if (each.shadowRoot) look(each.shadowRoot);
  };
  look(document);
  return found;
}"""
_CHANGES = (
    "() => { const count = window[Symbol.for('agentlab.changes')]; return count && count(); }"
)


_PICK = """(ask) => {
  let hit = null;
  try { hit = (SCRIPT)(ask); } catch {}
  return typeof hit === "object" ? hit : null;
}"""
"""An element alone may be answered: what else a page made of it would cross whole."""
NOTHING: Mapping[str, Sequence[str]] = {}
UNREADABLE = facts_of({"large": True, "outline": "(Nothing that the page tells can be read.)"})
"""In place of what a page tells that says more than it can, or breaks off who asks it."""


class View(NamedTuple):
    """A page as it was at one moment."""

    url: str
    title: str
    root: Node
    controls: tuple[tuple[str, Node], ...]
    unnamed: tuple[Unnamed, ...]
    left: int
    """Things without a name that were left out."""
    outline: str
    """In place of the tree, where the page is too large for one."""
    mark: str
    """Tells states of the page apart."""
    scrolled: tuple[int, int]
    """Pixels from the top, and the page's height."""
    changes: str = ""
    """Names the document and how often it had changed by then; empty where that is not known."""
    beside: Mapping[str, Sequence[str]] = NOTHING
    """By reference of what others are called like: the texts around it."""


async def look(page: Page, *, mark: bool = True) -> View:
    """The page now.

    Raises:
        BrowserError: it went elsewhere each time it was looked at.
    """
    for again in range(TRIES):
        try:
            return await _looked(page, mark=mark)
        except BrowserError:
            if again == TRIES - 1:
                raise
            await asyncio.sleep(0.1 * (again + 1))
    raise AssertionError("unreachable")


async def _looked(page: Page, *, mark: bool) -> View:
    asked, where = {"most_nodes": MOST_NODES, "most_outline": 6_000, "mark": mark}, page.url
    told, great = await asyncio.gather(
        told_by(page, script("page.js"), asked), page.locator(_GREAT).count()
    )
    if great:
        asked["most_nodes"] = 0
        told = await told_by(page, script("page.js"), asked)
    facts = UNREADABLE if told is None else facts_of(told)
    root, beside = Node("document"), NOTHING
    if not facts.large:
        try:
            told_as = await page.aria_snapshot(mode="ai", timeout=TREE_SECONDS * 1000)
        except BrowserError as error:
            deep = isinstance(error, BrowserTimeout) or "call stack" in str(error)
            if not deep or page.url != where:
                raise  # it went elsewhere meanwhile, or is lost
            # Playwright tells no tree of more than some fifty levels, and tries to until then.
            asked["most_nodes"] = 0
            facts = facts_of(await told_by(page, script("page.js"), asked))
            told_as = ""
        read = tree.parse(told_as)
        beside = tree.words_beside(read)
        root = tree.tidied(read)
        # In a page of parts, a frame say, `page.js` sees but the outermost.
        alone = facts.changes and len(page.frames) == 1
        secrets = facts.passwords if alone else await _passwords(page)
        tree.masked(root, secrets)
    controls = tuple(tree.acted_on(root))
    # What the tree shows as something to act on needs no second name.
    told = {" ".join(node.label.split()) for _, node in controls}
    return View(
        url=page.url,
        title=facts.title,
        root=root,
        controls=controls,
        unnamed=tuple(
            each for each in facts.unnamed if each.drawn or not each.text or each.text not in told
        ),
        left=facts.left,
        outline=facts.outline,
        mark=facts.mark,
        scrolled=(facts.top, facts.height),
        changes=facts.changes,
        beside=beside,
    )


async def _passwords(page: Page) -> list[str]:
    """What stands in fields for passwords, in all frames and in roots within elements."""
    found: list[str] = []
    for frame in page.frames[:MOST_FRAMES]:
        with contextlib.suppress(BrowserError, TimeoutError):
            async with asyncio.timeout(FRAME_SECONDS):
                found += passwords_of(await told_by(frame, _PASSWORDS))
    return found


async def is_as_it_was(page: Page, view: View) -> bool:
    """Whether the document has not changed since: its tree and references are what they were.

    What styles alone bring about is not noticed, nor is anything in a page with frames, which
    therefore counts as changed.
    """
    if not view.changes or page.url != view.url:
        return False
    try:
        return await told_by(page, _CHANGES) == view.changes
    except BrowserError:
        return False  # it is on its way elsewhere


async def pick_unnamed(page: Page, name: str) -> ElementHandle | None:
    """The element behind a description that `look` gave."""
    found = await page.evaluate_handle(_PICK.replace("SCRIPT", script("page.js")), {"pick": name})
    return found.as_element()


def shown(view: View, *, most: int, tabs: tuple[int, int] = (1, 1)) -> str:
    """The page for a reader, in at most about `most` characters.

    Args:
        view: the page.
        most: characters of the tree, or of what stands for it.
        tabs: the number of the tab in front, and how many there are.
    """
    head = [f"Page: {view.title or '(no title)'}", f"URL: {view.url[:300]}"]
    if tabs[1] > 1:
        head.append(f"Tabs: {tabs[1]}; this is tab {tabs[0]}.")
    if view.outline:
        head.append("The page is too large to be shown as a tree; this is its beginning:")
        return "\n".join((*head, cut(view.outline, most)))
    body = cut("\n".join(tree.lines(view.root)), most)
    return "\n".join((*head, body or "(The page is empty.)", *_unnamed_lines(view)))


def _unnamed_lines(view: View) -> list[str]:
    if not view.unnamed:
        return []
    some = view.unnamed[:MOST_UNNAMED]
    lines = ["Beside the tree, by what the document says of them (click takes these as names):"]
    lines += [
        f'- "{u.name}" at {u.x},{u.y}, {u.width} x {u.height}'
        + (f", {u.colour}" if u.colour and u.colour not in u.name else "")
        for u in some
    ]
    if left := len(view.unnamed) - len(some) + view.left:
        lines.append(f"({left} more such things are not shown.)")
    return lines


def cut(text: str, most: int, *, start: int = 0) -> str:
    """A part of the text, saying what was left out behind it, at whole lines where it can."""
    part = text[start : start + most]
    left = len(text) - start - len(part)
    if left <= 0:
        return part
    whole = part.rpartition("\n")[0] or part
    left += len(part) - len(whole)
    return f"{whole}\n(… {left:,} more characters are not shown; read tells them.)"


def entities(view: View, texts: tuple[str, ...] = ()) -> tuple[Entity, ...]:
    """What calls can point at: controls by name, then nameless things, then texts to type.

    Each reference is there once; what is first called so keeps it.
    """
    found: dict[str, Entity] = {}
    for name, node in view.controls:
        found.setdefault(name, tree.entity_of(name, node, view.beside.get(node.ref, ())))
    for each in view.unnamed[:MOST_UNNAMED]:
        where: JsonObject = {"x": each.x, "y": each.y, "w": each.width, "h": each.height}
        where |= {"colour": each.colour} if each.colour else {}
        where |= {"beside": [*each.beside]} if each.beside else {}
        found.setdefault(each.name, Entity(type="shape", reference=each.name, properties=where))
    kept = dict(list(found.items())[:MOST_ENTITIES])
    for text in texts:
        kept.setdefault(text, Entity(type="text", reference=text, properties={"said": True}))
    return tuple(kept.values())


def facts(view: View) -> JsonObject:
    """The page as facts for verifiers: what fields hold, what is ticked, chosen and said."""
    fields: list[JsonValue] = []
    ticked: list[JsonValue] = []
    chosen: list[JsonValue] = []
    for name, node in view.controls:
        kind = tree.kind_of(node)
        if kind == "field":
            fields.append({"field": name, "value": node.text})
        elif kind == "check" and node.attributes.get("checked", "false") != "false":
            ticked.append(name)
        elif kind == "choice":
            options = [
                n.name for n in node.walk() if n.role == "option" and "selected" in n.attributes
            ]
            chosen.append({"list": name, "options": list[JsonValue](options)})
    headings: list[JsonValue] = [
        node.label for node in view.root.walk() if node.role == "heading" and node.label
    ]
    said: list[JsonValue] = [
        text
        for node in view.root.walk()
        if node.role in ("alert", "status", "dialog", "alertdialog")
        and (text := node.content[:300])
    ]
    return {
        "fields": fields,
        "ticked": ticked,
        "chosen": chosen,
        "headings": headings,
        "said": said,
    }
