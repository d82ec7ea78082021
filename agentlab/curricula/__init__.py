"""Which tasks to practise next; one published rule a file, each a `protocols.Curriculum`.

A curriculum turns unassisted outcomes into probabilities and draws nothing. `draw` does that,
reproducibly. Neither knows what a template means.
"""

from __future__ import annotations

from agentlab.curricula.draw import Choice, Pool, TaskChoice, draw, draw_tasks
from agentlab.curricula.learning_progress import LearningProgress
from agentlab.curricula.uniform import Uniform

__all__ = [
    "Choice",
    "LearningProgress",
    "Pool",
    "TaskChoice",
    "Uniform",
    "draw",
    "draw_tasks",
]
