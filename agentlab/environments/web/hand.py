"""Carries out the tools on a visit's front tab, each bounded in time and told when it fails.

Playwright waits until an element can be acted on; what it says when that never happens is turned
into one of the sentences of `locating`. Nothing is retried that may have happened already. Lives
on the browser's thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, cast

from agentlab.environments.web import tree
from agentlab.environments.web.actions import KEYS, MOST_WAIT
from agentlab.environments.web.asking import CUT, told_by, told_of
from agentlab.environments.web.browser import BrowserError, BrowserTimeout, Page, Position
from agentlab.environments.web.hearsay import clean, lines_of, numbers_of
from agentlab.environments.web.locating import Failed, Kind, Target, Wanted, locate
from agentlab.environments.web.options import Options
from agentlab.environments.web.origins import AllowList, joined, origin_of
from agentlab.environments.web.proxy import MARK, REFUSED
from agentlab.environments.web.snapshot import MOST_TEXT, View, cut, is_as_it_was, look
from agentlab.environments.web.visit import Visit
from agentlab.types import JsonObject, ToolCall

ACT_SECONDS = 3.0
"""That an element may take to become ready once it is found."""
DOWNLOAD_SECONDS = 10.0
MOST_DOWNLOAD = 20_000_000
MOST_CHOSEN = 1_000
"""Options of a list that are chosen at once."""
MOST_READ = 6 * MOST_TEXT + 2
"""Characters of a text of the page as JSON writes it, where each may take six."""
_SAYS: tuple[tuple[str, Kind, str], ...] = (
    ("intercepts pointer events", "covered", "something else lies over it"),
    ("element is not enabled", "disabled", "it cannot be used now"),
    ("not editable", "disabled", "its text cannot be changed"),
    ("readonly", "disabled", "its text cannot be changed"),
    ("element is not visible", "hidden", "it is not to be seen"),
    ("outside of the viewport", "hidden", "it lies where it cannot be reached"),
    ("did not find some options", "not found", "the list has no such option"),
    ("element is not a <select>", "not possible", "it is no list of options; use click"),
    ("not an <input>", "not possible", "no text can be put into it; use click or press"),
    ("cannot be filled", "not possible", "it takes no text of that kind"),
    ("malformed value", "not possible", "it takes no text of that form"),
    ("not a checkbox", "not possible", "it cannot be ticked; use click"),
    ("did not change its state", "not possible", "clicking did not change it"),
    ("not an htmlinputelement", "not possible", "it takes no file"),
    ("not attached", "navigated away", "it went away meanwhile"),
    ("detached", "navigated away", "it went away meanwhile"),
    ("context was destroyed", "navigated away", "the page went elsewhere meanwhile"),
    ("err_too_many_redirects", "not possible", "the address leads in circles"),
    ("err_tunnel_connection_failed", "refused", "what lies there may not be reached from here"),
    ("err_blocked", "refused", "what lies there may not be reached from here"),
    ("err_cert", "refused", "its certificate is not trusted (see the option own_certificates)"),
    ("err_aborted", "not possible", "it leads to no page: a download, or nothing"),
    ("err_", "not possible", "the page could not be loaded"),
)
"""What playwright says, and how it is told here."""


class Outcome(NamedTuple):
    """What a call said, beside what is to be seen now."""

    text: str = ""
    images: tuple[bytes, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()


class Hand:
    """Acts on the pages of one visit.

    Args:
        visit: the attempt's tabs.
        options: of the site.
        allowed: where it may go.
        keep: keeps a file that was downloaded.
    """

    def __init__(self, visit: Visit, options: Options, allowed: AllowList) -> None:
        self._visit = visit
        self._options = options
        self._allowed = allowed
        self._seen: tuple[Page, View] | None = None
        """The tab and what it showed, where nothing was done since."""
        self._acts: dict[str, Callable[[JsonObject], Awaitable[Outcome]]] = {
            "goto": self._goto,
            "click": self._click,
            "fill": self._fill,
            "select": self._select,
            "check": self._check,
            "press": self._press,
            "hover": self._hover,
            "scroll": self._scroll,
            "back": self._back,
            "wait_for": self._wait,
            "read": self._read,
            "tabs": self._tabs,
            "screenshot": self._screenshot,
            "upload": self._upload,
            "download": self._download,
        }

    async def do(self, call: ToolCall) -> Outcome:
        """Carry out one call.

        Raises:
            Failed: it could not be carried out, and why.
            PageLost: the page was lost over it.
        """
        seconds = self._options.seconds + MOST_WAIT + DOWNLOAD_SECONDS
        try:
            return await self._visit.ask(self._acts[call.tool](call.arguments), seconds=seconds)
        except BrowserError as error:
            raise failure(error) from error

    @property
    def _page(self) -> Page:
        return self._visit.page

    async def _look(self) -> View:
        return await look(self._page, mark=False)

    async def look(self) -> View:
        """The page now, of which what is named next is found without another look.

        Raises:
            BrowserError: it went elsewhere each time it was looked at.
        """
        page = self._page
        self._seen = None
        view = await look(page)
        self._seen = (page, view)
        return view

    async def _find(self, wanted: Wanted) -> Target:
        known = None
        if self._seen is not None and self._seen[0] is self._page:
            view = self._seen[1]
            known = view if await is_as_it_was(self._page, view) else None
        self._seen = None  # another look gives other references
        return await locate(
            self._page, wanted, self._look, patience=self._options.patience, known=known
        )

    # --- going ------------------------------------------------------------------------------

    async def open(self, url: str, *, referrer: str | None = None) -> None:
        """Go to an address, as if from another where one is given.

        Raises:
            Failed: it may not be opened, or is not answered.
        """
        if why := self._allowed.refusal(url):
            raise Failed("refused", why)
        try:
            answer = await self._page.goto(
                url,
                wait_until="domcontentloaded",
                timeout=self._options.seconds * 1000,
                referer=referrer or None,
            )
        except BrowserTimeout as error:
            await self._visit.stop_loading()
            raise Failed(
                "timed out", f"the page did not load within {self._options.seconds:g} s"
            ) from error
        said = answer.headers.get(MARK) if answer is not None else None
        if said is not None:
            why = "it leads to an origin that is not allowed here"
            raise Failed(
                "refused" if said == REFUSED[:3] else "not possible",
                why if said == REFUSED[:3] else "nobody answers there",
            )

    async def _goto(self, given: JsonObject) -> Outcome:
        url = str(given["url"]).strip()
        current = self._page.url
        # What is left of an origin that may not be reached is no place to start from.
        base = current if self._allowed.allows(origin_of(current)) else self._options.url
        await self.open(joined(base, url) if "://" not in url.split("?")[0] else url)
        return Outcome()

    async def _back(self, given: JsonObject) -> Outcome:
        # Asked first: going to the empty page before the first one could not be undone.
        before = await self._visit.page_before()
        if before is None or self._allowed.refusal(before) or before == "about:blank":
            raise Failed("not possible", "there is no page to go back to")
        await self._page.go_back(
            wait_until="domcontentloaded", timeout=self._options.seconds * 1000
        )
        return Outcome()

    # --- acting -----------------------------------------------------------------------------

    async def _click(self, given: JsonObject) -> Outcome:
        target = await self._find(_named(given))
        # Where its middle is covered, a person would click what is to be seen of it.
        free = numbers_of(await told_of(target, _FREE), 2)
        place: Position | None = {"x": free[0], "y": free[1]} if len(free) == 2 else None
        await target.click(timeout=ACT_SECONDS * 1000, position=place)
        return Outcome()

    async def _hover(self, given: JsonObject) -> Outcome:
        target = await self._find(_named(given))
        await target.hover(timeout=ACT_SECONDS * 1000)
        return Outcome()

    async def _fill(self, given: JsonObject) -> Outcome:
        wanted = _labelled(given, tree.FIELDS | {"combobox"}, "field")
        target = await self._find(wanted)
        await target.fill(str(given["text"]), timeout=ACT_SECONDS * 1000)
        return Outcome()

    async def _select(self, given: JsonObject) -> Outcome:
        option = str(given["option"])
        wanted = _labelled(given, tree.CHOICES, "list")
        if wanted.name is None and wanted.ref is None:
            wanted = wanted._replace(name=_offering(await self._look(), option))
        target = await self._find(wanted)
        for how in ("label", "value"):
            answer = await told_of(target, _CHOSEN, {"how": how, "option": option})
            if answer is None:
                raise Failed("not possible", "it is no list of options; use click")
            chosen = [int(each) for each in numbers_of(answer, MOST_CHOSEN)]
            if chosen:
                await target.select_option(index=chosen, timeout=ACT_SECONDS * 1000)
                return Outcome()
        told = ", ".join(repr(each) for each in lines_of(await told_of(target, _OPTIONS), 20, 60))
        raise Failed("not found", f"the list has no option {option[:80]!r}; it has {told}")

    async def _check(self, given: JsonObject) -> Outcome:
        target = await self._find(_labelled(given, tree.CHECKS, "checkbox"))
        wanted = given["checked"] is True
        await target.set_checked(wanted, timeout=ACT_SECONDS * 1000)
        return Outcome()

    async def _press(self, given: JsonObject) -> Outcome:
        key = str(given["key"])
        if key not in KEYS:
            raise Failed("refused", f"{key[:40]!r} is none of the keys {', '.join(KEYS)}")
        await self._page.keyboard.press(key)
        return Outcome()

    async def _scroll(self, given: JsonObject) -> Outcome:
        moved = await told_by(self._page, _SCROLL, str(given["direction"]))
        if moved is not True:
            raise Failed("not possible", f"nothing here can be scrolled {given['direction']}")
        return Outcome()

    async def _wait(self, given: JsonObject) -> Outcome:
        text, seconds = str(given["text"]), given.get("seconds", 5)
        limit = min(max(float(cast("float", seconds)), 0.05), MOST_WAIT)
        try:
            await (
                self._page.get_by_text(text)
                .filter(visible=True)
                .first.wait_for(timeout=limit * 1000)
            )
        except BrowserTimeout as error:
            raise Failed("timed out", f"{text[:120]!r} did not appear in {limit:g} s") from error
        return Outcome()

    # --- looking ----------------------------------------------------------------------------

    async def _read(self, given: JsonObject) -> Outcome:
        start = int(cast("int", given.get("start", 0)))
        if given.get("name") is None and given.get("role") is None:
            text = await told_by(self._page, _TEXT, MOST_TEXT, most=MOST_READ)
        else:
            target = await self._find(_named(given))
            text = await told_of(target, _INNER, MOST_TEXT, most=MOST_READ)
        if not isinstance(text, str):
            raise Failed("not possible", "what is there cannot be read as a text")
        said = clean(text[:MOST_TEXT])
        if start >= len(said) > 0:
            raise Failed("not found", f"the text has only {len(said):,} characters")
        return Outcome(told_by_page(cut(said, self._options.most_characters, start=start)))

    async def _tabs(self, given: JsonObject) -> Outcome:
        number = given.get("number")
        if isinstance(number, int):
            done = (
                await self._visit.shut(number)
                if given.get("close") == "yes"
                else self._visit.show(number)
            )
            if not done:
                raise Failed("not found", f"there is no tab {number}")
        shown = self._visit.page
        return Outcome(
            "\n".join(
                f"{'>' if page is shown else ' '} tab {index}: {page.url[:200]}"
                for index, page in enumerate(self._visit.pages, start=1)
            )
        )

    async def _screenshot(self, given: JsonObject) -> Outcome:
        return Outcome("A picture was taken.", images=(await self.picture(),))

    async def picture(self) -> bytes:
        """What is to be seen now, as PNG."""
        # Hiding the caret or animations would leave marks in the document.
        return await self._page.screenshot(timeout=5_000, animations="allow", caret="initial")

    # --- files ------------------------------------------------------------------------------

    async def _upload(self, given: JsonObject) -> Outcome:
        path = self._file(str(given["file"]))
        target = await self._find(_labelled(given, ("button", "textbox"), "field for a file"))
        await target.set_input_files(path, timeout=ACT_SECONDS * 1000)
        return Outcome(f"The file {path.name!r} was given.")

    def _file(self, name: str) -> Path:
        folder = Path(self._options.files).resolve()
        try:
            path = (folder / name).resolve()
            there = folder in path.parents and path.is_file()
        except (OSError, ValueError):  # what no file can be called
            there, path = False, folder
        if not self._options.files or not there:
            raise Failed("refused", f"there is no file {name[:80]!r} to upload")
        return path

    async def _download(self, given: JsonObject) -> Outcome:
        target = await self._find(_named(given))
        try:
            with self._visit.taking_a_download():
                async with self._page.expect_download(timeout=DOWNLOAD_SECONDS * 1000) as coming:
                    await target.click(timeout=ACT_SECONDS * 1000)
            download = await coming.value
            path = await download.path()
        except BrowserTimeout as error:
            raise Failed("timed out", f"no download came within {DOWNLOAD_SECONDS:g} s") from error
        size = path.stat().st_size
        if size > MOST_DOWNLOAD:
            await download.delete()
            raise Failed("refused", f"the file has {size:,} bytes; at most {MOST_DOWNLOAD:,} are")
        data, name = path.read_bytes(), download.suggested_filename[:80]
        await download.delete()
        mark = hashlib.sha256(data).hexdigest()
        return Outcome(
            f"{name!r} came: {len(data):,} bytes, SHA-256 {mark}.", files=((name, data),)
        )


def told_by_page(text: str) -> str:
    """The words of a page, each line marked, so that none can pass for a line of ours."""
    return "\n".join(f"| {each}" for each in text.splitlines()) or "(no text)"


def _named(given: JsonObject) -> Wanted:
    return Wanted(_text(given, "name"), _text(given, "role"), _text(given, "ref"))


def _labelled(given: JsonObject, roles: frozenset[str] | tuple[str, ...], what: str) -> Wanted:
    wanted = Wanted(_text(given, "label"), None, _text(given, "ref"), roles, what)
    if wanted.name is None and wanted.ref is None:
        # The only one needs no name; where there are several, that is said.
        return wanted._replace(name=what if what in tree.CONTROLS else None, role=None)
    return wanted


def _offering(view: View, option: str) -> str:
    """The one list that has an option.

    Raises:
        Failed: none has it, or several have.
    """
    lists = [(name, node) for name, node in view.controls if node.role in tree.CHOICES]
    found = [name for name, node in lists if any(n.name == option for n in node.walk())]
    if len(found) == 1:
        return found[0]
    named = ", ".join(repr(name) for name in found[:4])
    why = f"{len(found)} lists have the option {option[:80]!r}: {named}"
    raise Failed(
        "several found" if found else "not found",
        why if found else f"no list here has the option {option[:80]!r}",
    )


def _text(given: JsonObject, name: str) -> str | None:
    value = given.get(name)
    return str(value) if value is not None and value != "" else None


def failure(error: BrowserError) -> Failed:
    """What playwright says, as a sentence for the agent."""
    said = str(error).lower()
    for words, kind, why in _SAYS:
        if words in said:
            return Failed(kind, why)
    if isinstance(error, BrowserTimeout):
        return Failed("timed out", f"it was not ready within {ACT_SECONDS:g} s")
    first = str(error).splitlines()[0] if str(error) else "no reason given"
    return Failed("not possible", first.partition(": ")[2][:200] or first[:200])


_FREE = """(element) => {
  const box = element.getBoundingClientRect();
  const hit = (x, y) => {
    const top = document.elementFromPoint(box.x + x, box.y + y);
    return top && (element.contains(top) || top.contains(element) && top.tagName === "LABEL");
  };
  if (!document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)) return null;
  if (hit(box.width / 2, box.height / 2)) return null;
  for (const down of [0.5, 0.25, 0.75, 0.1, 0.9])
    for (const along of [0.5, 0.25, 0.75, 0.1, 0.9])
      if (hit(box.width * along, box.height * down)) return [box.width * along, box.height * down];
  return null;
}"""
_CHOSEN = """(list, { how, option }) => {
  if (!(list instanceof HTMLSelectElement)) return null;
  const plain = (text) => text.replace(/\\s+/g, " ").trim();
  const named = (o) => plain(how === "label" ? o.label : o.value) === option;
  const found = [...list.options].find(named);
  if (!found) return [];
  // Where several may be chosen, those that are stay so.
  return list.multiple ? [...list.selectedOptions, found].map((o) => o.index) : [found.index];
}"""
_OPTIONS = "(list) => [...list.options].slice(0, 20).map((o) => o.label.trim().slice(0, 60))"
_INNER = f"""(e, most) => e.type === "password" && e.value ? "••••••••"
  : ({CUT})(e.innerText || (typeof e.value === "number" ? `${{e.value}}` : e.value), most)"""
_TEXT = f"(most) => ({CUT})(document.body ? document.body.innerText : '', most)"
_SCROLL = """(direction) => {
  const [x, y] = { down: [0, 1], up: [0, -1], right: [1, 0], left: [-1, 0] }[direction];
  const tried = [];
  let element = document.elementFromPoint(innerWidth / 2, innerHeight / 2);
  for (; element; element = element.parentElement) tried.push(element);
  tried.push(document.scrollingElement);
  for (const each of document.querySelectorAll("body *")) {
    if (tried.length > 400) break;
    const style = getComputedStyle(each);
    if (/(auto|scroll)/.test(style.overflowY + style.overflowX)) tried.push(each);
  }
  for (const each of tried) {
    if (!each) continue;
    const before = [each.scrollLeft, each.scrollTop];
    each.scrollBy({ left: x * each.clientWidth * 0.8, top: y * each.clientHeight * 0.8,
                    behavior: "instant" });
    if (each.scrollLeft !== before[0] || each.scrollTop !== before[1]) return true;
  }
  return false;
}"""
