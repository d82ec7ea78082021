"""Pages from templates, in one of two skins: the same functions in other words and another order.

A template is looked for in the skin's own folder and then among the shared ones. Everything that
a template is given is escaped.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agentlab.envs.store.labels import Skin, say
from agentlab.envs.store.money import plain_money, say_money
from agentlab.envs.store.words import SHELVES
from agentlab.envs.store.world import DELIVERIES, RETURN_DAYS

FOLDER = Path(__file__).parent


class Pages:
    """The pages of one skin."""

    def __init__(self, skin: Skin) -> None:
        self.skin: Skin = skin
        folders = [FOLDER / "templates" / name for name in (skin, "shared")]
        self._jinja = Environment(
            loader=FileSystemLoader(folders),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.filters.update(money=say_money, plain=plain_money, day=say_day, stars=say_stars)
        self._always: dict[str, object] = {
            "say": self.say,
            "skin": skin,
            "shelves": SHELVES,
            "deliveries": DELIVERIES,
            "return_days": RETURN_DAYS,
        }

    def say(self, key: str, **values: str | int) -> str:
        """A label in this skin's words."""
        return say(self.skin, key, **values)

    def render(self, template: str, **values: object) -> str:
        """A page's HTML."""
        return self._jinja.get_template(template).render(**self._always, **values)


def say_day(text: str) -> str:
    """Such as `4 March 2025`."""
    day = date.fromisoformat(text)
    return f"{day.day} {day:%B} {day.year}"


def say_stars(tenths: int) -> str:
    """Such as `4.2`."""
    return f"{tenths / 10:.1f}"
