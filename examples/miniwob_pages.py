"""What practice is worth on MiniWoB's pages: held-out success with the library and without.

For each page: practise on its practice seeds without a language model, in a workspace of its own,
then attempt the same held-out seeds with the library and with an empty one, at equal budget. An
attempt notes what it had spent when the page was first content, so one evaluation gives every
smaller budget too. The difference is paired by seed; over all pages its interval resamples pages.
What a page came to is kept, so a run that was stopped goes on where it was. Run by `make miniwob`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import agentlab
from agentlab.errors import AgentLabError
from agentlab.graph.evaluation import ARM_SLOTS
from agentlab.records import Records, Workspace
from agentlab.statistics import Estimate, Result, bootstrap_mean, compare
from agentlab.types.report import PracticeReport

PAGES = (
    *("enter-text", "enter-password", "login-user", "enter-text-dynamic", "click-option"),
    *("choose-list", "click-checkboxes", "click-checkboxes-transfer", "focus-text-2"),
    *("enter-date", "enter-time", "click-tab-2-easy", "click-collapsible-2", "login-user-popup"),
    *("click-scroll-list", "click-menu-2", "email-inbox-delete", "email-inbox-important"),
    *("email-inbox-noscroll", "email-inbox-star-reply", "email-inbox-reply", "multi-orderings"),
    *("multi-layouts", "search-engine", "click-link", "click-button", "click-dialog-2"),
    *("click-widget", "click-color", "click-tab-2", "click-tab-2-medium", "social-media"),
    *("click-shape", "social-media-some", "navigate-tree", "click-test-2"),
)
"""Pages whose instruction says in its own words what to point at or to type, so that there is
something to generalise without a language model. Left out are those that ask for arithmetic, for
reading a table or a picture, for dragging, drawing or the right moment."""
ARMS = ("library", "empty library")
PRACTICE: dict[str, Any] = {
    "rounds": 2,
    "proposals": 8,
    "attempts": 8,
    "tool_calls": 60,
    "admission.trials": 8,
    "admission.trial_tool_calls": 60,
}
"""Small, because a page has one kind of task; a candidate is tried on the next round's tasks."""
PATIENT: dict[str, Any] = {"check_seconds": 600.0, "attempt_seconds": 1800.0}
"""On a busy machine no clock may strike: what was learnt would depend on the load."""
BUDGETS = (3, 5, 10, 20, 40)
FEW = 5
"""Calls within which a page's task can be done by one who knows how; success is told there too."""
BEGINS = re.compile(r"^\d+ pages, of which ", re.MULTILINE)
"""How the tables begin; see `tables`."""
HEADINGS = (
    *("page", "n", "with the library", "empty library", "difference"),
    *(f"within {FEW} calls, with", f"within {FEW} calls, empty", "calls, with / empty"),
    *("steps", "skills", "seconds"),
)


class Row(NamedTuple):
    """What one page came to; plain data, kept as JSON."""

    page: str
    asked: str
    """The options that it was practised and evaluated with."""
    calls: dict[str, dict[str, int | None]]
    """By arm, by task: tool calls until the page was content; None where it never was."""
    steps: float | None
    """Mean steps of the successes with the library."""
    skills: list[str]
    """Signatures of what is served after practice."""
    solved: int
    """Practice attempts that succeeded."""
    attempts: int
    seconds: float
    fault: str = ""


def main() -> None:
    """Practise and evaluate page by page, then print the tables."""
    parser = argparse.ArgumentParser(description="MiniWoB: practice and held-out success by page.")
    parser.add_argument("--pages", nargs="+", default=list(PAGES), metavar="PAGE")
    parser.add_argument("--seeds", type=int, default=20, help="held-out seeds of each page")
    parser.add_argument("--budget", type=int, default=BUDGETS[-1], help="tool calls an attempt")
    parser.add_argument("--rounds", type=int, default=PRACTICE["rounds"])
    parser.add_argument("--attempts", type=int, default=PRACTICE["attempts"], help="a round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2, help="pages at a time")
    parser.add_argument(
        "--workspace",
        default=os.environ.get("AGENTLAB_WORKSPACE", ".agentlab") + "/miniwob",
        help="keeps each page's result; take another one after a change of the code",
    )
    parser.add_argument("--json", default="", help="file for the rows")
    parser.add_argument(
        "--table", default="", help="file for the tables, in Markdown; text above them stays"
    )
    given = parser.parse_args()

    workspace = Path(given.workspace)
    workspace.mkdir(parents=True, exist_ok=True)
    practice = {
        **PRACTICE,
        "rounds": given.rounds,
        "attempts": given.attempts,
        "proposals": given.attempts,
    }
    asked = Asked(str(workspace), practice, given.seed, given.seeds, given.budget)
    rows: dict[str, Row] = {}
    waiting: list[str] = []
    for page in given.pages:
        row = kept(asked, page)
        if row is None:
            waiting.append(page)
        else:
            rows[page] = row
    # Spawned, since a page's practice has threads and processes of its own.
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        working = [pool.submit(of_page, asked, page) for page in waiting]
        for done in as_completed(working):
            row = done.result()
            rows[row.page] = row
            print(line(row, given.budget), flush=True)
    found = [rows[page] for page in given.pages]
    said = tables(found, given.budget)
    print(f"\n{said}")
    if given.table:
        keep_tables(Path(given.table), said)
    if given.json:
        data = json.dumps([row._asdict() for row in found], indent=1)
        Path(given.json).write_text(data + "\n", encoding="utf-8")


def keep_tables(path: Path, said: str) -> None:
    """Write the tables, in place of those that were there: what is written above them stays."""
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    begins = BEGINS.search(old)
    above = old[: begins.start()] if begins else f"{old.rstrip()}\n\n" if old.strip() else ""
    path.write_text(f"{above}{said}\n", encoding="utf-8")


class Asked(NamedTuple):
    """What is done on each page."""

    workspace: str
    practice: Mapping[str, Any]
    seed: int
    seeds: int
    budget: int

    @property
    def text(self) -> str:
        """As one line, which tells results of other options apart."""
        return json.dumps([dict(self.practice), self.seed, self.seeds, self.budget])

    def place(self, page: str) -> Path:
        """The page's own workspace."""
        return Path(self.workspace) / page


def kept(asked: Asked, page: str) -> Row | None:
    """What the page came to earlier, with the same options."""
    path = asked.place(page) / "row.json"
    if not path.is_file():
        return None
    row = Row(**json.loads(path.read_text(encoding="utf-8")))
    return row if row.asked == asked.text and not row.fault else None


def of_page(asked: Asked, page: str) -> Row:
    """Practise on a page and evaluate; a page that cannot be used is a row that says so."""
    place, began = asked.place(page), time.monotonic()
    try:
        practised = practise(asked, page)
        report = agentlab.evaluate(
            f"miniwob:{page}",
            workspace=place,
            tasks=asked.seeds,
            tool_calls=asked.budget,
            seed=asked.seed,
            baseline=True,
            index="exact",
            concurrency=1,
        )
    except AgentLabError as error:
        return Row(page, asked.text, {}, None, [], 0, 0, time.monotonic() - began, str(error))
    with Records.open(Workspace.open(place)) as records:
        calls = first_calls(records, report.run_id)
        tried = records.attempts.all(practised.run_id, kind="practice")
    row = Row(
        page=page,
        asked=asked.text,
        calls=calls,
        steps=report.steps,
        skills=[skill.signature for skill in practised.learnt],
        solved=sum(attempt.success is True for attempt in tried),
        attempts=len(tried),
        seconds=time.monotonic() - began,
    )
    path = place / "row.json"
    path.with_suffix(".part").write_text(json.dumps(row._asdict()), encoding="utf-8")
    path.with_suffix(".part").replace(path)
    return row


def practise(asked: Asked, page: str) -> PracticeReport:
    """The page's practice, or the rest of one that was stopped."""
    place = asked.place(page)
    with Records.open(Workspace.open(place)) as records:
        begun = [row for row in records.runs.all() if "command" not in row.config]
    if begun:
        return agentlab.resume(begun[-1].run_id, workspace=place)
    options: dict[str, Any] = {
        **asked.practice,
        **PATIENT,
        "index": "exact",
        "concurrency": 1,
        "heldout": 0,
    }
    return agentlab.practice(f"miniwob:{page}", workspace=place, seed=asked.seed, **options)


def first_calls(records: Records, run_id: str) -> dict[str, dict[str, int | None]]:
    """Tool calls until the first success, by arm and task; what has no verdict is left out."""
    specs = records.attempts.planned(run_id, 0)
    outcomes = records.trajectories.outcomes([spec.id for spec in specs])
    calls: dict[str, dict[str, int | None]] = {arm: {} for arm in ARMS}
    for spec, outcome in zip(specs, outcomes, strict=True):
        if outcome.success is not None:
            first = outcome.first_success if outcome.success else None
            spent = None if first is None else first.tool_calls
            calls[ARMS[spec.slot // ARM_SLOTS]][spec.task.id] = spent
    return calls


def results(row: Row, arm: str, budget: int) -> list[Result]:
    """The arm's attempts at a page, as they would have gone within a budget."""
    return [
        Result(task, calls is not None and calls <= budget)
        for task, calls in row.calls.get(arm, {}).items()
    ]


def line(row: Row, budget: int) -> str:
    """One page as a line of the table."""
    if row.fault:
        return f"| {row.page} | 0 | {row.fault} |" + " - |" * (len(HEADINGS) - 3)
    found = compare(*(results(row, arm, budget) for arm in ARMS))
    few = compare(*(results(row, arm, min(FEW, budget)) for arm in ARMS))
    cells = [
        row.page,
        str(found.pairs),
        percent(found.success),
        percent(found.baseline),
        signed(found.difference),
        percent(few.success),
        percent(few.baseline),
        " / ".join(spent(row, arm) for arm in ARMS),
        "-" if row.steps is None else f"{row.steps:.1f}",
        str(len(row.skills)),
        f"{row.seconds:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def spent(row: Row, arm: str) -> str:
    """Mean tool calls of the arm's successes."""
    calls = [each for each in row.calls.get(arm, {}).values() if each is not None]
    return f"{sum(calls) / len(calls):.1f}" if calls else "-"


def tables(rows: Sequence[Row], budget: int) -> str:
    """All pages, and what they come to at each budget."""
    done = [row for row in rows if not row.fault]
    solved = sum(row.solved > 0 for row in done)
    lines = [
        f"{len(done)} pages, of which practice solved some tasks on {solved}; held-out seeds, up "
        f"to {budget} tool calls an attempt",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|---" * len(HEADINGS) + "|",
        *(line(row, budget) for row in rows),
        "",
        "| tool calls | pages | with the library | empty library | difference |",
        "|---|---|---|---|---|",
    ]
    for place in sorted({*(each for each in BUDGETS if each < budget), budget}):
        lines.append("| " + " | ".join([str(place), *over_pages(done, place)]) + " |")
    return "\n".join(lines)


def over_pages(rows: Sequence[Row], budget: int) -> list[str]:
    """Rates and paired difference over pages, each page counting the same."""
    arms: list[list[list[float]]] = [[], [], []]
    for row in rows:
        pairs = [
            {each.task_id: float(each.success is True) for each in results(row, arm, budget)}
            for arm in ARMS
        ]
        both = sorted(pairs[0].keys() & pairs[1].keys())
        arms[0].append([pairs[0][task] for task in both])
        arms[1].append([pairs[1][task] for task in both])
        arms[2].append([pairs[0][task] - pairs[1][task] for task in both])
    first, second, difference = (bootstrap_mean(values, seed=0) for values in arms)
    return [str(len(rows)), percent(first), percent(second), signed(difference)]


def percent(rate: Estimate | None) -> str:
    """A rate in percent with its interval."""
    if rate is None:
        return "-"
    return f"{100 * rate.value:.0f} % ({100 * rate.low:.0f} to {100 * rate.high:.0f})"


def signed(difference: Estimate | None) -> str:
    """A difference with its interval."""
    if difference is None:
        return "-"
    return f"{difference.value:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"


if __name__ == "__main__":
    main()
