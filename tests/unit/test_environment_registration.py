"""Environments by name: arguments after a colon, options, and the sentences where they fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from agentlab import registry
from agentlab.cli.main import cli
from agentlab.config import load_config
from agentlab.environments.registration import check_machine, make_environment, options_of
from agentlab.envs.courier.environment import Courier
from agentlab.errors import ConfigError, UnknownNameError
from agentlab.records import Records, Workspace
from agentlab.types import EnvironmentRef


class Levelled(Courier):
    """Takes a level after the colon."""

    def __init__(self, *, level: str = "first", places: int = 4) -> None:
        super().__init__(places=places)
        self.level = level

    @classmethod
    def from_argument(cls, argument: str, *, places: int = 4) -> Levelled:
        return cls(level=argument, places=places)


def anything(**options: object) -> Courier:
    return Courier(places=len(options) + 2)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    for name, attribute in (
        ("levelled", "Levelled"),
        ("anything", "anything"),
        ("needy", "Needy"),
        ("no", "NO"),
    ):
        monkeypatch.setitem(registry.BUILT_IN, f"environment/{name}", f"{__name__}:{attribute}")
    monkeypatch.setitem(registry.BUILT_IN, "environment/path", "pathlib:PurePath")


NO = 7


def make(name: str, **options: str | int) -> object:
    return make_environment(EnvironmentRef(name=name, options=dict(options)))


def test_by_name_and_with_options() -> None:
    assert isinstance(make("courier"), Courier)
    assert isinstance(make("courier", places=6, cargo=2), Courier)
    assert isinstance(make("anything", whatever=1), Courier)


class Needy(Courier):
    """Needs what this machine has not."""

    def check_machine(self) -> None:
        raise ConfigError("There is no lighthouse here; build one.")


def test_what_a_machine_lacks_is_told_before_anything_is_begun(tmp_path: Path) -> None:
    check_machine(Courier())
    made = make_environment(EnvironmentRef(name="needy"))  # to be looked at it needs none
    with pytest.raises(ConfigError, match="lighthouse"):
        check_machine(made)
    place = tmp_path / "workspace"
    for command in (["practice"], ["evaluate"], ["envs", "check"]):
        where = ["--workspace", str(place)] if command != ["envs", "check"] else []
        found = CliRunner().invoke(cli, [*command, "needy", *where])
        assert found.exit_code == 2, found.output
        assert found.stderr == "Error: There is no lighthouse here; build one.\n"
    assert not place.exists()


def test_nor_does_a_run_go_on_where_it_is_lacking(tmp_path: Path) -> None:
    with Records.open(Workspace.open(tmp_path)) as records:
        spelt = load_config(None, environment="needy").model_dump(mode="json")
        records.runs.create("run-1", config=spelt, versions={}, seed=0)
        before = records.runs.get("run-1")
    found = CliRunner().invoke(cli, ["resume", "run-1", "--workspace", str(tmp_path)])
    assert found.exit_code == 2 and "no lighthouse" in found.stderr
    with Records.open(Workspace.open(tmp_path)) as records:
        assert records.runs.get("run-1") == before


def test_an_argument_after_the_colon() -> None:
    made = make("levelled:second", places=3)
    assert isinstance(made, Levelled)
    assert made.level == "second"


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("courier", {"place": 3}, "no option 'place'; did you mean 'places'"),
        ("courier", {"zzz": 3}, "it takes 'places', 'cargo', 'containers'"),
        ("courier", {"places": "many"}, "does not take these options"),
        ("courier", {"places": 99}, "'places' must be 2 to 10"),
        ("courier:GoTo", {}, "takes nothing after a colon"),
        ("levelled:", {}, "ends with a colon"),
        ("levelled:x", {"level": "y"}, "no option 'level'"),
        ("no", {}, "name a class"),
        ("path", {}, "lacks tools, reset, step, close"),
    ],
)
def test_what_does_not_fit_is_a_sentence(
    name: str, options: dict[str, str | int], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make(name, **options)
    assert sentence in str(caught.value)


def test_an_unknown_name_suggests_a_near_one() -> None:
    with pytest.raises(UnknownNameError, match="courier"):
        make("courrier")


def test_options_of_a_factory() -> None:
    assert options_of(Courier) == ("places", "cargo", "containers", "interface")
    assert options_of(anything) is None
