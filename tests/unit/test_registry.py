"""Names to objects: suggestions, missing extras, and plugins that may be broken."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from agentlab import registry
from agentlab.environments.registration import make_environment
from agentlab.envs.courier.environment import Courier
from agentlab.errors import MissingExtraError, UnknownNameError
from agentlab.registry import BUILT_IN, Kind, names, resolve
from agentlab.types import EnvironmentRef

PLUGIN = """
class Wanderer:
    tools = ()

    async def reset(self, task, seed):
        raise NotImplementedError

    async def step(self, call):
        raise NotImplementedError

    async def close(self):
        return None
"""
ENTRY_POINTS = """[agentlab]
environment/wander = agentlab_test_plugin:Wanderer
environment/broken = agentlab_test_broken:Broken
environment/leaves = agentlab_test_leaves:Leaves
environment/lazily = agentlab_test_lazy:Lazily
environment/nowhere = agentlab_test_no_such_module:Nothing
environment/nameless = agentlab_test_plugin:NoSuchClass
environment/courier = agentlab_test_plugin:Wanderer
curator/mine = agentlab_test_plugin:Wanderer

[console_scripts]
wander = agentlab_test_plugin:Wanderer
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package: modules and a dist-info folder on the path."""
    (tmp_path / "agentlab_test_plugin.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "agentlab_test_broken.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "agentlab_test_leaves.py").write_text("raise SystemExit(0)\n", encoding="utf-8")
    lazy = "def __getattr__(name):\n    raise SystemExit(name)\n"
    (tmp_path / "agentlab_test_lazy.py").write_text(lazy, encoding="utf-8")
    info = tmp_path / "agentlab_test_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: agentlab-test-plugin\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    _plugins_anew()
    yield tmp_path
    monkeypatch.undo()
    _plugins_anew()
    for name in ("agentlab_test_plugin", "agentlab_test_broken", "agentlab_test_lazy"):
        sys.modules.pop(name, None)


def _plugins_anew() -> None:
    registry._plugins.cache_clear()  # pyright: ignore[reportPrivateUsage]


def test_every_built_in_name_belongs_to_a_kind() -> None:
    for name in BUILT_IN:
        assert name.partition("/")[0] in get_args(Kind)


@pytest.mark.parametrize(
    "name", [name for name in BUILT_IN if "transformers" not in name and "chroma" not in name]
)
def test_every_built_in_name_resolves(name: str) -> None:
    kind, _, short = name.partition("/")
    assert short in names(kind)  # type: ignore[arg-type]
    assert callable(resolve(kind, short))  # type: ignore[arg-type]


def test_unknown_names_say_what_is_near() -> None:
    with pytest.raises(UnknownNameError, match=r"no environment named 'babay'.*'babyai'"):
        resolve("environment", "babay")
    with pytest.raises(
        UnknownNameError, match=r"no executor named 'zzz'\. Known: 'code', 'demonstrated'"
    ):
        resolve("executor", "zzz")
    with pytest.raises(UnknownNameError):
        resolve("environment", "")


def test_names_of_one_kind_do_not_answer_for_another() -> None:
    with pytest.raises(UnknownNameError):
        resolve("executor", "courier")


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "environment/other", "minigrid.no_such_part:Other")
    with pytest.raises(MissingExtraError) as caught:
        resolve("environment", "other")
    assert caught.value.extra == "babyai"
    assert "pip install 'agentlab-practice[babyai]'" in str(caught.value)
    assert "The environment 'other'" in str(caught.value)


def test_a_fault_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "environment/other", "agentlab.no_such_part:Other")
    with pytest.raises(ModuleNotFoundError):
        resolve("environment", "other")


def test_plugins_stand_beside_what_is_built_in(plugin: Path) -> None:
    assert {"wander", "broken", "babyai"} <= set(names("environment"))
    assert "mine" in names("curator")
    assert "agentlab_test_plugin" not in sys.modules, "listing names imports nothing"
    found = resolve("environment", "wander")
    assert getattr(found, "__name__", "") == "Wanderer"
    assert type(make_environment(EnvironmentRef(name="wander"))).__name__ == "Wanderer"


def test_a_plugin_does_not_take_the_place_of_what_is_built_in(plugin: Path) -> None:
    assert resolve("environment", "courier") is Courier


@pytest.mark.parametrize("name", ["broken", "leaves", "lazily", "nowhere", "nameless"])
def test_a_plugin_that_fails_to_import_is_a_warning(plugin: Path, name: str) -> None:
    with (
        pytest.warns(RuntimeWarning, match=rf"plugin 'environment/{name}' .* left out"),
        pytest.raises(UnknownNameError) as caught,
    ):
        resolve("environment", name)
    assert name not in caught.value.known
    assert "wander" in caught.value.known


def test_a_broken_plugin_stops_nobody_else(plugin: Path) -> None:
    assert resolve("environment", "courier") is Courier
    assert callable(resolve("environment", "wander"))


def test_without_plugins() -> None:
    _plugins_anew()
    assert "wander" not in names("environment")
    assert names("environment") == sorted(names("environment"))
