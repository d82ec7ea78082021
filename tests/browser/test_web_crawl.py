"""Looking around a site: what is met, in which order, and what is not done on the way."""

from __future__ import annotations

import asyncio
import threading

from pydantic import JsonValue

from agentlab.environments.registration import make_environment
from agentlab.environments.web.environment import PageEnvironment
from agentlab.types import EnvironmentRef, JsonObject, Survey
from tests.browser.opened_site import task_of
from tests.browser.sites import Reply, Site

FORM = """<form method=post action=/save aria-label=Profile>
<label>Name <input name=n required></label>
<label>Size <select><option>S<option>L</select></label><button>Save</button></form>"""


def look(url: str, **options: JsonValue) -> Survey:
    """What looking around finds."""

    async def work() -> Survey | None:
        given: JsonObject = {"settle": 0.02, "seconds": 5.0, **options}
        world = make_environment(EnvironmentRef(name=f"web:{url}", options=given))
        assert isinstance(world, PageEnvironment)
        try:
            return await world.survey(task_of())
        finally:
            await world.close()

    found = asyncio.run(work())
    assert found is not None
    return found


def addresses(found: Survey) -> list[str]:
    pages = found.data["pages"]
    assert isinstance(pages, list)
    return [str(page["address"]) for page in pages if isinstance(page, dict)]


def fill(site: Site, other: Site) -> None:
    site.page(
        "/",
        "<h1>Start</h1><a href=/item/1>One</a> <a href=/item/2>Two</a> <a href=/item/3>Three</a>"
        f"<a href=/form>Form</a> <a href=/sign-out>Sign out</a> <a href={other.url}/x>Away</a>"
        "<ul><li>a <button>Buy</button><li>b<li>c</ul>"
        "<details><summary>More</summary><a href=/hidden>Behind</a></details>"
        "<script>fetch('/count', {method: 'POST'})</script>",
    )
    for number in (1, 2, 3):
        site.page(f"/item/{number}", f"<h1>Item {number}</h1><a href=/deep>Deeper</a>")
    site.page("/form", f"<h1>Form</h1>{FORM}")
    site.page("/deep", "<h1>Deep</h1><a href=/deeper>On</a>")


def test_it_goes_where_links_lead_each_kind_of_page_first(site: Site, other_site: Site) -> None:
    fill(site, other_site)
    found = look(site.url, crawl_pages=6, crawl_depth=2)
    # One of the items, then what is of another kind, what opens too, then the next item.
    assert addresses(found) == ["/", "/item/1", "/form", "/hidden", "/deep", "/item/2"]
    assert look(site.url, crawl_pages=6, crawl_depth=2) == found
    assert 'form "Profile" (changes something, "Save"): text "Name", required' in found.text
    assert 'list "Size" of "S", "L"' in found.text
    assert 'list of 3, each with button, the first: "a Buy"' in found.text
    assert "the limit of 6 pages was reached" in found.text and '"/item/3"' in found.text


def test_nothing_is_sent_that_changes_and_nothing_ended(site: Site, other_site: Site) -> None:
    fill(site, other_site)
    found = look(site.url)
    assert {method for method, _, _, _ in site.asked} == {"GET"}
    assert "/sign-out" not in site.paths and not other_site.asked
    assert "POST /count" in found.text and "Sign out -> /sign-out" in found.text
    assert "other sites" in found.text
    assert "/deeper" in addresses(found)


def test_it_stops_at_its_depth_and_may_be_told_not_to_look(site: Site, other_site: Site) -> None:
    fill(site, other_site)
    shallow = look(site.url, crawl_depth=1)
    assert "/deep" not in addresses(shallow) and "lead further than it went" in shallow.text

    async def none() -> Survey | None:
        options: JsonObject = {"crawl_pages": 0}
        world = make_environment(EnvironmentRef(name=f"web:{site.url}", options=options))
        assert isinstance(world, PageEnvironment)
        return await world.survey(task_of())

    assert asyncio.run(none()) is None


def test_allowed_it_sends_each_form_once_as_it_stands(site: Site, other_site: Site) -> None:
    fill(site, other_site)
    form = FORM.replace(" required", "")
    site.page("/form", f"<h1>Form</h1>{form}")
    site.page("/again", f"<h1>Again</h1>{form}")
    site.page("/save", "<div role=alert>Please say a name.</div>")
    site.page("/", "<a href=/form>Form</a> <a href=/again>Again</a>")
    found = look(site.url, crawl_changes=True)
    assert [path for method, path, _, _ in site.asked if method == "POST"] == ["/save"]
    assert 'sent as it stood, "Save" leads to /save and says "Please say a name."' in found.text


def test_what_opens_is_told_and_a_broken_page_is_too(site: Site) -> None:
    site.page(
        "/",
        "<h1>Start</h1><button aria-expanded=false onclick=\"this.setAttribute('aria-expanded', "
        "true); document.getElementById('m').hidden = false\">Menu</button>"
        "<div id=m hidden><a href=/in>Inside</a></div><a href=/lost>Lost</a>",
    )
    site.page("/in", "<h1>In</h1>")
    found = look(site.url)
    assert '"Menu" opened shows: "Inside"' in found.text and "/in" in addresses(found)
    assert "/lost" in addresses(found)  # a page that says that there is none is a page


def test_what_ends_something_is_left_alone_however_it_is_come_by(site: Site) -> None:
    site.page(
        "/",
        "<h1>Start</h1><a href='/item?delete=5'>x</a><a href='/item?action=remove&id=5'>y</a>"
        "<a href=/delete_item/5>z</a>"
        "<button aria-expanded=false onclick=\"fetch('/gone')\">Delete all</button>"
        "<form action=/sign-out><button>Bye</button></form>"
        "<form action=/end><button>Cancel</button></form>"
        "<form action=/search><input name=q aria-label=Words><button>Search</button></form>",
    )
    found = look(site.url)
    assert addresses(found) == ["/", "/search"]
    assert found.data["left_alone"] == [
        *("Bye -> /sign-out", "Cancel -> /end", "Delete all"),
        *("x -> /item?delete=5", "y -> /item?action=remove&id=5"),
        "z -> /delete_item/5",
    ]
    assert not {"/item", "/sign-out", "/end", "/delete_item/5", "/gone"} & {
        path.partition("?")[0] for path in site.paths
    }


def test_links_that_are_no_addresses_are_told_and_end_nothing(site: Site) -> None:
    site.page(
        "/",
        '<h1>Start</h1><a href="http://[">Broken</a> <a href="//[x]/">Odd</a> <a href=/in>In</a>'
        '<form action="/x"><input name=a></form>'
        "<script>document.forms[0].action = location.origin + '//[/y'</script>",
    )
    site.page("/in", "<h1>In</h1>")
    assert "/in" in addresses(look(site.url))


def test_what_a_page_says_with_half_a_character_can_be_kept(site: Site) -> None:
    site.page(
        "/",
        "<h1 id=h>Start</h1><a id=a href=/>Here</a><script>document.title = h.textContent = "
        "a.textContent = 'x' + String.fromCharCode(0xd800) + 'y'</script>",
    )
    found = look(site.url)
    assert "x\ufffdy" in found.text and found.model_dump_json()


def test_a_page_that_lies_about_its_forms_is_looked_at_all_the_same(site: Site) -> None:
    site.page("/", f"<h1>Start</h1>{FORM}<script>Array.prototype.map = () => [7]</script>")
    assert addresses(look(site.url)) == ["/"]


WORKER = """onconnect = () => {
  fetch('/changed', {method: 'POST', body: 'x'}).catch(() => {}).finally(() => fetch('/tried'));
  try { new WebSocket('ws://' + location.host + '/socket'); } catch {}
}"""
SOCKETS = """<h1>Start</h1><a href=/wait>On</a><script>
new SharedWorker('/worker.js');
new WebSocket('ws://' + location.host + '/socket');
new Worker(URL.createObjectURL(new Blob(["new WebSocket('ws://HOST/socket')"
  .replace('HOST', location.host)])));
</script>"""


def worked(site: Site) -> None:
    """A site that says something to itself from where the browser does not look."""
    site.page("/", SOCKETS)
    script = (("Content-Type", "text/javascript"),)
    site.replies["/worker.js"] = Reply(WORKER.encode(), headers=script)
    # The next page is there only once the worker has tried.
    tried = threading.Event()

    def wait(_: str) -> Reply:
        tried.wait(20)
        return Reply(b"<h1>Then</h1>")

    def told(_: str) -> Reply:
        tried.set()
        return Reply(b"")

    site.replies["/wait"], site.replies["/tried"] = wait, told


def test_nothing_is_said_by_workers_and_sockets_either(site: Site) -> None:
    worked(site)
    found = look(site.url)
    assert "/tried" in site.paths and "/wait" in addresses(found)
    assert {method for method, _, _, _ in site.asked} == {"GET"}
    assert "/socket" not in site.paths
    assert found.data["stopped"] == ["POST /changed", "WebSocket /"]


def test_it_would_be_said_where_changes_are_allowed(site: Site) -> None:
    worked(site)
    look(site.url, crawl_changes=True)
    assert "/changed" in site.paths and "/socket" in site.paths
