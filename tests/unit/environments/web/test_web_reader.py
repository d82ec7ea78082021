"""The reader of a site's state: where it may lie, and what is said where it cannot be had."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agentlab.environments.web.control import Control
from agentlab.environments.web.options import Options
from agentlab.errors import ConfigError
from agentlab.types import JsonObject

URL = "http://127.0.0.1:1/"


def state_by(reader: str) -> JsonObject:
    return asyncio.run(Control(Options(url=URL, reader=reader), "e").state())


@pytest.mark.parametrize("reader", ["mine_of_shop:state", "sub/mine_of_shop.py:state"])
def test_a_reader_may_lie_where_the_command_is_started(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / (reader.partition(":")[0].removesuffix(".py") + ".py")
    place.parent.mkdir(exist_ok=True)
    place.write_text("def state(url):\n    return {'url': url}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert state_by(reader) == {"url": URL}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import not_installed_here", "there is no reader.*not_installed_here"),
        ("raise RuntimeError('out of order')", "RuntimeError: out of order"),
        ("def (", "SyntaxError"),
        ("state = 3", "is no function"),
        ("", "there is no reader.*write module:function"),
    ],
)
def test_why_a_reader_cannot_be_had_is_told(
    source: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_reader.py").write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=why):
        state_by("broken_reader:state")
