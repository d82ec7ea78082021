"""An agent inside an application: attempts outside practice, with a library at hand.

`Agent` is the whole surface; its parts are the modules beside it. Attempts are on record, items
go on being measured, and what is learnt from them is served only after it was verified.
"""

from __future__ import annotations

from agentlab.agent.agent import Agent
from agentlab.agent.results import AttemptEnded, LearningReport, RunResult

__all__ = ["Agent", "AttemptEnded", "LearningReport", "RunResult"]
