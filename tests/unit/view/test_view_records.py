"""Leafing by keys, what is counted, and the library's effect from its draws."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from agentlab.analysis.arms import library_effect, round_arms
from agentlab.records import DrawRow, Records
from agentlab.records.browsing import AttemptPlace, Counted
from agentlab.records.filters import AttemptFilter, LibraryArm, ProposalFilter
from agentlab.records.summaries import ArmCount
from agentlab.types import AttemptKind, SplitRule
from agentlab.view.pages.leafing import attempt_place, proposal_place
from tests.unit.records.samples import RUN, a_skill, a_spec, a_task, an_outcome, opened

KINDS: tuple[AttemptKind, ...] = ("practice", "shadow")
PLACES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 12), st.sampled_from(KINDS)),
    min_size=1,
    max_size=25,
    unique=True,
)


def record(records: Records, places: list[tuple[int, int, AttemptKind]]) -> None:
    for number, (round_, slot, kind) in enumerate(places):
        spec = a_spec(slot, a_task(number % 8), round_=round_, kind=kind)
        records.attempts.record(spec, an_outcome(spec, success=number % 3 != 0))


@settings(max_examples=15)
@given(places=PLACES, limit=st.integers(1, 9))
def test_pages_hold_each_attempt_once_in_order_whichever_way_one_leafs(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int, AttemptKind]], limit: int
) -> None:
    with opened(tmp_path_factory.mktemp("leafing")) as records:
        record(records, places)
        whole = sorted((AttemptPlace(*place) for place in places), reverse=True)
        seen: list[AttemptPlace] = []
        pages = [records.browsing.attempts(RUN, limit=limit)]
        assert not pages[0].newer
        while pages[-1].older:
            last = pages[-1].rows[-1].place
            pages.append(records.browsing.attempts(RUN, older_than=last, limit=limit))
            assert pages[-1].newer
        for page in pages:
            seen += [row.place for row in page.rows]
        assert seen == whole
        # And back again.
        for before, page in pairwise(pages):
            first = page.rows[0].place
            back = records.browsing.attempts(RUN, newer_than=first, limit=limit)
            assert back.rows == before.rows and back.newer == before.newer
            assert back.older
        for row in pages[0].rows:
            spelt = ".".join(map(str, row.place))
            assert attempt_place(spelt) == row.place


def test_a_page_begins_at_its_key_and_sorts_nothing(tmp_path: Path) -> None:
    """What SQLite says it does: the run's part of an index, from one place on."""
    asked: list[tuple[str, tuple[object, ...]]] = []
    with opened(tmp_path) as records:
        record(records, [(r, s, "practice") for r in range(3) for s in range(9)])
        rule = SplitRule()
        records.tasks.add_proposals(RUN, 0, [(a_task(n), None) for n in range(8)], rule)
        engine = records._database._reader  # pyright: ignore[reportPrivateUsage] # the statements as they are sent

        def note(_c: object, _u: object, text: str, values: tuple[object, ...], *_: object) -> None:
            asked.append((text, values))

        event.listen(engine, "before_cursor_execute", note)
        place = AttemptPlace(1, 4, "practice")
        records.browsing.attempts(RUN, older_than=place)
        records.browsing.attempts(RUN, AttemptFilter(outcome="failure", kind="practice", round=1))
        records.browsing.attempts(RUN, AttemptFilter(text="parcel"), newer_than=place)
        records.browsing.proposals(RUN, ProposalFilter(admitted=True))
        event.remove(engine, "before_cursor_execute", note)
        lists = [one for one in asked if "LIMIT" in one[0]]
        assert len(lists) == 4
        with records._database.read() as connection:  # pyright: ignore[reportPrivateUsage] # as above
            for text, values in lists:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all()
                steps = [str(row[3]) for row in plan]
                # Words are looked for in each task once, beside the walk and not along it.
                beside = {"SCAN plans", "SCAN documents"} if "IN (SELECT" in text else set[str]()
                found = {step for step in steps if "SCAN" in step or "TEMP B-TREE" in step}
                assert found == beside, steps
                assert any("run_id=?" in step for step in steps), steps


def test_filters_find_what_they_say(tmp_path: Path) -> None:
    skill = a_skill()
    with opened(tmp_path) as records:
        for slot in range(6):
            spec = a_spec(slot, a_task(slot), skills=(skill,), withheld=slot % 2 == 1)
            success = None if slot == 5 else slot < 3
            records.attempts.record(spec, an_outcome(spec, success=success))
        lost = a_spec(6, a_task(6))
        records.attempts.record(
            lost,
            an_outcome(lost).model_copy(
                update={"status": "infrastructure_failure", "error": "it 100% broke_"}
            ),
        )

        def slots(wanted: AttemptFilter) -> list[int]:
            page = records.browsing.attempts(RUN, wanted)
            return sorted(row.row.slot for row in page.rows)

        assert slots(AttemptFilter(outcome="success")) == [0, 1, 2]
        assert slots(AttemptFilter(outcome="failure")) == [3, 4]
        assert slots(AttemptFilter(outcome="unknown")) == [5]
        assert slots(AttemptFilter(outcome="infrastructure")) == [6]
        judged = [
            *slots(AttemptFilter(outcome="success")),
            *slots(AttemptFilter(outcome="failure")),
        ]
        assert sorted(slots(AttemptFilter(outcome="verdict"))) == sorted(judged)
        assert slots(AttemptFilter(library="offered")) == [0, 2, 4]
        assert slots(AttemptFilter(library="withheld")) == [1, 3, 5]
        assert slots(AttemptFilter(library="none")) == [6]
        assert slots(AttemptFilter(library="partly")) == []
        assert slots(AttemptFilter(task_id="task-2")) == [2]
        assert slots(AttemptFilter(text="PARCEL 3")) == [3]
        # What a pattern would mean is text here.
        assert slots(AttemptFilter(text="100% broke_")) == [6]
        assert slots(AttemptFilter(text="%")) == [6]
        assert slots(AttemptFilter(text="_")) == [6]
        assert sum(each.n for each in records.browsing.counts(RUN)) == 7


@given(st.text(max_size=20))
def test_no_text_is_a_place_by_mistake(text: str) -> None:
    for found in (attempt_place(text), proposal_place(text)):
        assert found is None or all(part in text for part in map(str, found))


def counted(
    round_: int, arm: LibraryArm, success: bool | None, n: int, kind: str = "practice"
) -> Counted:
    return Counted(round_, kind, arm, success, n)


def test_rates_by_round_leave_out_what_counts_in_no_rate() -> None:
    (first, second) = round_arms(
        [
            counted(0, "offered", True, 6),
            counted(0, "offered", False, 2),
            counted(0, "withheld", True, 1),
            counted(0, "withheld", False, 3),
            counted(0, "partly", True, 4),
            counted(0, "none", None, 9),
            counted(0, "offered", True, 50, kind="shadow"),
            counted(1, "none", False, 2),
        ]
    )
    assert first.all is not None and (first.all.value, first.all.n) == (11 / 16, 16)
    assert first.offered is not None and (first.offered.value, first.offered.n) == (0.75, 8)
    assert first.withheld is not None and (first.withheld.value, first.withheld.n) == (0.25, 4)
    assert second.offered is None and second.all is not None and second.all.value == 0


def counted_draws(records: Records, rounds: int) -> list[ArmCount]:
    """As `arms`, draw by draw."""
    attempts: dict[str, list[DrawRow]] = defaultdict(list)
    for draw in records.draws.all(run_id=RUN):
        if draw.kind == "practice" and draw.success is not None and draw.round < rounds:
            attempts[draw.attempt_id].append(draw)
    strata: dict[tuple[int, frozenset[str]], list[int]] = defaultdict(lambda: [0] * 4)
    for rows in attempts.values():
        gone = sum(row.withheld for row in rows)
        if gone in (0, len(rows)):
            counts = strata[rows[0].round, frozenset(row.item_id for row in rows)]
            counts[2 if gone else 0] += rows[0].success is True
            counts[3 if gone else 1] += 1
    ordered = sorted(strata.items(), key=lambda entry: (entry[0][0], sorted(entry[0][1])))
    return [ArmCount(*key, *counts) for key, counts in ordered]


@settings(max_examples=15)
@given(data=st.data())
def test_what_draws_decided_is_counted_as_one_would_by_hand(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    names = st.lists(st.sampled_from(["carry", "fetch", "climb"]), max_size=3, unique=True)
    with opened(tmp_path_factory.mktemp("draws")) as records:
        for slot in range(data.draw(st.integers(0, 25))):
            # In whatever order: what was found is a set.
            found = tuple(a_skill(name=name) for name in data.draw(names))
            spec = a_spec(
                slot,
                a_task(slot % 4),
                round_=data.draw(st.integers(0, 2)),
                kind=data.draw(st.sampled_from(KINDS)),
                skills=found,
            )
            gone = [data.draw(st.booleans()) for _ in spec.offers]
            offers = tuple(
                offer.model_copy(update={"withheld": each})
                for offer, each in zip(spec.offers, gone, strict=True)
            )
            spec = spec.model_copy(update={"offers": offers})
            outcome = an_outcome(spec, success=data.draw(st.sampled_from([True, False, None])))
            if data.draw(st.integers(0, 5)) == 0:
                outcome = outcome.model_copy(update={"status": "infrastructure_failure"})
            records.attempts.record(spec, outcome)
        for rounds in range(4):
            assert records.summaries.arms(RUN, rounds) == counted_draws(records, rounds)


def test_the_library_is_compared_within_what_was_retrieved() -> None:
    # Hard tasks retrieve two items and easy ones one: plain rates would say that it harms.
    easy = ArmCount(0, frozenset({"x"}), 2, 2, 8, 8)
    hard = ArmCount(0, frozenset({"x", "y"}), 4, 8, 0, 2)
    found = library_effect([easy, hard])
    assert found is not None and found.n == 20
    # Within strata: 0 of easy with weight 1.6, 0.5 of hard with weight 1.6.
    assert found.value == pytest.approx(0.25)
    assert found.low < found.value < found.high
    assert library_effect([easy._replace(withheld=0, withheld_successes=0)]) is None
