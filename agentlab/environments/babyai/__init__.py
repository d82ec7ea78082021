"""BabyAI (minigrid): missions in simple English over rooms, doors, keys, balls and boxes."""

from __future__ import annotations

from agentlab.environments.babyai.environment import BabyAI

__all__ = ["BabyAI"]
