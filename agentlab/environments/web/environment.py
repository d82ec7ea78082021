"""Attempts in a browser: what all environments over pages have in common.

Each attempt has a browser context of its own and begins at the site's address. There is no
snapshot of a page: going back to an earlier state is a reset and the same calls again, whose
steps are counted (`replayed_steps`), so a search pays for them; where the site keeps worlds by
name, it is the last page that can be opened again and the calls since (`returning`). A site that
cannot be reset begins where it was left, which is then the attempt's start.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import tempfile
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from agentlab.environments.probing import mismatch
from agentlab.environments.web import actions, chromium, crawl, snapshot
from agentlab.environments.web.browser import BrowserEndedError, BrowserError, on_thread
from agentlab.environments.web.clues import Clues
from agentlab.environments.web.control import Control
from agentlab.environments.web.hand import Hand, Outcome, failure
from agentlab.environments.web.locating import Failed
from agentlab.environments.web.options import Options
from agentlab.environments.web.origins import AllowList, joined, origin_of
from agentlab.environments.web.recordings import read_recording
from agentlab.environments.web.returning import Place, Places
from agentlab.environments.web.snapshot import View
from agentlab.environments.web.surveying import told
from agentlab.environments.web.visit import PageLost, Visit
from agentlab.errors import ConfigError, EnvironmentFaultError, UsageError
from agentlab.types import (
    Demonstration,
    Entity,
    JsonObject,
    Observation,
    StepResult,
    Survey,
    Task,
    ToolCall,
    ToolSpec,
    task_id,
)

MOST_ADDRESS = 8_000
"""Characters of a page's address that are told; a script can make it of millions."""
MOST_FILES = 50
MOST_QUOTED = 30
_QUOTED = re.compile(r"\"([^\"\n]{1,200})\"|“([^”\n]{1,200})”|'([^'\n]{2,200})'(?!\w)")
_numbers = itertools.count(1)

Put = Callable[[bytes], str]


class Saved(NamedTuple):
    """How to come back to a state: the calls that led there."""

    key: Hashable
    calls: tuple[ToolCall, ...]
    steps: int
    place: Place | None = None
    """On the way there, the last one that can be opened again."""


class PageEnvironment:
    """Pages, seen through their accessibility tree and acted on by role and name.

    Args:
        options: of the site.
        without: tools that are not offered.
    """

    def __init__(self, options: Options, *, without: Sequence[str] = ()) -> None:
        origin = origin_of(options.url)
        if origin is None:
            raise ConfigError(
                f"web: {options.url[:120]!r} is no address of a site; write one such as "
                "'web:https://example.org'."
            )
        self.options = options
        self._allowed = AllowList((str(origin), *options.origins))
        self._episode = f"{os.getpid()}-{next(_numbers)}"
        self._control = Control(options, self._episode)
        offered = actions.tools(options.grants, files=_files(options))
        self._tools = tuple(tool for tool in offered if tool.name not in without)
        self._by_name = {tool.name: tool for tool in self._tools}
        self._visit: Visit | None = None
        self._hand: Hand | None = None
        self._view: View | None = None
        self._site: JsonObject = {}
        self._task: Task | None = None
        self._seed = 0
        self._over = False
        self._calls: tuple[ToolCall, ...] = ()
        self._places = Places(self._control)
        self._put: Put | None = None
        self._texts: tuple[str, ...] = ()
        self._things: tuple[Entity, ...] = ()
        """What the task names, where it can be told; see `types.Entity`."""
        self._clues: Clues | None = None
        self._notes: tuple[str, ...] = ()
        self.replayed_steps = 0
        """Steps that going back has taken so far."""

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """Those for a page, and what is granted."""
        return self._tools

    def use_blobs(self, put: Put) -> None:
        """Have pictures, downloads and traces kept by `put`, which gives their digests."""
        self._put = put

    def check_machine(self) -> None:
        """Return where a browser is found. See `registration.check_machine`."""
        chromium.chromium()

    # --- an episode -------------------------------------------------------------------------

    async def reset(self, task: Task, seed: int) -> Observation:
        """Begin afresh: the site's world where it can be reset, and an empty browser context.

        Raises:
            EnvironmentFaultError: the browser or the site is not there.
        """
        self._task, self._seed = task, seed
        self._texts = quoted(task.instruction)
        await self._begin(fresh=True)
        return self._observed(())

    async def _begin(self, *, fresh: bool) -> None:
        # The site makes its world while the browser makes a context; both are waited for, so
        # that what was opened is closed with this environment whichever of them fails.
        cookies, there = await asyncio.gather(
            self._made(), on_thread(self._opened(fresh=fresh)), return_exceptions=True
        )
        for failed in (cookies, there):
            if isinstance(failed, BaseException):
                raise failed
        assert isinstance(cookies, dict)
        if there is not True:
            await on_thread(self._arrived(cookies))
        self._calls, self._over = (), False
        self._places.begun()
        self._site = await self._control.state()

    async def _made(self) -> dict[str, str]:
        """Have the site's world made; the cookies by which a browser is in it."""
        assert self._task is not None
        await self._control.reset(self._task.seed, self._task.setup.get("setup"))
        return await self._control.enter()

    async def _opened(self, *, fresh: bool) -> bool:
        """Have an empty page; True where the start is there already, without opening anything."""
        visit = self._visit
        if not fresh and visit is not None and visit.plain:
            view = await self._begun_again(visit)
            if view is not None:
                self._view, self._notes = view, visit.notes()
                return True
        if visit is None or self._hand is None or not await self._as_new(visit, fresh=fresh):
            self._visit = self._hand = None
            if visit is not None:
                await visit.close()
            visit = await Visit.opened(self.options, self._allowed)
            self._visit, self._hand = visit, Hand(visit, self.options, self._allowed)
        return False

    async def _arrived(self, cookies: dict[str, str]) -> None:
        """Come to where the task begins, and look."""
        visit, hand = self._visit, self._hand
        assert visit is not None and hand is not None
        try:
            await visit.take(cookies)
            await self._arrive(visit, hand)
            self._view = await visit.ask(hand.look())
        except (Failed, PageLost, BrowserError) as error:
            why = str(failure(error)) if isinstance(error, BrowserError) else str(error)
            notes = visit.notes()
            told = f" ({'; '.join(notes)})" if notes else ""
            raise EnvironmentFaultError(
                f"web: {self.options.url[:200]} cannot be opened: {why}{told}"
            ) from error
        self._notes = visit.notes()

    async def _as_new(self, visit: Visit, *, fresh: bool) -> bool:
        """Whether the visit may be used once more, as if it had just been opened."""
        return False

    async def _begun_again(self, visit: Visit) -> View | None:
        """The start once more without opening anything; None where only a new page gives it.

        Only a site that keeps no world of its own can have one: it is asked for meanwhile.
        """
        return None

    async def _arrive(self, visit: Visit, hand: Hand) -> None:
        """Come to the page on which the task begins."""
        assert self._task is not None
        place = self._task.setup.get("url", "")
        await hand.open(joined(self.options.url, place if isinstance(place, str) else ""))
        await visit.settled()

    async def step(self, call: ToolCall) -> StepResult:
        """Carry out one call; what cannot be done is refused with a sentence."""
        if self._view is None or self._hand is None:
            raise UsageError("web: call reset() before anything else.")
        if self._over:
            return self._refused("The episode is over.")
        tool = self._by_name.get(call.tool)
        if tool is None:
            return self._refused(f"There is no tool named {call.tool[:80]!r}.")
        why = mismatch(tool.parameters, call.arguments)
        if why is not None:
            return self._refused(f"The tool {tool.name!r} does not take that: {why[:300]}.")
        if tool.name == "back" and self._places.short:
            # Only a tab that went the whole way knows what was before.
            await self._walked(self._calls)
        return await self._stepped(tool, call)

    async def _stepped(self, tool: ToolSpec, call: ToolCall) -> StepResult:
        assert self._view is not None
        before, site = self._view, self._site
        outcome, failed = await on_thread(self._done(call))
        lost = await on_thread(self._looked())
        # Only now: what a click sets off may begin a moment after the page seems at rest.
        self._site = await self._control.state()
        failed = lost or failed
        self._places.moved(before, self._view)
        changed = self._view.mark != before.mark or self._site != site
        reward, over = await on_thread(self._judged())
        self._over = over
        if failed is not None and not changed and not over:
            return self._refused(failed)
        if tool.effect != "none":
            self._calls = (*self._calls, call)
        text = outcome.text if failed is None else f"It did not go as asked: {failed}"
        observation = self._observed(outcome.images, text, outcome.files)
        return StepResult(
            observation=observation,
            reward=reward,
            terminated=over,
            steps=0 if tool.effect == "none" else 1,
        )

    async def _done(self, call: ToolCall) -> tuple[Outcome, str | None]:
        """Carry out a call, until the page is at rest; why it failed, if it did."""
        visit, hand = self._visit, self._hand
        assert visit is not None and hand is not None
        outcome = Outcome()
        try:
            outcome = await hand.do(call)
            if call.tool not in ("read", "screenshot"):
                await visit.settled()
        except (Failed, PageLost) as error:
            return outcome, str(error)
        return outcome, None

    async def _looked(self) -> str | None:
        """Look at the page; why it was lost, if it was."""
        visit, hand = self._visit, self._hand
        assert visit is not None and hand is not None
        lost = None
        for _ in range(3):
            try:
                self._view = await visit.ask(hand.look())
                if not visit.busy:
                    break
                await visit.settled()
            except PageLost as error:
                lost = str(error)
            except BrowserError as error:
                lost = str(failure(error))
                # A page that never stays is left, for one that does.
                await visit.stop()
        self._notes = visit.notes()
        return lost

    async def _judged(self) -> tuple[float, bool]:
        """Reward, and whether the episode is over; a site says nothing of that."""
        return 0.0, False

    def _refused(self, reason: str) -> StepResult:
        return StepResult(observation=self._observed(()), error=f"{reason}", steps=0)

    def _observed(
        self,
        images: tuple[bytes, ...] = (),
        text: str = "",
        files: tuple[tuple[str, bytes], ...] = (),
    ) -> Observation:
        view, visit = self._view, self._visit
        assert view is not None and visit is not None
        pages = visit.pages
        tabs = (pages.index(visit.page) + 1 if visit.page in pages else 1, len(pages))
        parts = [text] if text else []
        parts += [f"Note: {note}" for note in self._notes]
        parts.append(snapshot.shown(view, most=self.options.most_characters, tabs=tabs))
        digests = tuple(self._put(data) for data in images) if self._put is not None else ()
        if images and not digests:
            parts.insert(0, "(Nothing keeps pictures here.)")
        data: JsonObject = {"url": view.url[:MOST_ADDRESS], "title": view.title}
        if files and self._put is not None:
            data["files"] = {name: self._put(content) for name, content in files}
        self._notes = ()
        return Observation(
            text="\n".join(parts),
            entities=(*snapshot.entities(view, self._texts), *self._things),
            data=data,
            images=digests,
        )

    async def state(self) -> JsonObject:
        """What the site tells of itself, beside what the page shows, under `page`."""
        if self._view is None:
            raise UsageError("web: call reset() before anything else.")
        view = self._view
        page: JsonObject = {
            "path": urlsplit(view.url).path[:MOST_ADDRESS],
            "query": urlsplit(view.url).query[:MOST_ADDRESS],
            "title": view.title,
            **snapshot.facts(view),
        }
        return {**self._site, "page": page}

    def clues(self, calls: Sequence[ToolCall]) -> Sequence[float]:
        """What speaks for each call, by the words of the page and the task. See `HasClues`."""
        if self._clues is None or self._view is None:
            return ()
        return self._clues.costs(self._view, calls)

    # --- going back -------------------------------------------------------------------------

    async def snapshot(self) -> Saved:
        """The state, told apart by the document, its fields, the focus and plain global values."""
        if self._view is None:
            raise UsageError("web: call reset() before anything else.")
        site = repr(sorted(self._site.items(), key=lambda item: item[0]))
        assert self._visit is not None
        place = await self._places.here(self._visit, self._view, len(self._calls))
        return Saved((self._view.mark, site, self._over), self._calls, len(self._calls), place)

    async def restore(self, snapshot: object) -> Observation:
        """Return to a state of this episode: by the calls left, from a page, or from the start."""
        if not isinstance(snapshot, Saved):
            raise UsageError("web: only a snapshot of this environment can be restored.")
        if self._calls == snapshot.calls[: len(self._calls)] and not self._over:
            await self._on(snapshot.calls)
        elif snapshot.place is None or not await self._returned(snapshot.place, snapshot.calls):
            await self._walked(snapshot.calls)
        self._notes = ()
        return self._observed(())

    async def _walked(self, calls: tuple[ToolCall, ...]) -> None:
        """Begin anew and make the calls."""
        await self._begin(fresh=False)
        await self._on(calls)

    async def _on(self, calls: tuple[ToolCall, ...]) -> None:
        for call in calls[len(self._calls) :]:
            result = await self.step(call)
            self.replayed_steps += result.steps

    async def _returned(self, place: Place, calls: tuple[ToolCall, ...]) -> bool:
        """Open a page again and go on from there; whether that could be done."""
        visit, hand = self._visit, self._hand
        assert visit is not None and hand is not None
        found = await self._places.returned(visit, hand, place)
        if found is None:
            return False
        self._view, self._site = found
        self._calls, self._over = calls[: place.made], False
        await self._on(calls)
        return True

    # --- what is kept -----------------------------------------------------------------------

    async def keepsakes(self) -> dict[str, str]:
        """The last picture of the attempt, and its trace where that is asked for: digests.

        Empty where nothing keeps them.
        """
        if self._put is None or self._visit is None:
            return {}
        kept = await on_thread(self._kept())
        return {name: self._put(data) for name, data in kept.items()}

    async def _kept(self) -> dict[str, bytes]:
        visit, hand = self._visit, self._hand
        assert visit is not None and hand is not None
        kept: dict[str, bytes] = {}
        try:
            kept["last.png"] = await visit.ask(hand.picture())
            if self.options.trace:
                with tempfile.TemporaryDirectory(prefix="agentlab-web-") as folder:
                    path = Path(folder) / "trace.zip"
                    await visit.ask(visit.trace(path), seconds=30)
                    kept["trace.zip"] = path.read_bytes()
        except (BrowserError, PageLost):
            pass  # a page that is gone leaves no picture
        return kept

    def recorded(self, name: str, data: bytes) -> Demonstration:
        """The calls in a recording of playwright's. See `recordings.read_recording`."""
        found = read_recording(name, data, self._allowed, self.options.url)
        return Demonstration(name=name, calls=found.calls, left_out=found.left_out)

    @property
    def shown_only(self) -> bool:
        """Whether the state is what the page shows and nothing that the site itself tells."""
        return not self._control.has_state

    def start(self, seed: int) -> Task:
        """The first page, with nothing to reach."""
        said = "Look around."
        name = task_id("web", said, {}, seed)
        return Task(
            id=name,
            environment="web",
            instruction=said,
            setup={},
            seed=seed,
            template="look around",
        )

    async def survey(self, task: Task) -> Survey | None:
        """Look around from a task's start, within the limits of the options.

        Raises:
            EnvironmentFaultError: the browser or the site is not there.
        """
        if not self.options.crawl_pages:
            return None
        await self._control.reset(task.seed, task.setup.get("setup"))
        cookies = await self._control.enter()
        place = task.setup.get("url", "")
        start = joined(self.options.url, place if isinstance(place, str) else "")
        found = await on_thread(crawl.crawled(self.options, self._allowed, cookies, start))
        return Survey(text=told(found), data=found)

    async def close(self) -> None:
        """Close the context. Safe to call twice."""
        visit, self._visit = self._visit, None
        self._hand = None
        self._view = None
        if visit is not None:
            with contextlib.suppress(BrowserEndedError):  # and all of its pages with it
                await on_thread(visit.close())
        await self._control.drop()

    def describe(self) -> str:
        """What this environment is, for a proposer."""
        return "\n".join(
            [
                f"The web site at {self.options.url}, used as a person uses it: pages are told as "
                "their accessibility tree, and things on them are named by role and name.",
                f"Nothing beyond these origins can be reached: {self._allowed}.",
                "",
                "Tools:",
                *(f"- {tool.name}: {tool.description}" for tool in self.tools),
                "",
                "A task asks for something to be found, entered or changed on the site.",
            ]
        )


def _files(options: Options) -> tuple[str, ...]:
    if "upload" not in options.grants or not options.files:
        return ()
    folder = Path(options.files)
    if not folder.is_dir():
        raise ConfigError(f"web: there is no folder {options.files!r} of files to upload.")
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_file()))[:MOST_FILES]


def quoted(instruction: str) -> tuple[str, ...]:
    """What stands in quotation marks: what a task most often asks to be typed or named."""
    found = ["".join(groups) for groups in _QUOTED.findall(instruction)]
    return tuple(dict.fromkeys(found))[:MOST_QUOTED]
