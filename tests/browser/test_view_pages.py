"""Every page in Chromium: hostile text stays text, nothing leaves, axe finds nothing grave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from agentlab.environments.web.chromium import arguments, chromium
from agentlab.events import SkillMoved
from agentlab.library.waiting import waiting
from agentlab.records import Records, Workspace
from agentlab.view.addresses import path_of
from agentlab.view.bundle import write
from tests.browser.looking import Scheme, window
from tests.unit.view.serving import Served, served
from tests.unit.view.stories import CALLER, DIGEST, GATE, RUN, SHOWN, SKILL, WAITS, Story, tell


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium(), args=arguments())
        yield made
        made.close()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shown")


@pytest.fixture(scope="module")
def story(workspace: Path) -> Story:
    return tell(workspace)


@pytest.fixture(scope="module")
def shown(workspace: Path, story: Story) -> Iterator[Served]:
    with served(workspace) as found:
        yield found


def pages(story: Story) -> dict[str, tuple[str, bool]]:
    """Address by name, and whether hostile text must be seen there."""
    return {
        "runs": (path_of("runs"), False),
        "overview": (path_of("overview", RUN), True),
        "tasks": (path_of("tasks", RUN), True),
        "task": (path_of("task", RUN, story.hostile_task), True),
        "attempts": (path_of("attempts", RUN), True),
        "attempt": (path_of("attempt", RUN, story.hostile_attempt), True),
        "side-by-side": (
            path_of("attempt", RUN, story.hostile_attempt, beside=story.sibling),
            True,
        ),
        "skills": (path_of("skills"), True),
        "skill": (path_of("skill", "town", SKILL), True),
        "insights": (path_of("insights"), True),
        "insight": (path_of("insight", "insight-0"), True),
        "packs": (path_of("packs"), True),
        "pack": (path_of("pack", DIGEST), True),
        "outputs": (path_of("outputs"), True),
        "gate": (path_of("gate", GATE), True),
        "waiting": (path_of("waiting"), True),
        "missing": (path_of("overview", "nothing"), False),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_shows_what_is_on_record_and_nothing_else_happens(
    browser: Browser, shown: Served, story: Story, scheme: Scheme
) -> None:
    with window(browser, shown.base, scheme=scheme) as looker:
        page = looker.page
        looker.enter(shown.link)
        page.wait_for_url(f"{shown.base}/runs/{RUN}")
        for name, (path, hostile) in pages(story).items():
            answer = page.goto(shown.base + path)
            assert answer is not None
            if name == "missing":
                assert answer.status == 404
                # The browser tells of the status itself.
                looker.faults.clear()
                continue
            assert answer.status == 200, name
            text = page.locator("main").inner_text()
            assert "window.hacked" in text if hostile else True, name
            if hostile:
                assert page.locator("main script:not([type='application/json'])").count() == 0
                assert page.locator("main img:not(.shot img)").count() == 0
                squeezed = "".join((page.locator("main").text_content() or "").split())
                assert "".join(SHOWN.split())[:60] in squeezed, name
                assert "\u202e" not in squeezed
            # The second theme differs in colours alone.
            rules = () if scheme == "light" else ("color-contrast",)
            assert looker.grave(rules=rules) == [], name
            expect(page.locator("#live")).to_have_text("live")
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(wide) == 0, f"{name} is wider than the window"
            looker.keep(f"{name}-{scheme}")
            looker.clean()


def test_the_charts_are_drawn_and_say_the_same_as_their_tables(
    browser: Browser, shown: Served
) -> None:
    with window(browser, shown.base) as looker:
        looker.enter(shown.link)
        looker.page.goto(shown.base + path_of("tasks", RUN))
        assert looker.page.locator(".plot canvas").count() == 2
        drawn = looker.page.evaluate(
            "JSON.parse(document.querySelector('script[data-for=difficulty]').textContent)"
        )
        looker.page.locator(".as-table summary").first.click()
        cell = looker.page.locator(".as-table td").first.inner_text()
        (line,) = drawn["series"]
        assert line["values"][0] == 0.5 and "50%" in cell and "n=6" in cell
        assert line["low"][0] < 0.5 < line["high"][0]


def test_the_keyboard_leads_everywhere(browser: Browser, shown: Served) -> None:
    with window(browser, shown.base) as looker:
        page = looker.page
        looker.enter(shown.link)
        page.wait_for_url(f"{shown.base}/runs/{RUN}")
        for key, path in (("t", f"/runs/{RUN}/tasks"), ("s", "/skills"), ("i", "/insights"),
                          ("p", "/packs"), ("e", "/outputs"), ("w", "/waiting"), ("r", "/runs"),
                          ("a", f"/runs/{RUN}/attempts")):  # fmt: skip
            page.keyboard.press("g")
            page.keyboard.press(key)
            page.wait_for_url(shown.base + path)
        page.keyboard.press("j")
        page.keyboard.press("j")
        rows = page.locator("[data-row]")
        expect(rows.nth(1)).to_be_focused()
        page.keyboard.press("k")
        expect(rows.nth(0)).to_be_focused()
        to = rows.nth(0).get_attribute("href")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{shown.base}{to}")
        page.go_back()
        page.keyboard.press("/")
        expect(page.locator("input[type=search]")).to_be_focused()
        page.keyboard.type("j?d")  # is typed, and does nothing else
        expect(page.locator("input[type=search]")).to_have_value("j?d")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        looker.keep("help")
        page.keyboard.press("Escape")
        expect(page.locator("#help")).to_be_hidden()
        ground = "getComputedStyle(document.body).backgroundColor"
        before = page.evaluate(ground)
        page.keyboard.press("d")
        assert page.evaluate(ground) != before
        page.reload()
        assert page.evaluate(ground) != before, "the choice is kept"
        looker.clean()


def test_filters_are_in_the_address(browser: Browser, shown: Served) -> None:
    with window(browser, shown.base) as looker:
        page = looker.page
        looker.enter(shown.link)
        page.goto(shown.base + path_of("attempts", RUN))
        page.locator("select[name=outcome]").select_option("failure")
        page.locator("select[name=kind]").select_option("practice")
        page.locator("button:has-text('Filter')").click()
        page.wait_for_url("**outcome=failure**")
        assert "kind=practice" in page.url
        rows = page.locator("tbody tr")
        expect(rows).to_have_count(6)
        expect(page.locator("tbody .mark.bad")).to_have_count(6)
        again = page.url
        page.goto(shown.base + path_of("runs"))
        page.goto(again)
        expect(rows).to_have_count(6)
        assert page.locator("select[name=outcome]").input_value() == "failure"
        page.goto(shown.base + path_of("attempts", RUN, q="window.hacked"))
        assert rows.count() == 4, "the instruction is searched"
        page.goto(shown.base + path_of("attempts", RUN, q="no such thing"))
        expect(page.locator(".empty")).to_be_visible()
        looker.clean()


def test_code_differences_and_calls_of_a_skill(browser: Browser, shown: Served) -> None:
    with window(browser, shown.base) as looker:
        page = looker.page
        looker.enter(shown.link)
        page.goto(shown.base + path_of("skills"))
        expect(page.locator("svg .node")).to_have_count(2)
        assert page.locator("svg .edge title").text_content() == f"{CALLER} calls {SKILL}"
        page.locator("svg a").first.click()
        page.goto(shown.base + path_of("skill", "town", SKILL))
        assert page.locator("table.diff .d-new").count() >= 1
        assert page.locator("table.diff .d-gone").count() >= 1
        effect = page.locator("section:has(h2:text('What offering it does'))").inner_text()
        assert "change in success" in effect and "n=10" in effect
        looker.clean()


def test_a_person_rejects_and_the_reason_is_kept(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("verdict")
    told = tell(path)
    with served(path) as shown, window(browser, shown.base) as looker:
        page = looker.page
        looker.enter(shown.link)
        page.goto(shown.base + path_of("waiting"))
        expect(page.locator("nav [data-key=w]")).to_have_text("Waiting (1)")
        page.locator("input[name=reason]").fill("<b>too</b> broad")
        page.locator("input[name=by]").fill("ada")
        page.locator("button[value=reject]").click()
        page.wait_for_url(f"{shown.base}/waiting?decided={told.waiting}")
        expect(page.locator(".note.done")).to_contain_text("was rejected by ada and is retired")
        expect(page.locator("nav [data-key=w]")).to_have_text("Waiting")
        looker.clean()
        records = shown.site.records
        assert waiting(records) == []
        last = records.items.history(told.waiting)[-1]
        assert last.after == "retired" and "<b>too</b> broad" in last.reason
        assert [e.by for e in records.events.of(RUN, SkillMoved) if e.name == WAITS] == ["ada"]


def test_one_file_holds_it_all_and_asks_for_nothing(
    browser: Browser, workspace: Path, story: Story, tmp_path: Path
) -> None:
    target = tmp_path / "all.html"
    with Records.open(Workspace.open(workspace, create=False)) as records:
        told = write(records, target, most_bytes=4 << 20)
    assert target.stat().st_size == told.size < 4 << 20
    with window(browser, "") as looker:
        page = looker.page
        page.goto(target.as_uri())
        expect(page.locator("h1:visible")).to_contain_text(RUN)
        page.keyboard.press("g")
        page.keyboard.press("r")
        expect(page.locator("h1:visible")).to_have_text("Runs")
        page.locator("[data-row]:visible").click()
        expect(page.locator("h1:visible")).to_contain_text(RUN)
        expect(page.locator(".plot:visible canvas")).to_have_count(1)
        assert looker.grave() == []
        looker.keep("file-overview")
        page.keyboard.press("g")
        page.keyboard.press("a")
        page.locator("[data-row]:visible", has_text="window.hacked").first.click()
        expect(page.locator("h1:visible")).to_contain_text("window.hacked")
        picture = page.locator(".shot img:visible").first
        assert picture.evaluate("e => e.decode().then(() => e.naturalWidth)") == 320
        looker.keep("file-attempt")
        looker.clean()
        assert {url.partition(":")[0] for url in looker.asked} <= {"file", "data"}
        assert sum(url.startswith("file:") for url in looker.asked) == 1
