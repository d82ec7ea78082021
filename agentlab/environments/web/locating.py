"""From what a call names to the one element that is meant, or a sentence that says why not.

Role and name come first, as the accessibility tree tells them; then a field's label, then text,
then a test id, then the description of something without a name. Each step must find one thing:
several are told, with the names that tell them apart, and never guessed among. Lives on the
browser's thread.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from difflib import get_close_matches
from typing import Literal, NamedTuple

from agentlab.environments.web import tree
from agentlab.environments.web.browser import BrowserError, ElementHandle, Locator, Page
from agentlab.environments.web.snapshot import View, pick_unnamed
from agentlab.environments.web.tree import CONTROLS, PLAIN, Node

Kind = Literal[
    "not found", "several found", "hidden", "disabled", "covered", "timed out", "navigated away",
    "refused", "not possible",
]  # fmt: skip
"""How the sentence of a call that was not carried out begins."""
_NUMBERED = re.compile(r"(?s)(.*\S) #([1-9]\d{0,3})")
_REF = re.compile(r"(f\d{1,4})*e\d{1,7}")
MOST_NEAR = 5
POLL = 0.1

Target = Locator | ElementHandle
Look = Callable[[], Awaitable[View]]


class Failed(Exception):
    """A call could not be carried out; the text is for the agent."""

    def __init__(self, kind: Kind, why: str) -> None:
        self.kind = kind
        super().__init__(f"{kind}: {why}")


class Wanted(NamedTuple):
    """What a call names."""

    name: str | None
    role: str | None = None
    ref: str | None = None
    roles: Collection[str] = ()
    """The roles that the call could use; any where empty."""
    what: str = "control"

    def __str__(self) -> str:
        if self.ref is not None:
            return f"the reference {self.ref!r}"
        name = "" if self.name is None else f" named {self.name[:120]!r}"
        return f"{self.role or self.what}{name}"


async def locate(
    page: Page, wanted: Wanted, look: Look, *, patience: float, known: View | None = None
) -> Target:
    """The one element that is meant.

    Args:
        page: the tab in front.
        wanted: what is named.
        look: gives the tree as it is now.
        patience: seconds that it may take to appear.
        known: the tree as it still is, which saves a look where it has what is meant.

    Raises:
        Failed: nothing, or more than one thing, is meant; or it is hidden.
    """
    if wanted.ref is not None:
        return await _by_ref(page, wanted.ref)
    if wanted.name is None and wanted.role is None:
        raise Failed("not possible", "name it: give its role and name, or a ref")
    if known is not None and (node := _seen(wanted, known)) is not None and node.ref:
        return page.locator(f"aria-ref={node.ref}")
    limit = time.monotonic() + patience
    while True:
        view = await look()
        found = await _tried(page, wanted, view)
        if found is not None:
            return found
        if time.monotonic() >= limit:
            raise await _missing(page, wanted, view)
        await asyncio.sleep(POLL)


async def _by_ref(page: Page, ref: str) -> Target:
    if not _REF.fullmatch(ref):
        raise Failed("not found", f"{ref[:40]!r} is no reference; they look like e12")
    target = page.locator(f"aria-ref={ref}")
    try:
        count = await target.count()
    except BrowserError:
        count = 0
    if count != 1:
        raise Failed(
            "not found", f"the reference {ref!r} is of an earlier page; look at the newest one"
        )
    return target


def _seen(wanted: Wanted, view: View) -> Node | None:
    """What is meant, where the tree tells it alone.

    Raises:
        Failed: several things are meant.
    """
    listed = dict(view.controls).get(wanted.name or "")
    if listed is not None and _has_role(listed, wanted):
        return listed
    name, number = _split(wanted.name)
    for said, which in ((wanted.name, None), (name, number)):
        nodes = _nodes(view, wanted, said)
        if nodes:
            return _chosen(nodes, wanted, which)
    return None


async def _tried(page: Page, wanted: Wanted, view: View) -> Target | None:
    node = _seen(wanted, view)
    if node is not None:
        return await _target(page, node, wanted)
    name, number = _split(wanted.name)
    if name is None:
        return None
    if any(each.name == wanted.name for each in view.unnamed):
        return await pick_unnamed(page, wanted.name or "")
    for candidates in _others(page, wanted, name):
        visible = candidates.filter(visible=True)
        count = await visible.count()
        if number is not None and 0 < number <= count:
            return visible.nth(number - 1)
        if count == 1 and number is None:
            return visible.first
        if count > 1:
            raise _several(wanted, name, count)
    return None


def _split(name: str | None) -> tuple[str | None, int | None]:
    found = _NUMBERED.fullmatch(name) if name is not None else None
    return (found[1], int(found[2])) if found else (name, None)


def _chosen(nodes: Sequence[Node], wanted: Wanted, which: int | None) -> Node:
    if which is None and len(nodes) > 1:
        raise _several(wanted, wanted.name or "", len(nodes))
    if which is not None and which > len(nodes):
        raise Failed("not found", f"there are only {len(nodes)} of that name, not {which}")
    return nodes[(which or 1) - 1]


def _several(wanted: Wanted, name: str, count: int) -> Failed:
    shown = ", ".join(repr(f"{name[:60]} #{n}") for n in range(1, min(count, 4) + 1))
    hint = f"name one of them as {shown}" if name else "say its name"
    return Failed("several found", f"{count} things fit {wanted}; {hint}")


def _nodes(view: View, wanted: Wanted, name: str | None) -> list[Node]:
    """The elements of the tree that fit, by exact name, else without regard to case."""
    fitting = [node for node in view.root.walk() if _has_role(node, wanted)]
    if name is None:
        return fitting
    said = _plain(name)
    exact = [node for node in fitting if _plain(node.label) == said]
    if not exact and wanted.role is None and said in CONTROLS:
        exact = [node for node in fitting if node.role == said and not node.label]
    return exact or [node for node in fitting if _plain(node.label).lower() == said.lower()]


def _has_role(node: Node, wanted: Wanted) -> bool:
    if wanted.role is not None:
        role = wanted.role.strip().lower()
        return node.role == role or (role == "clickable" and node.role in PLAIN and node.pointed)
    if wanted.roles:
        return node.role in wanted.roles
    return node.role in CONTROLS or node.pointed


def _plain(text: str) -> str:
    return " ".join(text.split())[: tree.MOST_NAME]


async def _target(page: Page, node: Node, wanted: Wanted) -> Target:
    if node.ref:
        return page.locator(f"aria-ref={node.ref}")
    # What is in the tree and can receive no click: an option of a closed list, say.
    role: str = node.role
    found = page.get_by_role(role, name=node.name, exact=True)  # type: ignore[arg-type]
    if await found.count() == 0:
        raise Failed("hidden", f"there is {wanted}, but nothing of it can be reached")
    return found.first


def _others(page: Page, wanted: Wanted, name: str) -> list[Locator]:
    """Where else to look for a name, in order; none where a role was asked for."""
    frames = [frame for frame in page.frames if not frame.is_detached()][:10]
    found: list[Locator] = []
    for frame in frames:
        found += [frame.get_by_label(name, exact=True), frame.get_by_placeholder(name, exact=True)]
        if wanted.role is None and not wanted.roles:
            found += [frame.get_by_text(name, exact=True), frame.get_by_title(name, exact=True)]
        if wanted.role is None:
            found.append(frame.get_by_test_id(name))
        if wanted.role is None and not wanted.roles:
            found.append(frame.get_by_text(name))
    return found


async def _missing(page: Page, wanted: Wanted, view: View) -> Failed:
    name, _ = _split(wanted.name)
    if await _is_hidden(page, wanted, name):
        return Failed("hidden", f"there is {wanted}, but it is not to be seen now")
    there = [
        (called, node)
        for called, node in view.controls
        if (not wanted.role or node.role == wanted.role)
        and (not wanted.roles or node.role in wanted.roles)
    ]
    names = [called for called, _ in there]
    near = get_close_matches(wanted.name or "", names, n=MOST_NEAR, cutoff=0.4) or names[:MOST_NEAR]
    told = ", ".join(f"{each[:60]!r}" for each in near)
    hint = f"; there are {told}" if told else "; there is nothing of that kind"
    return Failed("not found", f"there is no {wanted} here{hint}")


async def _is_hidden(page: Page, wanted: Wanted, name: str | None) -> bool:
    if name is None:
        return False
    roles = [wanted.role] if wanted.role else list(wanted.roles) or ["button", "link"]
    try:
        for role in roles:
            hidden = page.get_by_role(role, name=name, exact=True, include_hidden=True)  # type: ignore[arg-type]
            if await hidden.count():
                return True
        return not wanted.roles and await page.get_by_text(name, exact=True).count() > 0
    except BrowserError:
        return False  # it is no role that there is
