"""A real run followed in the browser: from its first round over a kill to its end, beside the
terminal, the records and the event log, which all tell the same.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from agentlab.analysis.runs import list_runs, show_run
from agentlab.environments.web.chromium import arguments, chromium
from agentlab.events import AttemptFinished, RoundFinished, SkillMoved, TaskAdmitted, TaskRejected
from agentlab.records import Records, Workspace
from agentlab.view.addresses import path_of
from tests.browser.looking import window
from tests.processes import until_ended
from tests.unit.view.serving import served

ROOT = Path(__file__).parents[2]
CONFIG = """
rounds = 4
attempts = 8
proposals = 10
tool_calls = 100
heldout = 4
heldout_tool_calls = 100
index = "exact"
[admission]
enabled = false
"""
WORDS = re.compile(r"tasks so far (\S+) proposed, (\S+) admitted")
SKILLS = re.compile(r"skills (\S+) admitted, (\S+) retired, (\S+) active")
SECONDS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium(), args=arguments())
        yield made
        made.close()


def start(workspace: Path, *words: str) -> subprocess.Popen[str]:
    """A command in a process of its own, told in lines on stderr."""
    return subprocess.Popen(
        [sys.executable, "-m", "agentlab", *words, "--workspace", str(workspace)],
        cwd=ROOT,
        env={**os.environ, "AGENTLAB_DISPLAY": "plain"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def hold_after_a_round(workspace: Path, run: subprocess.Popen[str]) -> None:
    """Stop a run as soon as its first round is on record, so that it waits there to be killed.

    However fast the machine is, a browser needs longer than the few seconds that the run takes.
    """
    with Records.open(Workspace.open(workspace)) as records:
        until = time.monotonic() + SECONDS / 1000
        while time.monotonic() < until and run.poll() is None:
            if any(records.events.of(each.run_id, RoundFinished) for each in records.runs.all()):
                os.killpg(run.pid, signal.SIGSTOP)
                return
            time.sleep(0.01)


def main_text(page: Page) -> str:
    """What is to be read, spaces apart."""
    return " ".join(page.locator("main").inner_text().split())


def line(page: Page, label: str) -> str:
    return page.locator(f"[data-line='{label}']").inner_text()


def number(page: Page, name: str) -> int:
    return int(page.locator(f"[data-count='{name}']").inner_text().replace(",", ""))


def test_a_run_is_followed_over_a_kill_to_its_end_and_all_tell_the_same(
    browser: Browser, tmp_path: Path
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(CONFIG, encoding="utf-8")
    workspace = tmp_path / "work"
    Records.open(Workspace.open(workspace)).close()
    with served(workspace) as shown, window(browser, shown.base) as early:
        page = early.page
        page.goto(shown.link)
        page.wait_for_url(f"{shown.base}/runs")
        expect(page.locator(".empty")).to_contain_text("There is no run yet")

        # A run that begins while the list is open appears in it.
        run = start(workspace, "practice", "courier", "--seed", "5", "--config", str(config))
        holding = threading.Thread(target=hold_after_a_round, args=(workspace, run))
        holding.start()
        try:
            page.locator("[data-row]").first.wait_for(timeout=SECONDS)
            page.locator("[data-row]").first.click()
            (summary,) = list_runs(workspace)
            page.wait_for_url(shown.base + path_of("overview", summary.run_id))
            expect(page.locator("h1 .status")).to_have_text("running")
            first_round = page.locator("[data-part=feed] li", has_text="Round done").first
            first_round.wait_for(timeout=SECONDS)
        finally:
            holding.join()
            os.killpg(run.pid, signal.SIGKILL)
            told = run.communicate(timeout=30)[1]
        until_ended(run.pid)

        # Whoever looks now sees that nobody works on it.
        page.reload()
        expect(page.locator("h1 .status")).to_have_text("idle")
        expect(page.locator("[data-status]")).to_contain_text("No process works on it")

        resumed = start(workspace, "resume", summary.run_id)
        told += resumed.communicate(timeout=100)[1]
        assert resumed.returncode == 0, told
        expect(page.locator("h1 .status")).to_have_text("finished", timeout=SECONDS)
        expect(page.locator("#live")).to_have_text("live")
        _settle(page)
        early.keep("live-end")
        early.clean()

        # Who comes late is told the same.
        with window(browser, shown.base) as late:
            late.enter(shown.link)
            late.page.goto(page.url)
            assert main_text(late.page) == main_text(page)
            late.clean()
        _tells_what_is_on_record(page, workspace, summary.run_id, told)
        page.goto(shown.base + path_of("attempts", summary.run_id))
        _lists_every_attempt(page, workspace, summary.run_id)
        early.clean()


def test_the_terminal_and_the_page_use_the_same_words_and_numbers(
    browser: Browser, tmp_path: Path
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.replace("heldout = 4", "heldout = 0"), encoding="utf-8")
    workspace = tmp_path / "work"
    words = ["practice", "courier", "--seed", "6", "--rounds", "1", "--config", str(config)]
    run = start(workspace, *words)
    told = run.communicate(timeout=100)[1]
    assert run.returncode == 0, told
    with served(workspace) as shown, window(browser, shown.base) as looker:
        looker.enter(shown.link)
        looker.page.wait_for_url(f"{shown.base}/runs/*")
        proposed, admitted = WORDS.findall(told)[-1]
        assert line(looker.page, "Tasks") == f"{proposed} proposed, {admitted} admitted"
        skills = SKILLS.findall(told)[-1]
        said = "{} admitted, {} retired, {} active".format(*skills)
        assert line(looker.page, "Skills") == said
        success = re.findall(r"done: success (\S+ \(.*?\))", told)[-1]
        assert line(looker.page, "Success now") == success
        figure = looker.page.locator("[data-count=success]").inner_text()
        assert "".join(figure.split()) == re.sub(r"[()\s]", "", success)
        looker.clean()


def _settle(page: Page) -> None:
    """Until the page has the last event."""
    page.wait_for_function(
        """async () => {
          const answer = await fetch(location.href);
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          return fresh.body.dataset.serial === document.body.dataset.serial;
        }"""
    )


def _tells_what_is_on_record(page: Page, workspace: Path, run_id: str, told: str) -> None:
    detail = show_run(workspace, run_id)
    with Records.open(Workspace.open(workspace)) as records:
        log = records.events.all(run_id)
        attempts = records.attempts.all(run_id, kind="practice")
    kinds = Counter(type(event) for event in log)
    verdicts = [row.success for row in attempts if row.success is not None]
    rounds = [event for event in log if isinstance(event, RoundFinished)]
    finished = [
        event for event in log
        if isinstance(event, AttemptFinished) and event.attempt_kind == "practice"
    ]  # fmt: skip
    active = sum(
        (event.after == "active") - (event.before == "active")
        for event in log
        if isinstance(event, SkillMoved)
    )

    # Attempts: page, records, log, and the report that the terminal prints.
    assert number(page, "attempts") == detail.attempts == len(verdicts)
    assert len(finished) == len(attempts) == sum(event.attempts for event in rounds) == 32
    assert f"n={len(verdicts)}" in page.locator("[data-count='success']").inner_text()
    assert sum(e.success is True for e in finished) == detail.successes == sum(verdicts)

    # Tasks and skills: page and log, and the last line that the terminal told of each.
    admitted, rejected = kinds[TaskAdmitted], kinds[TaskRejected]
    assert number(page, "proposed") == detail.tasks.proposed == admitted + rejected
    assert number(page, "admitted") == detail.tasks.admitted == admitted
    assert line(page, "Tasks") == f"{admitted + rejected:,} proposed, {admitted:,} admitted"
    assert number(page, "skills") == detail.skill_counts.admitted
    assert line(page, "Skills").endswith(f"{active} active")
    assert active == rounds[-1].active_skills == len(detail.learnt) > 0
    terminal = SKILLS.findall(told)[-1]
    assert int(terminal[2]) == active
    assert line(page, "Round") == "4 of 4" and "Round 4 of 4 done" in told
    heldout = detail.heldout
    assert heldout is not None and heldout.n == 4
    shown = page.locator("dt:text('held out, with the library') + dd").inner_text()
    assert f"{heldout.success_rate:.0%}" in shown and "n=4" in shown


def _lists_every_attempt(page: Page, workspace: Path, run_id: str) -> None:
    with Records.open(Workspace.open(workspace)) as records:
        rows = records.attempts.all(run_id)
    assert f"{len(rows)} recorded" in page.locator("[data-count=recorded]").inner_text()
    told = Counter(row.kind for row in rows)
    for kind, n in told.items():
        shown = page.locator(f"[data-kind={kind}]").inner_text()
        assert shown.startswith(f"{n};"), (kind, shown)
    listed: set[str] = set()
    while True:
        listed |= set(page.locator("[data-row]").evaluate_all("all => all.map(a => a.href)"))
        older = page.locator("a[rel=next]")
        if not older.count():
            break
        older.click()
        page.wait_for_load_state("load")
    assert {address.rpartition("/")[2] for address in listed} == {row.attempt_id for row in rows}
