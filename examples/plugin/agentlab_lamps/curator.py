"""A curator: distils solved attempts into candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from agentlab.protocols import CurationContext, Curator
from agentlab.registry import resolve
from agentlab.types import Skill


class BriefestCurator:
    """What `generalise` finds, the shortest code first, so that it is tried and served first.

    A candidate is only that: admission finds out whether it works.
    """

    async def curate(self, context: CurationContext) -> Sequence[Skill]:
        """Candidates, best first."""
        generalise = cast("type[Curator]", resolve("curator", "generalise"))()
        found = await generalise.curate(context)
        return sorted(found, key=lambda skill: (len(skill.source), skill.name))
