"""Attempts in production on the page: they are found, counted, and show what people said."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentlab.errors import UsageError
from agentlab.records import Records
from agentlab.types import AttemptSpec, JsonObject, Offer, Scope, Score
from agentlab.view.bundle import write
from agentlab.view.guard import Keys
from agentlab.view.pages import attempt, runs
from agentlab.view.server import Site
from tests.unit.records.samples import RUN, a_spec, a_task, an_outcome, opened

USE = "agent-0-00000000-1"
ACME = Scope(tenant="acme")


def in_use(records: Records) -> AttemptSpec:
    """An attempt of an agent's, of which somebody said that it worked."""
    config: JsonObject = {"command": "agent", "environment": "courier"}
    records.runs.create(USE, config=config, versions={}, seed=0, scope=ACME)
    offers = (
        Offer(item_id="insight-1", name="insight-1", probability=0.5, withheld=False),
        Offer(item_id="rewrite-1", name="rewrite", probability=0.5, withheld=True),
    )
    spec = a_spec(0, a_task(0), kind="production").model_copy(
        update={"id": "attempt-used", "run_id": USE, "offers": offers, "scope": "acme"}
    )
    unsure = an_outcome(spec).model_copy(update={"score": Score(), "attempt_id": spec.id})
    records.attempts.record(spec, unsure)
    records.feedback.add(spec.id, success=True, comment="<i>thank you</i>", scope=ACME)
    return spec


def test_what_is_in_use_is_listed_with_what_people_said(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        spec = in_use(records)
        page = runs.make(records)
        (line,) = page.uses
        assert (line.run_id, line.scope, line.n, page.others) == (USE, "acme", 1, 0)
        assert line.success is not None and line.success.n == 1
        shown = attempt.make(records, USE, spec.id).left
        assert [(row.success, row.comment) for row in shown.said] == [(True, "<i>thank you</i>")]
        assert [kind for _, kind in shown.offered] == ["insight", "rewrite"]
        write(records, tmp_path / "all.html", only=[USE])
    text = (tmp_path / "all.html").read_text()
    assert "&lt;i&gt;thank you" in text and "<i>thank" not in text


def test_its_pages_lead_to_attempts_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        spec = in_use(records)
        site = Site(records, Keys(1), only=[USE])
        page = attempt.make(records, USE, spec.id)
        text = bytes(site.show("attempt.html", "attempts", "Attempt", page, USE).body).decode()
        assert f"/runs/{USE}/attempts" in text and "/insights/insight-1" in text
        assert f'"/runs/{USE}"' not in text and f"/runs/{USE}/tasks" not in text
        assert "/skills/courier/rewrite" not in text
        assert runs.shown(records, USE) == USE and runs.shown(records, RUN) == RUN
        records.runs.create("verify-1", config={"command": "verify"}, versions={}, seed=0)
        with pytest.raises(UsageError, match="verification"):
            runs.shown(records, "verify-1")
