"""A gate's limit on tokens: nothing is taken beyond it, and what it ends it does not choose."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from agentlab.errors import GateInterruptedError
from agentlab.events import Event
from agentlab.graph.gate_plan import GateRequest
from agentlab.graph.gate_tokens import GateTokens
from agentlab.graph.gating import gate
from agentlab.models.journal import SPENDING, Journal
from agentlab.models.ledger import Amount
from agentlab.models.opening import Endpoints
from agentlab.records import Records, Workspace
from agentlab.testing.adapter_server import AdapterServer
from agentlab.training.promotion.verdict import GateReport
from tests.integration.gated_courier import Bench, config, rule_of, settings

BEYOND = 2_000
"""What calls under way may take beyond what was set aside for them, where the server counts more
tokens than their text lets expect."""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    defaults = cast("dict[str, object]", Endpoints.__init__.__kwdefaults__)
    monkeypatch.setitem(defaults, "first_retry", 0.01)
    with Bench(tmp_path) as made:
        yield made


def compare(bench: Bench, folder: Path, **more: object) -> GateReport:
    """Gate a candidate on an order that is the same each time."""
    left = cast("int | None", more.pop("left", None))
    asked = settings(**{"seed": 5, "tasks": 30, "beside": 0, "heldout": 0} | more)
    return asyncio.run(gate(bench.records, GateRequest("lab", folder, config(), asked, left=left)))


def taken(bench: Bench, report: GateReport) -> int:
    """What all calls of a gate took, those of lost attempts too."""
    directory = bench.records.workspace.run_directory(report.gate)
    return sum(each.tokens for each in Journal(directory / SPENDING).spent().values())


def test_a_limit_too_small_for_a_pair_attempts_none_and_more_goes_on(bench: Bench) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    report = compare(bench, folder, tokens=1, window=48)
    assert (report.status, report.looks, report.tokens, report.limit) == ("undecided", 0, 0, 1)
    assert "tokens were used up (0 of 1 were taken)" in report.reason
    assert bench.server.asked_of() == ()
    # A cycle that has no more is the same; the gate's own settings are not changed by it.
    assert compare(bench, folder, tokens=1, window=48) == report
    some = compare(bench, folder, left=20_000)
    assert (some.status, some.limit) == ("undecided", 20_000)
    assert some.tokens <= taken(bench, some) <= 20_000 + BEYOND
    assert compare(bench, folder, left=20_000) == some
    assert bench.records.policies.current("lab") == ""
    assert compare(bench, folder).status == "promoted"


def test_a_limit_ends_the_reading_and_chooses_nothing_of_it(bench: Bench, tmp_path: Path) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    report = compare(bench, folder, tokens=100_000, window=30)
    assert report.status == "undecided"
    assert report.tokens <= taken(bench, report) <= 100_000 + BEYOND
    # It is no mere stop after the first pairs: most of the limit was used.
    assert report.tokens > 50_000
    assert report.failed == 0
    read = bench.records.gates.looks(report.gate)
    with Bench(tmp_path / "free") as free:
        whole = compare(free, free.adapter(greedy=1.0, sampled=1.0))
        assert whole.status == "promoted"
        assert 2 <= len(read) < whole.looks
        assert free.records.gates.looks(whole.gate)[: len(read)] == read
    # A limit that suffices for the verdict and for nothing after it.
    with Bench(tmp_path / "tight") as tight:
        again = tight.adapter(greedy=1.0, sampled=1.0)
        enough = whole.tokens * 3 // 2
        rest = {"protected": [": at"], "beside": 30, "heldout": 30}
        held = compare(tight, again, tokens=enough, **rest)
        assert (held.status, held.looks) == ("undecided", whole.looks)
        assert "protected templates" in held.reason
        assert taken(tight, held) <= enough + BEYOND
        assert not held.families and not held.beside and not held.heldout
        assert tight.records.policies.current("lab") == ""
    with Bench(tmp_path / "won") as won:
        again = won.adapter(greedy=1.0, sampled=1.0)
        report = compare(won, again, tokens=enough, beside=30, heldout=30)
        assert (report.status, report.looks) == ("promoted", whole.looks)
        assert taken(won, report) <= enough + BEYOND
        assert not report.beside and not report.heldout
        assert "too few tokens were left" in report.learning


def test_what_was_lost_with_the_server_counts(bench: Bench) -> None:
    folder = bench.adapter(greedy=1.0, sampled=1.0)
    asked = settings(seed=5, tasks=30, beside=0, heldout=0, tokens=100_000)
    request = GateRequest("lab", folder, config(), asked)

    class Leaving:
        left = 5

        def notify(self, event: Event) -> None:
            """End the server in the middle of attempts."""
            self.left -= 1
            if self.left == 0:
                bench.server.close()

    with pytest.raises(GateInterruptedError):
        asyncio.run(gate(bench.records, request, (Leaving(),)))
    bench.server = AdapterServer(rule_of, base=bench.base)
    bench.server.start()
    bench.register()
    report = asyncio.run(gate(bench.records, request))
    assert report.tokens == taken(bench, report) <= 100_000 + BEYOND


def test_pairs_are_attempted_together_as_far_as_all_of_them_fit(tmp_path: Path) -> None:
    with Records.open(Workspace.open(tmp_path)) as records:
        free = GateTokens(records, "gate-free", None)
        assert (free.pairs(30), free.parts(60), free.pay_for(10**9)) == (30, (), True)
        tokens = GateTokens(records, "gate-1", 10_000)
        assert tokens.pairs(30) == 1  # nobody knows what an attempt takes
        tokens.took(100)
        assert tokens.pairs(30) == 25
        assert tokens.parts(50)[0].tokens == 200
        tokens.cut_off(1_000)
        assert tokens.pairs(30) == 2
        tokens.read()
        assert tokens.pairs(30) == 2
        tokens.cut_off(2_500)
        assert (tokens.pay_for(100), tokens.pay_for(101)) == (True, False)
        tokens.note("executor", Amount(8_000))
        assert tokens.pairs(30) == 0  # as much as did not suffice
        assert GateTokens(records, "gate-1", 10_000).taken == 8_000
