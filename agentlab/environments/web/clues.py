"""How well a call's words fit a task's words: the prior by which search looks at a page.

A page says in words what its controls are for, and a task says in words what is wanted; where
they meet, a person would click first. That is all that is told here, in nats: nothing is known
of the site, of what a control does or of how the task is solved, and nothing is ruled out but
what would change nothing at all. An agent with an empty library is told the same.

From the surest to the least: what is called after something that the task names; a field whose
label is the task's word for the text; the button after fields that hold what was asked; what
shares a word with the instruction; then each link and button, links of one pattern together.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import unquote_plus, urlsplit

from agentlab.environments.web import tree
from agentlab.environments.web.snapshot import View
from agentlab.environments.web.tree import Node
from agentlab.types import ToolCall

FITS, LIKELY, WEAK, BLIND = 0.0, 2.0, 4.0, 5.5
NO_NEWS = 3.0
"""More for a link that stood on the first page already, once one has left it."""
AGAIN = 4.0
"""More for a second link to the same place, and for typing over what was asked."""
_WORD = re.compile(r"[^\W_]+(?:['.-][^\W_]+)*")
_STOP = frozenset(
    "a all an and are as at be by for from have in into is it its of off on one or out set take "
    "that the then this to up use with your".split()
)
SHORTEST = 3
_MASKED = re.compile("•+")
"""What a field for a password shows."""


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[str, ...]:
    """The words of a text that say something, in one spelling: `E-mails` is `email`."""
    found = [word.lower().replace("-", "") for word in _WORD.findall(text)]
    return tuple(_stem(word) for word in found if word not in _STOP)


def _stem(word: str) -> str:
    if word.endswith(("sses", "xes", "ches", "shes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss") and len(word) > SHORTEST:
        word = word[:-1]
    for ending in ("ing", "ed", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST:
            return word[: -len(ending)]
    return word


class Clues:
    """What a task's words say about the calls that are possible on a page.

    Args:
        instruction: the task's.
        texts: what it names, in its order, each with the words that it goes by: argument and
            property, say, of which the last is the most telling.
        first: the page on which it begins.
    """

    def __init__(
        self, instruction: str, texts: Mapping[str, Sequence[str]], first: View | None = None
    ) -> None:
        self._texts = {text: tuple(words(" ".join(by))) for text, by in texts.items()}
        self._asked = frozenset(words(instruction))
        self._known = frozenset(_links(first)) if first is not None else frozenset[str]()

    def costs(self, view: View, calls: Iterable[ToolCall]) -> list[float]:
        """For each call, minus the logarithm of how much speaks for it; infinite for no change."""
        page = _Page(view, self._texts)
        return [self._cost(page, call) for call in calls]

    def _cost(self, page: _Page, call: ToolCall) -> float:
        given = call.arguments
        match call.tool:
            case "click":
                return self._click(page, str(given.get("name", "")))
            case "fill":
                return self._fill(page, str(given.get("label", "")), str(given.get("text", "")))
            case "select":
                return self._select(page, str(given.get("label", "")), str(given["option"]))
            case "check":
                return self._check(page, str(given.get("label", "")), given["checked"] is True)
            case "back":
                return BLIND + NO_NEWS
            case _:
                return BLIND

    # --- entering ---------------------------------------------------------------------------

    def _fill(self, page: _Page, label: str, text: str) -> float:
        node = page.fields.get(label)
        if node is None or node.text == text:
            return math.inf
        if (label, text) in page.open:
            return page.turn((label, text))
        score, best = page.score(label, text), page.best.get(text, 0)
        over = AGAIN if page.holds(label) else 0.0
        if score and score == best:
            return LIKELY + over
        return over + (WEAK if score or not best else WEAK + LIKELY)

    def _select(self, page: _Page, label: str, option: str) -> float:
        node = page.choices.get(label)
        options = [each for each in node.walk() if each.role == "option"] if node else []
        chosen = next((each for each in options if each.name == option), None)
        if chosen is None or "selected" in chosen.attributes:
            return math.inf
        return self._chosen(page, label, option) + math.log(1 + len(options)) / 4

    def _check(self, page: _Page, label: str, checked: bool) -> float:
        node = page.checks.get(label)
        if node is None or (node.attributes.get("checked", "false") != "false") == checked:
            return math.inf
        if not checked and node.role == "radio":
            return math.inf
        return self._chosen(page, label, label)

    def _chosen(self, page: _Page, label: str, option: str) -> float:
        """One of several that are offered: is it what the task names, and under its name?"""
        if (label, option) in page.open:
            return page.turn((label, option))
        if _named(option, self._texts):
            return LIKELY
        return LIKELY + self._blind(f"{label} {option}")

    # --- pressing ---------------------------------------------------------------------------

    def _click(self, page: _Page, name: str) -> float:
        node = page.controls.get(name)
        if node is None or node.role == "option":
            return math.inf
        if tree.kind_of(node) != "control":
            return BLIND + AGAIN  # it has a tool of its own
        link = _address(page.view, node)
        if link == "":
            return math.inf
        again = AGAIN if link is not None and page.leading[link] != name else 0.0
        early = LIKELY if page.open else 0.0
        due = early if name in page.due else math.inf
        named = _named(node.label, self._texts)
        if named:
            own = {word for text in named for word in words(text)}
            rest = [each for each in words(node.label) if each not in own]
            fits = again + LIKELY * (1 - self._share(rest))
            return min(due, fits + (early if node.role == "button" else 0.0))
        if due < math.inf:
            return due
        if link is not None and link in self._known and page.away:
            again += NO_NEWS
        cost = self._blind(node.label)
        alike = page.patterns[_pattern(link)] if link is not None and cost >= BLIND else 1
        return again + cost + math.log(alike or 1)

    def _blind(self, label: str) -> float:
        share = self._share(words(label))
        return LIKELY + (1 - share) if share else BLIND

    def _share(self, of: Sequence[str]) -> float:
        """Which part of these words the instruction has."""
        return sum(word in self._asked for word in of) / len(of) if of else 1.0


class _Page:
    """A page, sorted by what can be done with its parts."""

    def __init__(self, view: View, texts: Mapping[str, Sequence[str]]) -> None:
        self.view = view
        self._by = texts
        self.controls = dict(view.controls)
        kinds = {name: tree.kind_of(node) for name, node in view.controls}
        self.fields = {name: node for name, node in view.controls if kinds[name] == "field"}
        self.choices = {name: node for name, node in view.controls if kinds[name] == "choice"}
        self.checks = {name: node for name, node in view.controls if kinds[name] == "check"}
        labels = (*self.fields, *self.choices)
        self.best = {
            text: max((self.score(label, text) for label in labels), default=0) for text in texts
        }
        self.patterns: Counter[str] = Counter()
        self.leading: dict[str, str] = {}
        for name, node in view.controls:
            link = _address(view, node)
            if link is not None and link not in self.leading:
                self.leading[link] = name
                self.patterns[_pattern(link)] += 1
        self.away = bool(self.leading) and urlsplit(view.url).path not in ("", "/")
        self._headings = [n.content for n in view.root.walk() if n.role == "heading"]
        self.open = tuple(self._open())
        """What is still to be entered, in the page's order: where, and what."""
        self.due = frozenset(self._due())

    def score(self, label: str, text: str) -> int:
        """How well a label fits a text; more where it names what else the task names."""
        met = _meet(label, self._by.get(text, ()))
        others = any(each != text for each in _named(label, self._by))
        return 2 * met + (1 if met and others else 0)

    def turn(self, pair: tuple[str, str]) -> float:
        """A form is filled in from its top: of what is open, the first is the likeliest."""
        return FITS if self.open[0] == pair else LIKELY

    def _open(self) -> Iterable[tuple[str, str]]:
        offered = {n.name for node in self.choices.values() for n in node.walk()}
        offered |= set(self.checks)
        for name, node in self.view.controls:
            if name in self.fields and not self.holds(name):
                for text in self._by:
                    if self._fits(name, text, elsewhere=text in offered):
                        yield name, text
            elif name in self.choices and not self.holds(name):
                options = [n for n in node.walk() if n.role == "option"]
                for option in options:
                    if self._is_option(name, option.name):
                        yield name, option.name
            elif name in self.checks and name in self._by:
                if node.attributes.get("checked", "false") == "false":
                    yield name, name

    def _fits(self, label: str, text: str, *, elsewhere: bool) -> bool:
        """Whether a field is the one for a text, and the page is not about that text already."""
        score = self.score(label, text)
        if score == 0 or score < self.best[text] or any(text in each for each in self._headings):
            return False
        # Where only the kind of thing fits, what is said first of it tells the most.
        return _meet(label, self._by[text]) > 1 or (self.first(text) and not elsewhere)

    def _is_option(self, label: str, option: str) -> bool:
        if option in self._by:
            return True
        parts = words(option)
        return any(
            _meet(label, by) and text in option.split() and len(parts) <= 2
            for text, by in self._by.items()
        )

    def holds(self, label: str) -> bool:
        """Whether a field or a list holds something that the task names."""
        if label in self.fields:
            return self._entered(self.fields[label].text)
        chosen = [n.name for n in self.choices[label].walk() if "selected" in n.attributes]
        return any(self._is_option(label, each) for each in chosen)

    def _entered(self, text: str) -> bool:
        if text in self._by:
            # What the page was asked for already need not be asked again.
            return text not in unquote_plus(urlsplit(self.view.url).query)
        return _MASKED.fullmatch(text) is not None

    def _due(self) -> Iterable[str]:
        """Buttons that come next after something which holds what the task names."""
        waiting = ""
        for name, node in self.view.controls:
            if name in self.checks:
                ticked = node.attributes.get("checked", "false") != "false"
                waiting = name if ticked else waiting
            elif name in self.fields or name in self.choices:
                waiting = name if self.holds(name) else waiting
            # What speaks of a field only changes it.
            elif node.role == "button" and waiting:
                if not any(each in name for each in self.fields):
                    yield name
                    waiting = ""

    def first(self, text: str) -> bool:
        """Whether nothing else that goes by the same first word comes before this text."""
        mine = self._by[text][:1]
        return next(each for each, by in self._by.items() if by[:1] == mine) == text


def _named(label: str, texts: Iterable[str]) -> list[str]:
    """What the task names that stands in a label as a whole."""
    return [
        text
        for text in texts
        if text and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", label) is not None
    ]


def _meet(label: str, by: Sequence[str]) -> int:
    """How well a label fits what a text goes by: 2 by its own name, 1 by its thing's."""
    said = words(label)
    return sum((2 if word == by[-1] else 1) for word in set(by) if word in said)


def _links(view: View) -> Iterable[str]:
    return (link for _, node in view.controls if (link := _address(view, node)))


def _address(view: View, node: Node) -> str | None:
    """Where a link leads; empty where it stays on the page, None for what is no link."""
    link = node.attributes.get("url")
    if node.role != "link" or not link:
        return None
    here = urlsplit(view.url)
    same = link.startswith("#") or link == f"{here.path}?{here.query}".rstrip("?")
    return "" if same else link


def _pattern(link: str) -> str:
    """What links to things of one kind have in common."""
    parts = urlsplit(link)
    folder = parts.path.rpartition("/")[0]
    names = sorted(pair.partition("=")[0] for pair in parts.query.split("&"))
    return f"{folder if not parts.query else parts.path}?{','.join(names)}"
