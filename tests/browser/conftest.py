"""What the browser tests need: Chromium, and sites on loopback.

Without Chromium they are skipped, and the reason is the line that installs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from agentlab.environments.web.chromium import INSTALL, find_chromium
from tests.browser.sites import Site
from tests.required import installed, lacking

installed("playwright", "REQUIRE_BROWSER")

EVERYTHING = "EVERY_ORACLE" in os.environ
collect_ignore = [] if EVERYTHING else ["test_chat_store.py", "test_store_drift.py"]
"""Whole runs in the shop, minutes each: `make browser` does them with all solutions."""


@pytest.fixture(autouse=True, scope="session")
def needs_chromium() -> Iterator[None]:
    """Skip, with the line to run, where there is no browser."""
    if find_chromium() is None:
        lacking(f"no Chromium: run `{INSTALL}`", "REQUIRE_BROWSER")
    from agentlab.environments.web.browser import end_now

    yield
    end_now()


@pytest.fixture
def site() -> Iterator[Site]:
    """A site of the test's own."""
    made = Site()
    yield made
    made.close()


@pytest.fixture
def other_site() -> Iterator[Site]:
    """Another origin, which nobody allowed."""
    made = Site()
    yield made
    made.close()
