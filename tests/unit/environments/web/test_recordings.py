"""Recordings read as calls: scripts in two languages, as codegen writes them."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from agentlab.environments.web.origins import AllowList
from agentlab.environments.web.recordings import Recording, read_recording
from agentlab.errors import ConfigError
from agentlab.types import ToolCall

URL = "http://shop.test/"
PYTHON = """import re
from playwright.sync_api import Playwright, sync_playwright, expect


def run(playwright: Playwright) -> None:
    browser = playwright.chromium.launch(headless=False)
    context = browser.new_context()
    page = context.new_page()
    page.goto("http://shop.test/")
    page.get_by_role("searchbox", name="Search products").click()
    page.get_by_role("searchbox", name="Search products").fill("Red \\"Lamp\\"")
    page.get_by_role("searchbox", name="Search products").press("Enter")
    page.get_by_role("link", name="Lamp", exact=True).nth(1).click()
    page.get_by_label("Size").select_option("Large")
    page.get_by_label("Gift").check()
    page.locator("#buy").click()
    expect(page.get_by_text("Done")).to_be_visible()
    page.goto("http://elsewhere.test/x")
    page.close()

    # ---------------------
    context.close()
"""
JAVASCRIPT = """import { test, expect } from '@playwright/test';

test('test', async ({ page }) => {
  await page.goto('http://shop.test/');
  await page.getByRole('searchbox', { name: 'Search products' }).click();
  await page.getByRole('searchbox', { name: 'Search products' }).fill('Red "Lamp"');
  await page.getByRole('searchbox', { name: 'Search products' }).press('Enter');
  await page.getByRole('link', { name: 'Lamp', exact: true }).nth(1).click();
  await page.getByLabel('Size').selectOption('Large');
  await page.getByLabel('Gift').check();
  await page.locator('#buy').click();
  await expect(page.getByText('Done')).toBeVisible();
  await page.goto('http://elsewhere.test/x');
});
"""


def read(text: str) -> Recording:
    return read_recording("shown", text.encode(), AllowList(("http://shop.test",)), URL)


def call(tool: str, **arguments: str | bool) -> ToolCall:
    return ToolCall(tool=tool, arguments={**arguments})


@pytest.mark.parametrize("script", [PYTHON, JAVASCRIPT], ids=["python", "javascript"])
def test_a_script_is_read_as_calls_and_what_is_left_out_is_told(script: str) -> None:
    found = read(script)
    assert found.calls == (
        call("click", name="Search products", role="searchbox"),
        call("fill", label="Search products", text='Red "Lamp"'),
        call("press", key="Enter"),
        call("click", name="Lamp #2", role="link"),
        call("select", label="Size", option="Large"),
        call("check", label="Gift", checked=True),
    )
    assert len(found.left_out) == 2
    assert "not named by one role and name" in found.left_out[0]
    assert "goto 'http://elsewhere.test/x'" in found.left_out[1]


def test_a_script_is_never_run(tmp_path: object) -> None:
    script = f'import pathlib\npathlib.Path({str(tmp_path)!r} + "/x").touch()\n{PYTHON}'
    assert read(script).calls == read(PYTHON).calls
    import pathlib

    assert not list(pathlib.Path(str(tmp_path)).iterdir())


def test_a_page_within_the_site_is_named_by_its_path() -> None:
    assert read('page.goto("http://shop.test/cart?x=1")').calls == (call("goto", url="/cart?x=1"),)


@pytest.mark.parametrize(
    "text",
    ["", "hello", "page.locator('x').click()", "PK nothing of a zip", "await page.goto(`${base}`)"],
)
def test_what_holds_no_call_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="recording 'shown'"):
        read(text)


def test_a_password_that_was_typed_is_not_kept() -> None:
    found = read(
        'page.get_by_label("E-mail").fill("ann@example.test")\n'
        'page.get_by_label("Your password").fill("hunter2")\n'
        'page.get_by_role("textbox", name="PIN").press_sequentially("1234")\n'
    )
    assert found.calls == (call("fill", label="E-mail", text="ann@example.test"),)
    assert len(found.left_out) == 2 and "with the option login" in found.left_out[0]
    assert "hunter2" not in str(found) and "1234" not in str(found)


POPUP = """def run(playwright):
    page.goto("http://shop.test/")
    page.get_by_role("link", name="One").click()
    with page.expect_popup() as page1_info:
        page.get_by_role("link", name="Terms").click()
    page1 = page1_info.value
    page1.get_by_role("button", name="Agree").click()
    page1.close()
    page.get_by_role("button", name="Go on").click()
    page.close()
"""
POPUP_JAVASCRIPT = """
  await page.getByRole('link', { name: 'One' }).click();
  const page1Promise = page.waitForEvent('popup');
  await page.getByRole('link', { name: 'Terms' }).click();
  const page1 = await page1Promise;
  await page1.getByRole('button', { name: 'Agree' }).click();
  await page1.close();
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.close();
"""


@pytest.mark.parametrize("script", [POPUP, POPUP_JAVASCRIPT], ids=["python", "javascript"])
def test_what_opens_a_tab_comes_before_what_is_done_in_it(script: str) -> None:
    assert read(script).calls == (
        call("click", name="One", role="link"),
        call("click", name="Terms", role="link"),
        ToolCall(tool="tabs", arguments={"number": 2}),
        call("click", name="Agree", role="button"),
        ToolCall(tool="tabs", arguments={"number": 2, "close": "yes"}),
        call("click", name="Go on", role="button"),
    )


@pytest.mark.parametrize(
    "line",
    [
        'page.get_by_label("Size").select_option(["S", "L"])',
        "const x = 1;\nawait page.getByLabel('Size').selectOption(['S', 'L']);",
        'page.get_by_label("Name").fill(os.environ["NAME"])',
        "const x = 1;\nawait page.getByLabel('Name').fill(process.env.NAME);",
    ],
)
def test_what_is_typed_or_chosen_is_never_made_up(line: str) -> None:
    found = read(f"{line}\npage.{'goBack' if 'await' in line else 'go_back'}()")
    assert found.calls == (call("back"),)
    assert "does not spell out" in found.left_out[0]


def test_an_option_alone_in_a_list_is_that_option() -> None:
    found = read('page.get_by_label("Size").select_option(["L"])')
    assert found.calls == (call("select", label="Size", option="L"),)


LINK = "page.get_by_role('link', name='A').click()\n"
NINES = "9" * 5_000


@pytest.mark.parametrize(
    "text",
    [
        "page.goto('http://[')",
        "page.goto('http://ann:hunter2@shop.test/')",
        "page.get_by_label('Size').select_option(['S', 'M'])",
        "page.get_by_label('Name').fill(name)",
        "page.get_by_role('link', name='\\ud800').click()",
        f"await page.getByRole('link', {{ name: 'A' }}).nth({NINES}).click();",
    ],
)
def test_what_is_no_call_is_left_out_and_told(text: str) -> None:
    script = LINK + text
    if "await" in text:
        script = script.replace("get_by_role('link', name='A')", "getByRole('link', {name: 'A'})")
    found = read(script)
    assert found.calls == (call("click", name="A", role="link"),)
    assert len(found.left_out) == 1 and "hunter2" not in str(found)


@pytest.mark.parametrize("text", ["-" * 100_000 + "1", "not " * 50_000 + "1", "(" * 100_000])
def test_a_script_made_to_break_its_reader_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="recording 'shown'"):
        read(text)


def trace(*lines: str) -> bytes:
    """A trace zip of these lines."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.trace", "\n".join(lines))
    return made.getvalue()


def event(selector: str) -> str:
    """A click in a trace."""
    action = {"type": "before", "method": "click", "params": {"selector": selector}}
    return json.dumps(action)


def test_a_hostile_trace_is_read_as_far_as_it_is_one() -> None:
    data = trace(
        "[" * 200_000,
        event('internal:role=link[name="\\x"i]'),
        event('internal:label="\\x"i'),
        event(f'internal:role=link[name="A"i] >> nth={NINES}'),
        event('internal:role=link[name="A"i]'),
    )
    found = read_recording("shown", data, AllowList([URL]), URL)
    assert found.calls == (call("click", name="A", role="link"),) and len(found.left_out) == 3


def test_a_trace_whose_content_is_broken_is_refused() -> None:
    data = bytearray(trace(*[event('internal:role=link[name="A"i]')] * 50))
    start = data.find(b"0.trace") + 7
    data[start : start + 12] = bytes(each ^ 0xFF for each in data[start : start + 12])
    with pytest.raises(ConfigError, match="no whole zip"):
        read_recording("shown", bytes(data), AllowList([URL]), URL)
