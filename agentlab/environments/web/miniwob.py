"""MiniWoB's pages: `miniwob:<task>` for one, `miniwob` for all of them.

The HTML lies in the package `miniwob` and is served on loopback, behind a name of its own, so
that no observation tells a port. Each episode is a fresh page with its random numbers seeded.
The page decides on success; the host alone reads that, and hides what the page shows of it.
After Shi et al. 2017, "World of Bits", and Liu et al. 2018, "Reinforcement Learning on Web
Interfaces Using Workflow-Guided Exploration".
"""

from __future__ import annotations

import functools
import http.server
import math
import random
import re
import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from agentlab.environments.web.browser import BrowserError, run_now
from agentlab.environments.web.clues import BLIND, LIKELY, Clues
from agentlab.environments.web.environment import PageEnvironment, quoted
from agentlab.environments.web.hand import Hand, Outcome
from agentlab.environments.web.locating import Failed
from agentlab.environments.web.miniwob_episode import AGAIN, ONCE_MORE, START, VERDICT
from agentlab.environments.web.options import Options
from agentlab.environments.web.origins import AllowList, origin_of
from agentlab.environments.web.snapshot import View
from agentlab.environments.web.visit import PageLost, Visit
from agentlab.errors import (
    EnvironmentFaultError,
    InvalidTaskError,
    MissingExtraError,
    UnknownNameError,
)
from agentlab.types import (
    JsonObject,
    Observation,
    Split,
    SplitRule,
    Task,
    ToolCall,
    derive_seed,
    task_id,
)

NAME = "miniwob"
HOST = "http://miniwob.localhost"
SPLIT_RULE = SplitRule()
"""Seeds ending in 8 are `dev`, those ending in 9 are held out; every page is in each split."""
READY_SECONDS = 10.0
TRIES = 50
_REF = re.compile(r"\[ref=((?:f\d+)?e\d+)\]")
LEAVING = ("goto", "back", "tabs")
"""Tools that would only leave the page, and with it the episode."""


@functools.cache
def folder() -> Path:
    """Where the package's pages lie; the package is not imported.

    Raises:
        MissingExtraError: it is not installed.
    """
    found = find_spec("miniwob")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("The environment 'miniwob'", "browser")
    return Path(next(iter(found.submodule_search_locations))) / "html"


@functools.cache
def pages() -> tuple[str, ...]:
    """The names of all pages, sorted."""
    return tuple(sorted(path.stem for path in (folder() / "miniwob").glob("*.html")))


class _Files(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path: object) -> str:
        """The kind of a file; all text here is UTF-8, which some pages do not say."""
        kind = super().guess_type(str(path))
        text = kind.startswith("text/") or kind.endswith("javascript")
        return f"{kind}; charset=utf-8" if text else kind

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def end_headers(self) -> None:
        """Files of an installed package do not change while it is used."""
        self.send_header("Cache-Control", "max-age=3600")
        super().end_headers()

    def list_directory(self, path: object) -> None:  # type: ignore[override]
        """No listings."""
        self.send_error(404)


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that hangs up early is no news."""


@functools.cache
def served() -> int:
    """The loopback port at which this process serves the pages."""
    server = _Server(("127.0.0.1", 0), functools.partial(_Files, directory=str(folder())))
    threading.Thread(target=server.serve_forever, name="agentlab-miniwob", daemon=True).start()
    return int(server.server_address[1])


_keeping: set[str] = set()
"""Pages that were found to keep something from one episode to the next."""
_utterances: dict[tuple[str, int], str] = {}
"""By page and seed, what this process has asked already."""


def said_by(page: str, seeds: Sequence[int]) -> list[str]:
    """What a page asks for with each of these seeds.

    Raises:
        EnvironmentFaultError: it does not begin.
    """
    ask([(page, seed) for seed in seeds])
    return [_utterances[page, seed] for seed in seeds]


def worded_by(page: str, seeds: Sequence[int]) -> list[str]:
    """What a page asks for, begun again and again without being loaded anew.

    A page that keeps something from one episode to the next may ask for another thing with a seed
    than it does when it is fresh, so this tells how it words things and not what it asks for.

    Raises:
        EnvironmentFaultError: it does not begin.
    """
    return run_now(_worded(page, list(seeds)))


async def _worded(page: str, seeds: list[int]) -> list[str]:
    options = _options()
    allowed = AllowList((str(origin_of(HOST)),))
    visit = await Visit.opened(options, allowed)
    try:
        await _start(visit, Hand(visit, options, allowed), page, seeds[0])
        said = await visit.ask(visit.page.evaluate(AGAIN, seeds))
        return [str(each) for each in cast("list[object]", said)]
    except (BrowserError, PageLost) as error:
        raise EnvironmentFaultError(
            f"miniwob: the page {page!r} does not begin again: {error}"
        ) from error
    finally:
        await visit.close()


def ask(places: Sequence[tuple[str, int]]) -> None:
    """Find out what pages ask for with seeds, where it is not known yet; disturbs no episode.

    Raises:
        EnvironmentFaultError: a page does not begin.
    """
    unknown = [place for place in places if place not in _utterances]
    if unknown:
        _utterances.update(run_now(_asked(unknown)))


async def _asked(places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
    options = _options()
    allowed = AllowList((str(origin_of(HOST)),))
    visit = await Visit.opened(options, allowed)
    hand = Hand(visit, options, allowed)
    try:
        return {(page, seed): await _start(visit, hand, page, seed) for page, seed in places}
    finally:
        await visit.close()


def _options(*, most_characters: int = 8_000, trace: bool = False) -> Options:
    return Options(
        url=f"{HOST}/miniwob/",
        aliases={HOST: served()},
        width=640,
        height=560,
        settle=0.0,
        patience=0.0,
        most_characters=most_characters,
        trace=trace,
    )


class MiniWoB(PageEnvironment):
    """MiniWoB's small web pages: `miniwob:<page>` to practise on one (extra browser).

    Args:
        page: one page's name (`click-button`), from which `tasks` then takes tasks.
        most_characters: of the page in one observation.
        trace: whether playwright's trace of each attempt is kept.

    Raises:
        UnknownNameError: there is no such page.
    """

    without_grammar = "practise on one page, as in `miniwob:click-test`"
    _first: str | None = None
    """Tells the episode's start from what came of it."""

    def __init__(
        self, *, page: str | None = None, most_characters: int = 8_000, trace: bool = False
    ) -> None:
        if page is not None and page not in pages():
            raise UnknownNameError("page of MiniWoB", page, pages())
        self._pages = (page,) if page is not None else pages()
        super().__init__(_options(most_characters=most_characters, trace=trace), without=LEAVING)

    @classmethod
    def from_argument(
        cls, argument: str, *, most_characters: int = 8_000, trace: bool = False
    ) -> MiniWoB:
        """`miniwob:click-button`: the environment with one page, which has a grammar."""
        from agentlab.environments.web.miniwob_page import MiniWoBPage

        return MiniWoBPage(page=argument, most_characters=most_characters, trace=trace)

    @property
    def split_rule(self) -> SplitRule:
        """Seeds by residue."""
        return SPLIT_RULE

    def tasks(self, split: Split, count: int, seed: int) -> Sequence[Task]:
        """Distinct tasks over this environment's pages, in turn.

        Raises:
            InvalidTaskError: a page states too few different ones.
        """
        rng = random.Random(derive_seed("miniwob tasks", self._pages, split, seed))
        chosen: list[tuple[str, int]] = []
        order = list(self._pages)
        rng.shuffle(order)
        for number in range(TRIES * count):
            if len(chosen) == count:
                break
            place = (order[number % len(order)], rng.randrange(10**9))
            if SPLIT_RULE.split_of_seed(place[1]) == split and place not in chosen:
                chosen.append(place)
        if len(chosen) < count:
            raise InvalidTaskError(f"miniwob: only {len(chosen)} of {count} tasks were found.")
        ask(chosen)
        return [page_task(page, place, _utterances[page, place], split) for page, place in chosen]

    async def _arrive(self, visit: Visit, hand: Hand) -> None:
        assert self._task is not None
        page = self._task.setup.get("page")
        if not isinstance(page, str) or page not in pages():
            raise EnvironmentFaultError(f"miniwob: a task names one of its pages, not {page!r}.")
        said = await _start(visit, hand, page, self._task.seed)
        await visit.settled()
        named = self._sayable(said)
        self._texts = tuple(named)
        self._clues = Clues(said, named)

    def _sayable(self, said: str) -> Mapping[str, Sequence[str]]:
        """What an instruction names that may have to be typed, and the words that it goes by."""
        return dict.fromkeys(quoted(said), ())

    def clues(self, calls: Sequence[ToolCall]) -> Sequence[float]:
        """As for any page; what the tree does not name can be clicked here, too.

        A text that stands in the instruction alone cannot.
        """
        told = super().clues(calls)
        if self._view is None:
            return told
        unnamed = {each.name for each in self._view.unnamed}
        shown = self._view.root.content
        costs: list[float] = []
        for call, cost in zip(calls, told, strict=False):
            name = str(call.arguments.get("name", ""))
            if call.tool == "click" and cost == math.inf:
                known = name in self._texts
                if name in unnamed:
                    cost = LIKELY if known else BLIND
                elif known and shown.count(name) > 1:
                    cost = LIKELY
            costs.append(cost)
        return costs

    async def _as_new(self, visit: Visit, *, fresh: bool) -> bool:
        # Most of the time of a new context goes into a process of its own for the page. These
        # pages leave nothing in the browser, and each is asked.
        return await visit.kept_nothing()

    async def _begun_again(self, visit: Visit) -> View | None:
        """The episode begun again in its page, if nothing of what was done there is left.

        Loading a page costs twenty times as much. Whether anything is left is told by what tells
        states apart, and by listeners, which are counted; a page that was once found to keep
        something is loaded anew from then on.
        """
        task = self._task
        hand = self._hand
        if task is None or hand is None or self._first is None:
            return None
        if task.setup.get("page") in _keeping:
            return None
        try:
            await visit.page.mouse.move(0, 0)
            same = await visit.ask(visit.page.evaluate(ONCE_MORE, task.seed))
            if same is True:
                await visit.settled()
                view = await visit.ask(hand.look())
                if view.mark == self._first:
                    return view
        except (BrowserError, PageLost):
            return None  # it went elsewhere, or is gone
        _keeping.add(str(task.setup.get("page")))
        return None

    async def reset(self, task: Task, seed: int) -> Observation:
        """Begin the page's episode for the task's seed."""
        observation = await super().reset(task, seed)
        self._first = self._view.mark if self._view is not None else None
        return observation

    def _numbered(self) -> dict[str, str]:
        """What the view shows as references, by playwright's own.

        Those go on from page to page and from episode to episode, which is no one's business.
        """
        nodes = self._view.root.walk() if self._view is not None else ()
        own = [node.ref for node in nodes if node.ref]
        return {ref: f"e{number}" for number, ref in enumerate(own, start=1)}

    def _observed(
        self,
        images: tuple[bytes, ...] = (),
        text: str = "",
        files: tuple[tuple[str, bytes], ...] = (),
    ) -> Observation:
        observation = super()._observed(images, text, files)
        numbered = self._numbered()
        shown = _REF.sub(lambda m: f"[ref={numbered.get(m[1], m[1])}]", observation.text)
        return observation.model_copy(update={"text": shown})

    async def _done(self, call: ToolCall) -> tuple[Outcome, str | None]:
        ref = call.arguments.get("ref")
        if isinstance(ref, str):
            own = {number: ref for ref, number in self._numbered().items()}
            if ref not in own:
                gone = Failed("not found", f"the reference {ref[:40]!r} is none that is shown")
                return Outcome(), str(gone)
            call = ToolCall(tool=call.tool, arguments={**call.arguments, "ref": own[ref]})
        return await super()._done(call)

    async def _judged(self) -> tuple[float, bool]:
        visit = self._visit
        assert visit is not None
        try:
            done, reward = cast("list[Any]", await visit.ask(visit.page.evaluate(VERDICT)))
        except (BrowserError, PageLost):
            return 0.0, False  # the page is gone, and with it whatever it thought
        return (float(reward), True) if done is True else (0.0, False)

    def describe(self) -> str:
        """What this environment is, for a proposer."""
        shown = ", ".join(self._pages[:40]) + (", …" if len(self._pages) > 40 else "")
        return "\n".join(
            [
                "MiniWoB: small web pages, each with one thing to do, which stands in the task.",
                f"Pages: {shown}.",
                "Pages are told as their accessibility tree; what has no name is described.",
                "",
                "Tools:",
                *(f"- {tool.name}: {tool.description}" for tool in self.tools),
            ]
        )


async def _start(visit: Visit, hand: Hand, page: str, seed: int) -> str:
    """Open a page and begin its episode; what it asks for.

    Raises:
        EnvironmentFaultError: it does not begin.
    """
    try:
        await hand.open(f"{HOST}/miniwob/{page}.html")
        await visit.page.wait_for_load_state("load", timeout=READY_SECONDS * 1000)
        handle = await visit.page.wait_for_function(
            START, arg=seed, timeout=READY_SECONDS * 1000, polling=20
        )
        said = str(await handle.json_value())
    except (Failed, BrowserError) as error:
        raise EnvironmentFaultError(
            f"miniwob: the page {page!r} does not begin: {error}"
        ) from error
    return said


def page_task(page: str, seed: int, utterance: str, split: Split) -> Task:
    """The task that a page sets with a seed."""
    setup: JsonObject = {"page": page}
    return Task(
        id=task_id(NAME, utterance, setup, seed),
        environment=NAME,
        instruction=utterance,
        setup=setup,
        seed=seed,
        template=page,
        split=split,
    )
