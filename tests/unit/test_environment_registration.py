"""Environments by name: arguments after a colon, options, and the sentences where they fail."""

from __future__ import annotations

import pytest

from agentlab import registry
from agentlab.environments.registration import make_environment, options_of
from agentlab.envs.courier.environment import Courier
from agentlab.errors import ConfigError, UnknownNameError
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
    for name, attribute in (("levelled", "Levelled"), ("anything", "anything"), ("no", "NO")):
        monkeypatch.setitem(registry.BUILT_IN, f"environment/{name}", f"{__name__}:{attribute}")
    monkeypatch.setitem(registry.BUILT_IN, "environment/path", "pathlib:PurePath")


NO = 7


def make(name: str, **options: str | int) -> object:
    return make_environment(EnvironmentRef(name=name, options=dict(options)))


def test_by_name_and_with_options() -> None:
    assert isinstance(make("courier"), Courier)
    assert isinstance(make("courier", places=6, cargo=2), Courier)
    assert isinstance(make("anything", whatever=1), Courier)


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
