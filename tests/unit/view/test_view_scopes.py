"""Whose skills, advice, attempts and waiting items are: shown, told apart, asked for by address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from agentlab.library.waiting import gate_evidence
from agentlab.records import Records
from agentlab.types import SHARED, Insight, Outcomes, Scope, Skill, scoped_id
from agentlab.view.bundle import write
from agentlab.view.guard import Keys
from agentlab.view.pages import skills
from agentlab.view.server import Site
from tests.unit.records.samples import RUN, TOWN, a_skill, a_spec, a_task, an_outcome, opened
from tests.unit.view.test_view_guard import BASE, PORT, Asking

ACME, ANN, OTHER = Scope(tenant="acme"), Scope(tenant="acme", user="ann"), Scope(tenant="other")
EVERY = (SHARED, ACME, ANN, OTHER)
CALLS = {"": "walk", "acme": "fetch", "acme/ann": "climb", "other": "swim"}
"""What each scope's own skill `carry` calls."""


def of(scope: Scope, name: str, calls: tuple[str, ...] = ()) -> Skill:
    skill = a_skill(name)
    source = f"def {name}(env):\n    env.carry()  # of {scope.path or 'all'}\n"
    return skill.model_copy(
        update={"id": scoped_id(scope, skill.id), "skills": calls, "source": source}
    )


def fill(records: Records) -> None:
    """Of each scope: two skills that serve, one that waits, advice, and an attempt."""
    for slot, scope in enumerate(EVERY):
        called = CALLS[scope.path]
        for skill in (of(scope, called), of(scope, "carry", (called,)), of(scope, "wave")):
            records.items.save_skill(skill, run_id=RUN, round_=0, scope=scope)
            records.items.move(skill.id, "quarantined", reason="tried")
            evidence = gate_evidence(0, ())
            records.items.move(
                skill.id, "verified", reason="passed", evidence=evidence, run_id=RUN, round_=0
            )
            if skill.name != "wave":
                records.items.move(skill.id, "active", reason="sound")
        advice = Insight(
            id=scoped_id(scope, "insight-0"), environment=TOWN, condition="A parcel is heavy.",
            advice=f"Ask {scope.path or 'anybody'}.", outcomes=Outcomes(),
        )  # fmt: skip
        records.items.save_insight(advice, run_id=RUN, round_=0, scope=scope)
        carry = of(scope, "carry")
        spec = a_spec(slot, a_task(slot), skills=(carry,))
        spec = spec.model_copy(update={"scope": scope.path})
        records.attempts.record(spec, an_outcome(spec))


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with opened(tmp_path / "work") as records:
        fill(records)
        yield records


def rows(text: str) -> list[str]:
    """The rows of the list on a page."""
    return re.findall(r"<tr>(?:(?!</tr>).)*<td.*?</tr>", text, re.DOTALL)


@pytest.mark.parametrize("path", ["/skills", "/insights", f"/runs/{RUN}/attempts"])
def test_lists_say_whose_each_is_and_show_one_scope_where_it_is_asked_for(
    records: Records, path: str
) -> None:
    ask = Asking(Site(records, Keys(PORT)))
    each = 3 if path == "/skills" else 1
    whole = rows(ask(path).text)
    assert len(whole) == each * len(EVERY)
    for scope in EVERY:
        name = f"<bdi>{scope.path or 'shared'}</bdi>"
        own = [row for row in whole if name in row]
        assert len(own) == each
        page = ask(path + f"?scope={scope.path or '-'}").text
        assert rows(page) == own
        spelt = scope.path or "-"
        assert f'<option value="{spelt}" selected>{scope.path or "shared"}</option>' in page
    # Nobody's, however it is spelt.
    for odd in ("acme/", "acm%", "<i>x", "../acme", "ACME"):
        answer = ask(f"{path}?scope={quote(odd)}")
        assert answer.status_code == 200 and rows(answer.text) == []
        assert "<i>x" not in answer.text


def test_a_skill_has_a_page_for_each_scope_whose_it_is(records: Records) -> None:
    ask = Asking(Site(records, Keys(PORT)))
    for scope in EVERY:
        query = f"?scope={scope.path}" if scope.path else ""
        page = ask(f"/skills/{TOWN}/carry{query}").text
        told = re.sub(r"<[^>]*>", "", page)
        assert re.findall("# of (.*)", told) == [scope.path or "all"]
        # What it calls is its own scope's too.
        spelt = scope.path.replace("/", "%2F")
        called = f"/skills/{TOWN}/{CALLS[scope.path]}" + (f"?scope={spelt}" if spelt else "")
        assert f'href="{called}"' in page
        answer = ask(called)
        assert answer.status_code == 200
    assert ask(f"/skills/{TOWN}/fetch").status_code == 404
    assert ask(f"/skills/{TOWN}/carry?scope=nobody").status_code == 404
    assert ask(f"/skills/{TOWN}/carry?scope=../x").status_code == 400


def test_who_calls_whom_is_drawn_for_each_scope(records: Records) -> None:
    drawn = skills.make(records).drawings
    assert [(d.environment, d.scope) for d in drawn] == [(TOWN, s.path) for s in EVERY]
    for each in drawn:
        (edge,) = each.drawing.edges
        assert (edge.caller, edge.callee) == ("carry", CALLS[each.scope])
    (own,) = skills.make(records, scope="acme").drawings
    assert own.scope == "acme"


def test_what_waits_is_told_apart_and_links_lead_to_its_own_page(records: Records) -> None:
    ask = Asking(Site(records, Keys(PORT)))
    assert ask("/waiting").text.count('class="verdict"') == len(EVERY)
    page = ask("/waiting?scope=acme/ann").text
    assert page.count('class="verdict"') == 1 and "of <bdi>acme/ann</bdi>" in page
    assert f'href="/skills/{TOWN}/wave?scope=acme%2Fann&amp;version=1"' in page


def test_a_verdict_is_on_the_item_of_its_scope_alone(records: Records) -> None:
    site = Site(records, Keys(PORT))
    ask = Asking(site)
    page = ask("/waiting?scope=acme").text
    values = {
        name: match[1]
        for name in ("form", "digest")
        if (match := re.search(f'name="{name}" value="([^"]*)"', page))
    }
    data = urlencode({**values, "verdict": "reject", "reason": "no", "by": "ada"})
    item = of(ACME, "wave").id
    answer = ask(
        f"/waiting/{item}", method="POST", data=data, origin=BASE,
        content_type="application/x-www-form-urlencoded",
    )  # fmt: skip
    assert answer.status_code == 303
    statuses = {scope: records.items.skill(of(scope, "wave").id).status for scope in EVERY}
    assert statuses == {scope: "retired" if scope == ACME else "verified" for scope in EVERY}


def test_an_attempt_leads_to_the_skill_that_it_was_offered(records: Records) -> None:
    ask = Asking(Site(records, Keys(PORT)))
    (row,) = rows(ask(f"/runs/{RUN}/attempts?scope=acme").text)
    address = re.search(r'href="([^"]*)"', row)
    assert address is not None
    page = ask(address[1]).text
    assert "of <bdi>acme</bdi>" in page
    assert f'href="/skills/{TOWN}/carry?scope=acme"' in page


def test_a_scope_that_was_written_by_others_is_text(records: Records) -> None:
    hostile = '"><script>window.hacked=1</script>'
    with records._database.write() as connection:  # pyright: ignore[reportPrivateUsage] # an edited row
        connection.exec_driver_sql("UPDATE attempts SET scope = ? WHERE scope = 'acme'", (hostile,))
    page = Asking(Site(records, Keys(PORT)))(f"/runs/{RUN}/attempts").text
    assert "&lt;script&gt;window.hacked" in page and "<script>window" not in page


def test_the_file_keeps_skills_of_one_name_apart(records: Records, tmp_path: Path) -> None:
    write(records, tmp_path / "all.html")
    text = (tmp_path / "all.html").read_text(encoding="utf-8")
    told = re.sub(r"<[^>]*>", "", text)
    for scope in EVERY:
        assert f"# of {scope.path or 'all'}\n" in told
