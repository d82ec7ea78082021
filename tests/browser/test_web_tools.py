"""Each tool on a page of ours: what it does, and the sentence where it cannot."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import pytest

from agentlab.environments.registration import make_environment
from agentlab.environments.web import snapshot, visit
from agentlab.environments.web.browser import Page
from agentlab.errors import ConfigError, EnvironmentFaultError
from agentlab.types import EnvironmentRef, JsonObject
from tests.browser.opened_site import OpenedSite, task_of
from tests.browser.sites import Reply, Site

FORM = """
<h1>Order</h1>
<form onsubmit="document.querySelector('output').textContent='sent'; return false">
  <label>Name <input name=name></label>
  <label>Secret <input type=password></label>
  <label><input type=checkbox name=gift> Gift</label>
  <label>Size <select><option>small</option><option>large</option></select></label>
  <button>Send</button> <button disabled>Later</button>
</form>
<output role=status></output>
<button>Twin</button><button>Twin</button>
<a href="/next">Next page</a>
<div style="display:none"><button>Ghost</button></div>
<span data-testid="total">12 EUR</span>
<div style="position:relative"><button>Under</button>
  <div style="position:absolute;inset:0;background:#fff">Over</div></div>
<svg width=40 height=20><circle r=5 cx=9 cy=9 fill=red></circle></svg>
<script>document.querySelector('circle').addEventListener('click',
  () => { document.title = 'circled'; });</script>
"""


@pytest.fixture
def form(site: Site) -> Site:
    site.page("/", FORM)
    site.page("/next", "<h1>Next</h1><p>There is more.</p>" + "<p>line</p>" * 400)
    return site


def test_an_observation_tells_tree_address_and_what_has_no_name(form: Site) -> None:
    with OpenedSite(form.url, task_of('Enter "Ann Lee" and send it.')) as opened:
        text = opened.first.text
        assert f"URL: {form.url}/" in text
        assert '- heading "Order"' in text
        assert '- textbox "Name" [ref=e' in text
        assert '- "circle fill=red" at ' in text
        assert "Ghost" not in text
        kinds = {entity.reference: entity.type for entity in opened.first.entities}
        assert kinds["Name"] == "field"
        assert kinds["Gift"] == "check"
        assert kinds["Size"] == "choice"
        assert kinds["Twin #2"] == "control"
        assert kinds["circle fill=red"] == "shape"
        assert kinds["Ann Lee"] == "text"
        assert opened.first.data["url"] == f"{form.url}/"


def test_of_a_list_of_several_those_that_are_chosen_stay_so(site: Site) -> None:
    names = "".join(f"<option>{name}</option>" for name in ("red", "green", "blue"))
    site.page("/", f"<label>Colours <select multiple>{names}</select></label>")
    with OpenedSite(site.url) as opened:
        for option in ("red", "blue"):
            opened.done("select", label="Colours", option=option)
        chosen = opened.page()["chosen"]
        assert chosen == [{"list": "Colours", "options": ["red", "blue"]}]


def test_a_cookie_that_no_browser_takes_is_a_fault_of_the_site(site: Site) -> None:
    site.page("/", "<h1>Start</h1>")
    site.replies["/enter"] = Reply(b"", headers=(("Set-Cookie", "__Host-a=b"),))
    with pytest.raises(EnvironmentFaultError, match="cannot be opened"):
        OpenedSite(site.url, enter_url="/enter").__enter__()


def test_what_is_called_alike_is_told_by_what_stands_beside_it(site: Site) -> None:
    bin_ = "<span class=bin-icon style='cursor:pointer;padding:9px'></span>"
    bin_ += "<ul style='display:none'><li>Undo</ul>"
    rows = "".join(
        f"<tr><td>{who}<td>{what}<td>{bin_}<td><button>Open</button>"
        for who, what in (("Ann", "Rent"), ("Bo", "Tax"))
    )
    site.page("/", f"<h1>Letters</h1><table>{rows}</table>")
    with OpenedSite(site.url) as opened:
        beside = {e.reference: e.properties.get("beside") for e in opened.first.entities}
    assert beside["span .bin-icon #2"] == ["Bo", "Tax", "Open"]
    assert beside["Open #1"] == ["Ann", "Rent"]


def test_a_form_is_filled_and_sent_by_names(form: Site) -> None:
    with OpenedSite(form.url) as opened:
        opened.done("fill", label="Name", text="Ann")
        opened.done("fill", label="Secret", text="hunter2-hunter2")
        opened.done("check", label="Gift", checked=True)
        assert "no list here has" in opened.refused("select", option="huge")
        opened.done("select", option="large")
        shown = opened.done("click", role="button", name="Send").text
        assert "hunter2" not in shown
        page = opened.page()
        fields = {f["field"]: f["value"] for f in cast("list[JsonObject]", page["fields"])}
        assert fields == {"Name": "Ann", "Secret": "•" * 8}
        assert page["ticked"] == ["Gift"]
        assert page["chosen"] == [{"list": "Size", "options": ["large"]}]
        assert page["said"] == ["sent"]


def test_a_reference_of_the_observation_can_be_used_and_an_old_one_is_refused(form: Site) -> None:
    with OpenedSite(form.url) as opened:
        line = next(x for x in opened.first.text.splitlines() if 'textbox "Name"' in x)
        ref = line.partition("[ref=")[2].partition("]")[0]
        opened.done("fill", ref=ref, text="Bo")
        assert "not found" in opened.refused("click", ref="e99999")
        assert "not found" in opened.refused("click", ref="body")


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ({"tool": "click", "name": "Twin"}, "several found: 2 things"),
        ({"tool": "click", "name": "Sedn"}, "not found: there is no control named 'Sedn' here"),
        ({"tool": "click", "role": "button", "name": "Ghost"}, "hidden: "),
        ({"tool": "click", "name": "Later"}, "disabled: "),
        ({"tool": "click", "name": "Under"}, "covered: "),
        ({"tool": "click"}, "not possible: name it"),
        ({"tool": "fill", "label": "Send", "text": "x"}, "not found: "),
        ({"tool": "select", "label": "Size", "option": "huge"}, "not found: the list has no"),
        ({"tool": "wait_for", "text": "never", "seconds": 0.1}, "timed out: "),
        ({"tool": "back"}, "not possible: "),
        ({"tool": "tabs", "number": 3}, "not found: there is no tab 3"),
        ({"tool": "goto", "url": "file:///etc/passwd"}, "refused: addresses of the kind 'file:'"),
        ({"tool": "goto", "url": "javascript:alert(1)"}, "refused: "),
        ({"tool": "goto", "url": "chrome://version"}, "refused: "),
        ({"tool": "goto", "url": "https://example.org/"}, "refused: the origin"),
        ({"tool": "press", "key": "Meta+Q"}, "refused: 'Meta+Q' is none of the keys"),
        ({"tool": "upload", "file": "x"}, "There is no tool named 'upload'"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(
    form: Site, call: dict[str, object], kind: str
) -> None:
    with OpenedSite(form.url) as opened:
        arguments = {name: value for name, value in call.items() if name != "tool"}
        assert opened.refused(str(call["tool"]), **arguments).startswith(kind)


def test_hints_come_with_what_is_not_found(form: Site) -> None:
    with OpenedSite(form.url) as opened:
        assert "'Send'" in opened.refused("click", name="Sedn")
        assert "'Twin #1', 'Twin #2'" in opened.refused("click", name="Twin")


def test_names_with_numbers_texts_test_ids_and_shapes_are_found(form: Site) -> None:
    with OpenedSite(form.url) as opened:
        opened.done("click", name="Twin #2")
        opened.done("click", role="button", name="Twin #1")
        opened.done("click", name="12 EUR")
        opened.done("click", name="total")
        opened.done("click", name="circle fill=red")
        assert opened.page()["title"] == "circled"


def test_pages_are_left_and_come_back_to_and_read_on(form: Site) -> None:
    with OpenedSite(form.url, most_characters=500) as opened:
        shown = opened.done("click", role="link", name="Next page").text
        assert opened.page()["path"] == "/next"
        assert "more characters are not shown; read tells them" in shown
        first = opened.step("read")
        assert first.steps == 0 and "| There is more." in first.observation.text
        rest = opened.done("read", start=1500).text
        assert "There is more." not in rest.partition("Page:")[0]
        assert "not found" in opened.refused("read", start=10**6)
        opened.done("scroll", direction="down")
        opened.done("back")
        assert opened.page()["path"] == "/"
        opened.done("goto", url="/next")
        assert opened.page()["path"] == "/next"


def test_tabs_open_beside_and_are_chosen(site: Site) -> None:
    site.page("/", '<a href="/b" target="_blank">Beside</a>')
    site.page("/b", "<h1>Second</h1>")
    with OpenedSite(site.url) as opened:
        assert "A new tab opened: tab 2" in opened.done("click", name="Beside").text
        assert "Second" in opened.done("tabs", number=2).text
        assert "tab 2" in opened.done("tabs").text
        opened.done("tabs", number=2, close="yes")
        assert opened.page()["path"] == "/"


def test_keys_hover_and_waiting(site: Site) -> None:
    site.page(
        "/",
        """<input aria-label=Box onkeydown="if(event.key==='Enter')document.title='entered'">
        <div onmouseover="this.textContent='hovered'">Menu</div>
        <button onclick="setTimeout(()=>{document.body.append('arrived')},300)">Wait</button>""",
    )
    with OpenedSite(site.url) as opened:
        opened.done("click", name="Box")
        opened.done("press", key="Enter")
        assert opened.page()["title"] == "entered"
        assert "hovered" in opened.done("hover", name="Menu").text
        opened.done("click", name="Wait")
        assert "arrived" in opened.done("wait_for", text="arrived", seconds=10).text


def test_controls_in_a_frame_of_the_same_origin_are_found(site: Site) -> None:
    site.page("/", '<iframe src="/inner" title=Inner></iframe>')
    site.page("/inner", "<button onclick=\"this.textContent='pressed'\">Deep</button>")
    with OpenedSite(site.url) as opened:
        assert '"pressed"' in opened.done("click", role="button", name="Deep").text


def test_a_fresh_context_for_each_attempt(site: Site) -> None:
    site.page("/", "<script>document.write(localStorage.n = +(localStorage.n || 0) + 1)</script>")
    with OpenedSite(site.url) as opened:
        assert "- text: 1" in opened.first.text
        assert "- text: 1" in opened.reset().text


def test_the_host_resets_enters_and_reads_the_site_with_a_token(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_CONTROL", "token-of-the-shop")
    worlds: dict[str, int] = {}

    def reset(path: str) -> Reply:
        worlds[path.split("/")[2]] = worlds.get(path.split("/")[2], 0) + 1
        return Reply(b"{}")

    with OpenedSite(site.url) as probe:
        episode = probe.environment._episode  # pyright: ignore[reportPrivateUsage]
    number = int(episode.rpartition("-")[2]) + 1
    name = f"{episode.rpartition('-')[0]}-{number}"
    site.page("/", "<h1>Shop</h1>")
    site.replies[f"/_episode/{name}/reset"] = reset
    site.replies[f"/_episode/{name}/enter"] = Reply(
        b"", 303, (("Location", "/"), ("Set-Cookie", f"episode={name}; Path=/; HttpOnly"))
    )
    site.replies[f"/_episode/{name}/state"] = Reply(b'{"cart": ["kettle"]}')
    options = {
        f"{part}_url": f"/_episode/{{episode}}/{part}" for part in ("reset", "enter", "state")
    }
    task = task_of(setup={"setup": "full", "url": "/?from=task"}, seed=7)
    with OpenedSite(site.url, task, token_variable="SHOP_CONTROL", **options) as opened:
        assert opened.state()["cart"] == ["kettle"]
        assert opened.page()["query"] == "from=task"
        opened.reset()
    assert worlds == {name: 2}
    sent = [(body, headers) for _, path, headers, body in site.asked if path.endswith("/reset")]
    assert sent[0][0] == b'{"seed": 7, "setup": "full"}'
    assert sent[0][1]["x-control-token"] == "token-of-the-shop"
    visits = [headers for _, path, headers, _ in site.asked if path == "/?from=task"]
    assert visits[-1]["cookie"] == f"episode={name}"
    assert "x-control-token" not in visits[-1]


def test_files_go_only_where_they_are_granted(site: Site, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello", encoding="utf-8")
    site.page("/", '<input type=file aria-label=File><a href="/f.csv" download>Get it</a>')
    site.replies["/f.csv"] = Reply(b"a,b\n", headers=(("Content-Type", "text/csv"),))
    with OpenedSite(site.url) as opened:
        said = opened.step("click", name="Get it").observation.text
        for _ in range(10):  # on a busy machine the browser tells of it a moment later
            if "was refused: downloads are not granted" in said:
                break
            time.sleep(0.5)
            said = opened.step("read").observation.text
        assert "was refused: downloads are not granted" in said
    kept: list[bytes] = []
    with OpenedSite(site.url, grants="upload,download", files=str(tmp_path)) as opened:
        opened.environment.use_blobs(lambda data: kept.append(data) or "0" * 64)
        assert "'f.csv' came: 4 bytes" in opened.done("download", name="Get it").text
        assert kept == [b"a,b\n"]
        assert "does not take that" in opened.refused("upload", file="../secret")
        opened.done("upload", label="File", file="note.txt")
        # What a page sends unasked, or by a click, is ended as it begins.
        assert "use the tool download" in opened.step("click", name="Get it").observation.text
        assert kept == [b"a,b\n"]


def test_pictures_and_traces_are_handed_over(site: Site) -> None:
    site.page("/", "<h1>Here</h1>")
    kept: list[bytes] = []

    def put(data: bytes) -> str:
        kept.append(data)
        return f"{len(kept):064d}"

    with OpenedSite(site.url, trace=True) as opened:
        opened.environment.use_blobs(put)
        assert opened.done("screenshot").images == (f"{1:064d}",)
        files = opened.wait(opened.environment.keepsakes())
        assert files == {"last.png": f"{2:064d}", "trace.zip": f"{3:064d}"}
    assert kept[0].startswith(b"\x89PNG") and kept[2].startswith(b"PK")


def test_search_can_go_back_and_is_told_what_that_took(form: Site) -> None:
    with OpenedSite(form.url) as opened:
        environment = opened.environment
        start = opened.wait(environment.snapshot())
        opened.done("fill", label="Name", text="Ann")
        there = opened.wait(environment.snapshot())
        opened.done("click", name="Send")
        opened.wait(environment.restore(there))
        assert environment.replayed_steps == 1
        assert cast("list[JsonObject]", opened.page()["fields"])[0]["value"] == "Ann"
        assert (
            cast("tuple[object, ...]", opened.wait(environment.snapshot()))[0]
            == (cast("tuple[object, ...]", there)[0])
        )
        opened.wait(environment.restore(start))
        assert cast("list[JsonObject]", opened.page()["fields"])[0]["value"] == ""


def test_a_site_that_is_not_there_is_no_failure_of_the_agent(site: Site) -> None:
    site.close()
    with pytest.raises(EnvironmentFaultError, match="cannot be opened"), OpenedSite(site.url):
        pass


@pytest.mark.parametrize(
    ("url", "options", "why"),
    [
        ("example.org", {}, "no address of a site"),
        ("file:///tmp/x", {}, "no address of a site"),
        ("http://127.0.0.1:1", {"origins": "nonsense"}, "is no origin"),
        ("http://127.0.0.1:1", {"width": 1}, "'width' does not fit"),
        ("http://127.0.0.1:1", {"reader": "no_such_module:f"}, "there is no reader"),
        ("http://127.0.0.1:1", {"reader": "json.dumps"}, "write module:function"),
        ("http://127.0.0.1:1", {"login": "/nowhere.json"}, "No such file.*save-storage"),
        ("http://127.0.0.1:1", {"login": __file__}, "it is no JSON"),
        ("http://127.0.0.1:1", {"token_variable": "NOT_SET_HERE"}, "is not set"),
        ("http://127.0.0.1:1", {"grants": "fly"}, "does not fit"),
    ],
)
def test_wrong_options_are_told(url: str, options: JsonObject, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        make_environment(EnvironmentRef(name=f"web:{url}", options=options))


CHANGED = {
    "names that were exchanged": "for (const b of document.querySelectorAll('button')) "
    "b.textContent = b.textContent === 'This' ? 'That' : 'This'",
    "names in a shadow root": "for (const b of document.querySelector('#s').shadowRoot"
    ".querySelectorAll('button')) b.textContent = b.textContent === 'This' ? 'That' : 'This'",
    "another document at the same address": "if (!sessionStorage.again) { sessionStorage.again = 1;"
    " location.reload() }",
}


@pytest.mark.parametrize("how", CHANGED)
def test_what_changed_since_it_was_shown_is_found_as_it_is_now(site: Site, how: str) -> None:
    buttons = (
        "<button id=1 onclick='document.title = this.textContent'>This</button>"
        "<button id=2 onclick='document.title = this.textContent'>That</button>"
    )
    if "shadow" in how:
        buttons = f"<div id=s><template shadowrootmode=open>{buttons}</template></div>"
    site.page("/", f"{buttons}<script>setTimeout(() => {{ {CHANGED[how]} }}, 700)</script>")
    with OpenedSite(site.url) as opened:
        time.sleep(1.2)  # the environment is not asked, so it has not seen what came of it
        opened.done("click", name="This")
        assert opened.page()["title"] == "This"


def test_what_is_as_it_was_shown_is_not_read_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.page("/", "<button>This</button><p>Text</p>")
    looks: list[bool] = []
    looked = snapshot._looked  # pyright: ignore[reportPrivateUsage]

    async def counted(page: Page, *, mark: bool) -> snapshot.View:
        looks.append(mark)
        return await looked(page, mark=mark)

    with OpenedSite(site.url) as opened:
        monkeypatch.setattr(snapshot, "_looked", counted)
        opened.done("click", name="This")
    assert looks == [True]


@pytest.mark.parametrize("part", ["<img src=/never>", "<script>fetch('/never')</script>"])
def test_what_never_comes_is_waited_for_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(visit, "LOAD_SECONDS", 0.5)
    site.replies["/never"] = Reply(b"", wait=20)
    site.page("/", f"<button onclick='n.textContent++'>More</button><p id=n>0</p>{part}")
    with OpenedSite(site.url) as opened:
        assert "still loading" in opened.first.text
        shown = [opened.done("click", name="More").text for _ in range(2)]
        assert "paragraph: 2" not in shown[0] and shown[1].endswith(": 2")
        assert not any("still loading" in each for each in shown)


def test_a_page_that_listens_for_events_is_not_waited_for(site: Site) -> None:
    site.replies["/never"] = Reply(b"", wait=20)
    site.page("/", "<p>Here</p><script>new EventSource('/never')</script>")
    with OpenedSite(site.url) as opened:
        assert "Here" in opened.first.text and "still loading" not in opened.first.text


@pytest.mark.parametrize("where", ["page", "frame", "root"])
def test_a_password_is_not_read_out(site: Site, where: str) -> None:
    field = "<label>Password <input type=password value=hunter2></label>"
    root = (
        f"<div id=s></div><script>s.attachShadow({{mode: 'open'}}).innerHTML = '{field}'</script>"
    )
    site.page("/frame", field)
    site.page("/", {"page": field, "frame": "<iframe src=/frame></iframe>", "root": root}[where])
    with OpenedSite(site.url) as opened:
        assert "hunter2" not in opened.first.text and "•" in opened.first.text
        shown = opened.done("read", name="Password").text + opened.done("read").text
        assert "hunter2" not in shown and "•" in shown
