"""A bounded look around a site: its pages, links, forms and lists, and what opens on them.

A crawl goes where links lead, breadth first and in the page's order, those kinds of address first
that were visited least; so the same site gives the same result, unless its limit in time strikes,
which is said. It uses the visit and the hand of an attempt, so proxy and origins hold. What is met
is data, told by `surveying`.

Nothing is sent but what reads, unless changes are allowed, and links that by their words end
something are left alone. The proxy refuses all other requests and sockets, whoever in the page
asks. Within TLS it sees nothing: there the browser stops what pages, frames and their workers
ask for, sockets of pages are closed as they open, and there are no shared workers (`still.js`).
That is enough for a site that means no harm; one that does could open a socket from a worker.
"""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urldefrag, urlsplit

from pydantic import JsonValue

from agentlab.environments.web import snapshot, tree
from agentlab.environments.web.asking import told_by
from agentlab.environments.web.browser import BrowserError, Route, WebSocketRoute
from agentlab.environments.web.hand import Hand, failure
from agentlab.environments.web.hearsay import forms_of
from agentlab.environments.web.locating import Failed
from agentlab.environments.web.options import Options
from agentlab.environments.web.origins import AllowList, joined, without_login
from agentlab.environments.web.proxy import READS
from agentlab.environments.web.scripts import script
from agentlab.environments.web.snapshot import View
from agentlab.environments.web.tree import Node
from agentlab.environments.web.visit import PageLost, Visit
from agentlab.errors import EnvironmentFaultError
from agentlab.types import JsonObject, ToolCall

MOST_STOPPED = 1_000
"""Requests that are told apart of those that were not let through."""
MOST_LINKS = 200
"""Of one page, that are followed."""
MOST_FORMS = 12
MOST_LISTS = 8
MOST_OPENED = 6
"""Things on one page that are opened, to see what is behind them."""
LEAST_IN_LIST = 3
MOST_HEADINGS = 12
MOST_WORDS = 80
"""Characters of a name or a text that is kept."""
_APART = str.maketrans("/_", "  ")
_ENDS = re.compile(
    r"(?i)\b(?:log|sign)[-_ ]?(?:out|off)\b|\b(?:delete|remove|cancel|unsubscribe|deactivate)\b"
)


class _Found(NamedTuple):
    """An address that a link leads to, and how it was come by."""

    url: str
    depth: int
    number: int
    """In the order of discovery."""


async def crawled(
    options: Options, allowed: AllowList, cookies: dict[str, str], start: str
) -> JsonObject:
    """What a crawl met, in a visit of its own; on the browser's thread alone.

    Raises:
        EnvironmentFaultError: the browser does not start, or the first page cannot be opened.
    """
    stopped: set[str] = set()

    def stop(method: str, url: str) -> None:
        if len(stopped) < MOST_STOPPED:
            stopped.add(f"{method} {_short(url)}")

    visit = await Visit.opened(options, allowed, None if options.crawl_changes else stop)
    try:
        await visit.take(cookies)
        if not options.crawl_changes and _is_secure(options):
            await visit.context.add_init_script(script("still.js"))
            await visit.context.route_web_socket(re.compile(""), _closed)
        hand = Hand(visit, options, allowed)
        return await Crawl(visit, hand, options, allowed, stopped).run(start)
    except (Failed, PageLost, BrowserError) as error:
        why = str(failure(error)) if isinstance(error, BrowserError) else str(error)
        raise EnvironmentFaultError(f"web: {start[:200]} cannot be opened: {why}") from error
    finally:
        await visit.close()


def _is_secure(options: Options) -> bool:
    """Whether anything may be reached that the proxy cannot look into."""
    return any(
        each.strip().lower().startswith("https:") for each in (options.url, *options.origins)
    )


async def _closed(socket: WebSocketRoute) -> None:
    await socket.close()


class Crawl:
    """One crawl of one visit. Lives on the browser's thread.

    Args:
        visit: with an empty tab, used by nobody else.
        hand: of that visit.
        options: of the site; `crawl_pages`, `crawl_depth`, `crawl_seconds` and `crawl_changes`
            bound it.
        allowed: where it may go.
        stopped: gets what was not let through, and may get more below the browser.
    """

    def __init__(
        self, visit: Visit, hand: Hand, options: Options, allowed: AllowList, stopped: set[str]
    ) -> None:
        self._visit = visit
        self._hand = hand
        self._options = options
        self._allowed = allowed
        self._waiting: list[_Found] = []
        self._known: set[str] = set()
        self._seen: dict[str, int] = {}
        self._stopped = stopped
        self._ends: set[str] = set()
        self._elsewhere: set[str] = set()
        self._tried: set[str] = set()
        self._too_deep = 0
        self._limit = time.monotonic() + options.crawl_seconds

    async def run(self, start: str) -> JsonObject:
        """What was met from an address on.

        Raises:
            PageLost: the first page was lost.
            Failed: the first page cannot be opened.
        """
        await self._visit.context.route("**/*", self._passed)
        pages: list[JsonValue] = []
        self._add(start, 0)
        why = ""
        while self._waiting:
            if len(pages) >= self._options.crawl_pages:
                why = f"the limit of {self._options.crawl_pages} pages was reached"
                break
            if time.monotonic() > self._limit:
                why = f"the limit of {self._options.crawl_seconds:g} s was reached"
                break
            found = self._next()
            try:
                pages.append(await self._page(found))
            except (Failed, PageLost, BrowserError) as error:
                if not pages:
                    raise
                said = str(error).splitlines()[0][:MOST_WORDS]
                pages.append({"address": _short(found.url), "depth": found.depth, "failed": said})
        await self._visit.context.unroute("**/*", self._passed)
        return {
            "start": start,
            "pages": pages,
            "ended": why,
            "not_visited": [*(_short(each.url) for each in self._waiting[:MOST_LINKS])],
            "too_deep": self._too_deep,
            "left_alone": [*sorted(self._ends)[:MOST_LINKS]],
            "elsewhere": [*sorted(self._elsewhere)[:MOST_LINKS]],
            "stopped": [*sorted(self._stopped)[:MOST_LINKS]],
        }

    async def _passed(self, route: Route) -> None:
        """Let a request through that reads, or whatever is asked where changes are allowed."""
        request = route.request
        if request.method in READS or self._options.crawl_changes:
            await route.continue_()
            return
        if len(self._stopped) < MOST_STOPPED:
            self._stopped.add(f"{request.method} {_short(request.url)}")
        await route.abort("blockedbyclient")

    def _add(self, url: str, depth: int) -> None:
        if self._allowed.refusal(url):
            host = re.match(r"[^/?#]*//([^/?#]+)", without_login(url))
            self._elsewhere.add((host[1] if host else url)[:MOST_WORDS])
            return
        url = urldefrag(url).url
        if url in self._known:
            return
        self._known.add(url)
        if depth > self._options.crawl_depth:
            self._too_deep += 1
        else:
            self._waiting.append(_Found(url, depth, len(self._known)))

    def _next(self) -> _Found:
        """The address of a kind that was visited least, the shallowest and earliest of them."""
        best = min(
            self._waiting, key=lambda each: (self._seen.get(kind(each.url), 0), each[1], each[2])
        )
        self._waiting.remove(best)
        self._seen[kind(best.url)] = self._seen.get(kind(best.url), 0) + 1
        return best

    async def _page(self, found: _Found) -> JsonObject:
        view = await self._open(found.url)
        await self._follow(view, found.depth)
        asked = told_by(self._visit.page, script("forms.js"), MOST_FORMS)
        forms, closed = forms_of(await self._visit.ask(asked), MOST_WORDS)
        page: JsonObject = {
            "address": _short(view.url),
            "title": view.title[:MOST_WORDS],
            "depth": found.depth,
            "headings": [*_headings(view)],
            "links": [*dict.fromkeys(_named(view, ("link",)))],
            "buttons": [*dict.fromkeys(_named(view, ("button",)))],
            "forms": [*forms],
            "lists": [*_lists(view)],
        }
        if page["address"] != _short(found.url):
            page["asked_for"] = _short(found.url)
        for form in asked_forms(page):
            if form.get("method") == "GET":
                says = " ".join(map(str, form["buttons"]))
                self._go(says, joined(view.url, str(form.get("leads_to"))), found.depth + 1)
        opened = await self._opened(found, view, closed)
        if opened:
            page["opens"] = [*opened]
        sent = await self._sent(found.url, view, page) if self._options.crawl_changes else []
        if sent:
            page["sends"] = [*sent]
        return page

    async def _open(self, url: str) -> View:
        await self._hand.open(url)
        await self._visit.settled()
        return await self._visit.ask(snapshot.look(self._visit.page))

    async def _follow(self, view: View, depth: int) -> None:
        links = [n for n in view.root.walk() if n.role == "link" and n.attributes.get("url")]
        for link in links[:MOST_LINKS]:
            self._go(link.label, joined(view.url, link.attributes["url"]), depth + 1)

    def _go(self, label: str, target: str, depth: int) -> None:
        """Have an address visited, unless its words or those that lead there end something."""
        if self._allowed.refusal(target) is None and _ENDS.search(
            " ".join((label, *urlsplit(target)[2:4])).translate(_APART)
        ):
            self._ends.add(f"{label[:MOST_WORDS]} -> {_short(target)}")
        else:
            self._add(target, depth)

    async def _opened(self, at: _Found, view: View, closed: list[str]) -> list[JsonObject]:
        """What is to be seen on the page once something of it is opened: a menu, a tab."""
        found: list[JsonObject] = []
        for name in list(dict.fromkeys(closed))[:MOST_OPENED]:
            if time.monotonic() > self._limit:
                break
            if _ENDS.search(name):
                self._ends.add(name[:MOST_WORDS])
                continue
            before = {called for called, _ in view.controls} | set(_headings(view))
            try:
                await self._hand.do(ToolCall(tool="click", arguments={"name": name}))
                await self._visit.settled()
                then = await self._visit.ask(snapshot.look(self._visit.page))
                shown = [*_headings(then), *(called for called, _ in then.controls)]
                new = [each for each in dict.fromkeys(shown) if each not in before]
                await self._follow(then, at.depth)
                state: JsonObject = {"control": name[:MOST_WORDS]}
                if _short(then.url) != _short(view.url):
                    state["leads_to"] = _short(then.url)
                state["shows"] = [*(each[:MOST_WORDS] for each in new[:20])]
                found.append(state)
                view = await self._open(at.url)
            except (Failed, PageLost, BrowserError):
                view = await self._open(at.url)
        return found

    async def _sent(self, url: str, view: View, page: JsonObject) -> list[JsonObject]:
        """What is said when each form that changes something is sent as it stands, once a kind."""
        found: list[JsonObject] = []
        for form in asked_forms(page):
            mark = f"{form.get('leads_to')} {[each.get('label') for each in form['fields']]}"
            if form.get("method") == "GET" or not form["buttons"] or mark in self._tried:
                continue
            self._tried.add(mark)
            button = str(form["buttons"][0])
            try:
                await self._hand.do(_click(button, "button"))
                await self._visit.settled()
                then = await self._visit.ask(snapshot.look(self._visit.page))
                said = [str(each)[:MOST_WORDS] for each in _said(then)]
                led = _short(then.url) if then.url != view.url else ""
                found.append({"button": button, "leads_to": led, "says": [*said]})
                view = await self._open(url)
            except (Failed, PageLost, BrowserError):
                view = await self._open(url)
        return found


def _click(name: str, role: str) -> ToolCall:
    return ToolCall(tool="click", arguments={"name": name, "role": role})


def _said(view: View) -> list[str]:
    """What the page says of what was done: alerts, and what stands beside fields."""
    told = snapshot.facts(view)["said"]
    return [str(each) for each in told] if isinstance(told, list) else []


def kind(url: str) -> str:
    """An address without what tells pages of one kind apart: `/product/*?q`.

    Numbers, and the last part of a path below the first level, are taken for such.
    """
    parts = urlsplit(url)
    path = [part for part in parts.path.split("/") if part]
    kept = [
        "*" if re.search(r"\d", part) or (at and at == len(path) - 1) else part
        for at, part in enumerate(path)
    ]
    names = sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)})
    return f"{parts.netloc}/{'/'.join(kept)}?{'&'.join(names)}"


def _short(url: str) -> str:
    """Path and query; what stands before them is the site's."""
    parts = urlsplit(url)
    return ((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))[:200]


def _headings(view: View) -> list[str]:
    found = [n.content[:MOST_WORDS] for n in view.root.walk() if n.role == "heading" and n.content]
    return found[:MOST_HEADINGS]


def _named(view: View, roles: tuple[str, ...]) -> list[str]:
    return [name[:MOST_WORDS] for name, node in view.controls if node.role in roles][:MOST_LINKS]


def _lists(view: View) -> list[JsonObject]:
    """Lists and tables of several things: how many, and what the first of them says."""
    found: list[JsonObject] = []
    for node in view.root.walk():
        items = _items(node)
        if len(items) < LEAST_IN_LIST:
            continue
        acts = {child.role for child in items[0].walk() if child.role in tree.CONTROLS}
        found.append(
            {
                "name": node.name[:MOST_WORDS],
                "of": len(items),
                "first": items[0].content[:MOST_WORDS],
                "acts": [*sorted(acts)],
            }
        )
    return found[:MOST_LISTS]


def _items(node: Node) -> list[Node]:
    if node.role == "list":
        return [child for child in node.children if child.role == "listitem"]
    if node.role in ("table", "grid", "rowgroup"):
        return [child for child in node.children if child.role == "row"]
    return []


def asked_forms(page: JsonObject) -> list[dict[str, Any]]:
    """The forms of a page as `forms.js` told them."""
    forms = page.get("forms")
    return [form for form in forms if isinstance(form, dict)] if isinstance(forms, list) else []
