"""What one scope of a library offers now: tools, pages, and what is withheld and why.

The records say what is active, and only that is ever here: a tool is made of an active skill and
of nothing else, and `still` asks the records once more before each call. Whatever is listed is
pinned (`pins`). Nothing here speaks the protocol.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agentlab.config import RetrievalConfig
from agentlab.errors import AgentLabError
from agentlab.executors.toolbox import free_name, skill_spec, spelled
from agentlab.library.insights import FoundInsight, InsightLibrary
from agentlab.library.skills import Found, SkillLibrary
from agentlab.records import Records
from agentlab.serve.mcp.limits import ServeLimits
from agentlab.serve.mcp.own_tools import OWN, description_of, schema_of
from agentlab.serve.mcp.pages import Page, by_uri, insight_page, line, plain, skill_pages
from agentlab.serve.mcp.pins import Pins, pin_of
from agentlab.types import Frozen, JsonObject, Scope, Skill, ToolSpec
from agentlab.version import __version__

log = logging.getLogger(__name__)


class Offered(Frozen):
    """A tool as clients see it."""

    name: str
    title: str
    description: str
    parameters: JsonObject
    pin: str
    skill: Skill | None = None
    """None for the server's own."""


class Listing(NamedTuple):
    """Everything that is offered, as of one library version."""

    version: int
    tools: Mapping[str, Offered]
    pages: Mapping[str, Page]
    withheld: Mapping[str, str]
    """Tool name to why it is not offered."""


class Change(NamedTuple):
    """How two listings differ, as far as clients are told."""

    tools: bool
    resources: bool
    updated: tuple[str, ...]
    """URIs of pages that say something else now."""


class Offerings:
    """The tools and pages of one scope.

    Args:
        records: where the library is.
        environment: its name, as libraries know it.
        tools: the environment's.
        toolset: their name.
        foreign: whether the box takes code that was not learnt here.
        scope: whose items are served.
        pins: where tools are pinned.
        limits: of texts.
    """

    def __init__(
        self,
        records: Records,
        environment: str,
        *,
        tools: Sequence[ToolSpec],
        toolset: str,
        foreign: bool,
        scope: Scope,
        pins: Pins,
        limits: ServeLimits,
    ) -> None:
        self._records = records
        self.environment = environment
        self.scope = scope
        self._tools = tools
        self._pins = pins
        self._limits = limits
        self._skills = SkillLibrary(
            records, environment, toolset=toolset, backend="exact", foreign=foreign, scope=scope
        )
        self._insights = InsightLibrary(records, environment, backend="exact", scope=scope)
        self.listing = self._list()

    def refresh(self) -> bool:
        """Take over what changed, if anything did.

        Raises:
            RecordsError: the records cannot be read, or an item was changed by something else.
        """
        if self._records.items.library_version(self.environment) == self.listing.version:
            return False
        self._skills.refresh()
        self._insights.refresh()
        self.listing = self._list()
        return True

    def still(self, tool: Offered) -> bool:
        """Whether the skill behind a tool is active at this moment, as it was listed."""
        if tool.skill is None:
            return True
        try:
            row = self._records.items.skill(tool.skill.id)
        except AgentLabError:
            return False
        mine = row.scope in self.scope.readable
        return row.status == "active" and mine and row.item == tool.skill

    def callees(self, skill: Skill) -> tuple[Skill, ...]:
        """The skills that it calls, directly or through others."""
        return self._skills.with_callees([skill])[1:]

    def found(self, query: str, limit: int) -> list[Found]:
        """The skills that fit, best first."""
        return self._skills.retrieve(query, RetrievalConfig(k=limit))

    def advice(self, query: str, limit: int) -> list[FoundInsight]:
        """The insights that fit, best first."""
        return self._insights.retrieve(query, RetrievalConfig(k=limit))

    def close(self) -> None:
        """Let go of the indexes. Safe to call twice."""
        self._insights.close()
        self._skills.close()

    def _list(self) -> Listing:
        tools: dict[str, Offered] = {}
        withheld: dict[str, str] = {}
        pages: list[Page] = []
        place = f"{self.environment} {self.scope.path}".strip()
        for name in OWN:
            own = Offered(
                name=name,
                title=name.replace("_", " "),
                description=description_of(name),
                parameters=schema_of(name),
                pin=pin_of(name, description_of(name), schema_of(name)),
            )
            self._offer(own, place, f"agentlab-{__version__}", tools, withheld)
        for skill in sorted(self._skills.skills.values(), key=lambda each: each.name):
            tool = self._made(skill, {*tools, *withheld})
            if self._offer(tool, place, str(skill.version), tools, withheld):
                pages += skill_pages(skill, self._limits.text)
        for insight in self._insights.insights.values():
            pages.append(insight_page(insight, self._limits.text))
        self._pins.keep()
        return Listing(self._skills.version, tools, by_uri(pages), withheld)

    def _made(self, skill: Skill, taken: set[str]) -> Offered:
        wanted = f"skill_{skill.name}" if spelled(skill.name) in OWN else skill.name
        alias = free_name(wanted, taken)
        spec = skill_spec(skill, alias, self._tools)
        description = plain(spec.description, self._limits.description)
        return Offered(
            name=alias,
            title=line(skill.signature, 200),
            description=description,
            parameters=spec.parameters,
            pin=pin_of(alias, description, spec.parameters),
            skill=skill,
        )

    def _offer(
        self,
        tool: Offered,
        place: str,
        version: str,
        tools: dict[str, Offered],
        withheld: dict[str, str],
    ) -> bool:
        if self._pins.hold(place, tool.name, version, tool.pin):
            tools[tool.name] = tool
            return True
        withheld[tool.name] = (
            f"what is on record of {tool.name!r}, version {version}, differs from what was pinned "
            "when it was first served"
        )
        log.warning("The tool %r is withheld: %s.", tool.name, withheld[tool.name])
        return False


def change(before: Listing, after: Listing) -> Change:
    """What clients are told of the way from one listing to another."""
    tools = {name: tool.pin for name, tool in before.tools.items()}
    shared = before.pages.keys() & after.pages.keys()
    return Change(
        tools=tools != {name: tool.pin for name, tool in after.tools.items()},
        resources=before.pages.keys() != after.pages.keys(),
        updated=tuple(
            sorted(uri for uri in shared if before.pages[uri].text != after.pages[uri].text)
        ),
    )
