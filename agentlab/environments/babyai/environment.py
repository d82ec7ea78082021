"""`BabyAI`, the environment's one name: the whole map known, or the partial view."""

from __future__ import annotations

from typing import Literal, overload

from agentlab.environments.babyai.episodes import KnownEpisodes
from agentlab.environments.babyai.partial import PartialBabyAI
from agentlab.environments.babyai.tools import Toolset, View


class BabyAI(KnownEpisodes):
    """Missions in simple English over rooms, doors, keys, balls and boxes (minigrid).

    Args:
        toolset: `objects`, tools that take a thing by colour and kind and cost as many
            primitive steps as they make moves; or `primitive`, BabyAI's seven actions.
        view: `full`, the whole map known, with snapshots; or `partial`, BabyAI's 7 x 7 view
            with memory, without snapshots and with `model()`: a `PartialBabyAI`.
        level: one of BabyAI's own levels (`GoToLocal`), from which `tasks` then takes tasks.
        max_steps: cap on the primitive steps of an episode; BabyAI's formula by default.

    Raises:
        UnknownNameError: minigrid has no such level.
        ConfigError: another option is wrong.
    """

    @overload
    def __new__(
        cls,
        *,
        toolset: Toolset = ...,
        view: Literal["full"] = ...,
        level: str | None = ...,
        max_steps: int | None = ...,
    ) -> BabyAI: ...

    @overload
    def __new__(
        cls,
        *,
        toolset: Toolset = ...,
        view: Literal["partial"],
        level: str | None = ...,
        max_steps: int | None = ...,
    ) -> PartialBabyAI: ...

    def __new__(
        cls,
        *,
        toolset: Toolset = "objects",
        view: View = "full",
        level: str | None = None,
        max_steps: int | None = None,
    ) -> BabyAI | PartialBabyAI:
        """The environment of the chosen view."""
        if view == "partial":
            return PartialBabyAI(toolset=toolset, level=level, max_steps=max_steps)
        return super().__new__(cls)

    @classmethod
    def from_argument(
        cls,
        argument: str,
        *,
        toolset: Toolset = "objects",
        view: View = "full",
        max_steps: int | None = None,
    ) -> BabyAI | PartialBabyAI:
        """`babyai:GoToLocal`: the environment with one of BabyAI's own levels."""
        if view == "partial":
            return PartialBabyAI(toolset=toolset, level=argument, max_steps=max_steps)
        return cls(toolset=toolset, level=argument, max_steps=max_steps)
