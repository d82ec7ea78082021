"""What a fresh world of the shop costs: a reset over HTTP, of a start state seen before and new.

Run by `make bench ARGS="-k store"`; nothing here passes or fails by time. Target: under 50 ms.
"""

from __future__ import annotations

from itertools import count
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient
from pytest_benchmark.fixture import BenchmarkFixture

from agentlab.envs.store.app import create_app

HEADERS = {"X-Control-Token": "t"}


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
def test_reset(benchmark: BenchmarkFixture, known: bool) -> None:
    seeds = count(1)
    with TestClient(create_app(control_token="t"), base_url="http://127.0.0.1") as client:

        def reset() -> None:
            body = {"seed": 0 if known else next(seeds), "setup": {"setup": "ready"}}
            answer = client.post("/_episode/bench/reset", json=body, headers=HEADERS)
            assert answer.status_code == 200

        cast("Any", benchmark).pedantic(reset, rounds=100, warmup_rounds=3)
