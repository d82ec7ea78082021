"""Addresses, drawings, differences, the stream of events, and the bound of the one file."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from agentlab.cli.main import cli
from agentlab.errors import UsageError
from agentlab.events import RoundFinished, RunPaused, TaskAdmitted
from agentlab.records import Records, Workspace
from agentlab.view import starting
from agentlab.view.addresses import path_of
from agentlab.view.bundle import write
from agentlab.view.differences import differences
from agentlab.view.drawing import HEIGHT, WIDTH, draw
from agentlab.view.following import Followed
from agentlab.view.live import AT_ONCE, stream
from agentlab.view.rendering import inline_hash
from agentlab.view.telling import told as words_of
from tests.unit.records.samples import opened
from tests.unit.view.stories import RUN, tell

NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])


@given(st.text(min_size=1, max_size=30), st.text(max_size=30))
def test_an_address_says_its_parts_and_no_more(part: str, text: str) -> None:
    path = urlsplit(path_of("attempts", part, q=text, outcome=None)).path
    assert path.count("/") == 3
    assert unquote(path.split("/")[2]) == part
    query = urlsplit(path_of("attempts", part, q=text)).query
    assert dict(parse_qsl(query)) == ({"q": text} if text else {})


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=4)))
def test_a_drawing_has_every_call_and_no_two_nodes_in_one_place(
    calls: dict[str, list[str]],
) -> None:
    statuses = dict.fromkeys("abcdef", "active")
    drawn = draw(calls, statuses)
    told = {(a, b) for a, bs in calls.items() for b in bs if a != b}
    assert {(edge.caller, edge.callee) for edge in drawn.edges} == told
    assert {node.name for node in drawn.nodes} == {name for pair in told for name in pair}
    places = {(node.x, node.y) for node in drawn.nodes}
    assert len(places) == len(drawn.nodes)
    assert all(n.x + WIDTH < drawn.width and n.y + HEIGHT < drawn.height for n in drawn.nodes)
    assert draw(calls, statuses) == drawn


def test_callers_stand_to_the_left_where_nothing_goes_in_a_circle() -> None:
    drawn = draw({"a": ["b", "c"], "b": ["c"]}, dict.fromkeys("abc", "active"))
    x = {node.name: node.x for node in drawn.nodes}
    assert x["a"] < x["b"] < x["c"]


@given(
    st.lists(st.sampled_from(["x", "y", "z", ""]), max_size=30),
    st.lists(st.sampled_from(["x", "y"]), max_size=30),
)
def test_a_difference_holds_both_texts(before: list[str], after: list[str]) -> None:
    old, new = "\n".join(before), "\n".join(after)
    lines = differences(old, new)
    for line in lines:
        if line.before is not None:
            assert old.splitlines()[line.before - 1] == line.text
        if line.after is not None:
            assert new.splitlines()[line.after - 1] == line.text
    gone = {line.before for line in lines if line.kind == "gone"}
    come = {line.after for line in lines if line.kind == "new"}
    kept = [t for n, t in enumerate(old.splitlines(), 1) if n not in gone]
    assert kept == [t for n, t in enumerate(new.splitlines(), 1) if n not in come]


def heard(records: Records, serial: int, most: int, runs: list[str] | None = None) -> list[str]:
    """The first messages of a stream."""

    async def listen() -> list[str]:
        found: list[str] = []
        async with asyncio.timeout(5):
            async for message in stream(records, serial, run_ids=runs, every=0.01):
                found.append(message)
                if len(found) == most:
                    break
        return found

    return asyncio.run(listen())


def told(message: str) -> dict[str, Any]:
    """A message's data; its id is the number of the last event."""
    found = re.fullmatch(r"id: (\d+)\nevent: happened\ndata: (.*)\n\n", message)
    assert found is not None, message
    data = json.loads(found[2])
    assert data["serial"] == int(found[1])
    return data


def test_a_stream_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    with opened(tmp_path, "one") as records:
        records.runs.create("two", config={}, versions={}, seed=0)
        events = [
            TaskAdmitted(run_id=run, sequence=n, instruction=f"go\n\nid: 99\n{n}")
            for n in range(5)
            for run in ("one", "two")
        ]
        records.events.append(events)
        first = told(heard(records, 0, 2)[1])
        assert first == {"serial": 10, "events": 10}
        second = told(heard(records, 7, 2)[1])
        assert second == {"serial": 10, "events": 3}
        only = told(heard(records, 0, 2, ["two"])[1])
        assert only == {"serial": 10, "events": 5}


def test_a_stream_tells_long_logs_in_parts_and_the_end_of_a_run(tmp_path: Path) -> None:
    with opened(tmp_path, "one") as records:
        records.events.append([TaskAdmitted(run_id="one", sequence=n) for n in range(AT_ONCE + 3)])
        (_, *messages) = heard(records, 0, 3)
        sizes = [told(each)["events"] for each in messages]
        assert sizes == [AT_ONCE, 3]

        async def end() -> dict[str, Any]:
            async for message in stream(records, 10**6, every=0.01):
                if message.startswith("retry"):
                    asyncio.get_running_loop().call_later(
                        0.05, records.runs.set_status, "one", "finished"
                    )
                elif message.startswith("id"):
                    return told(message)
            raise AssertionError

        assert asyncio.run(end())["events"] == 0


def test_late_and_early_watchers_are_told_the_same(tmp_path: Path) -> None:
    with opened(tmp_path, "one") as records:
        early = Followed("one")
        for round_ in range(4):
            records.events.append(
                [
                    TaskAdmitted(run_id="one", round=round_, sequence=0, instruction="go"),
                    RunPaused(run_id="one", reason="it is down" if round_ == 3 else ""),
                    RoundFinished(
                        run_id="one", round=round_, sequence=9, attempts=4, successes=round_
                    ),
                ]
            )
            early.now(records)
        now = early.now(records)
        assert now == Followed("one").now(records)
        assert dict(now.lines)["Tasks"] == "4 proposed, 4 admitted"
        assert now.standing == "idle" and "waits: it is down" in now.sentence


def test_the_file_is_bounded_and_says_what_it_left_out(tmp_path: Path) -> None:
    tell(tmp_path / "work")
    with Records.open(Workspace.open(tmp_path / "work")) as records:
        for n in range(60):
            records.blobs.put(b"\x89PNG\r\n\x1a\n" + bytes([n]) * 9000)
        small = write(records, tmp_path / "small.html", most_bytes=1 << 20)
        with pytest.raises(UsageError, match="holds no page"):
            write(records, tmp_path / "none.html", most_bytes=10)
        with pytest.raises(UsageError, match="cannot be written"):
            write(records, tmp_path / "no" / "where.html")
    text = (tmp_path / "small.html").read_text(encoding="utf-8")
    assert len(text.encode()) == small.size <= 1 << 20
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 4
    for script in scripts:
        assert inline_hash(script) in policy[1].replace("&#39;", "'")
    assert "unsafe" not in policy[1] and "http" not in policy[1]
    # Every link leads to a place in it.
    places = set(re.findall(r'id="(p\d+)"', text))
    assert set(re.findall(r'href="#(p\d+)"', text)) <= places
    assert not re.findall(r'(?:href|src)="(?!#|data:image/(?:png|jpeg);)', text)


def test_the_command_writes_a_file_and_names_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(tmp_path / "work")
    words = ["view", "--workspace", str(tmp_path / "work")]
    done = CliRunner().invoke(cli, [*words, RUN, "--html", str(tmp_path / "all.html")])
    assert done.exit_code == 0, done.output
    assert re.match(r"Wrote \d+ pages to ", done.output)
    assert (tmp_path / "all.html").stat().st_size > 100_000
    wrong = CliRunner().invoke(cli, [*words, "story-2", "--html", str(tmp_path / "x.html")])
    assert wrong.exit_code == 2 and "Did you mean 'story-1'" in wrong.output
    nowhere = CliRunner().invoke(cli, ["view", "--workspace", str(tmp_path / "nothing")])
    assert nowhere.exit_code == 2
    monkeypatch.setattr(starting, "NEEDED", ("fastapi", "no_such_module"))
    missing = CliRunner().invoke(cli, words)
    assert missing.exit_code == 2
    assert "pip install 'agentlab-practice[view]'" in missing.output


def test_long_sources_of_lines_that_are_alike_are_compared_in_time() -> None:
    before = time.process_time()
    lines = differences("a\n" + "\n" * 50_000, "b\n" + "\n" * 50_000)
    assert time.process_time() - before < 5 and lines[-1].kind == "gap"


def test_a_round_is_told_with_its_interval() -> None:
    said = words_of(RoundFinished(run_id="one", attempts=98, successes=92, active_skills=2))
    assert said.text == "Round done: success 94% (87% to 97%, n=98); 2 skills active"
    said = words_of(RoundFinished(run_id="one"))
    assert said.text == "Round done: success no verdict; 0 skills active"
