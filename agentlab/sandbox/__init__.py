"""Where skill code runs: outside the agent's own process, behind `protocols.SkillRuntime`.

The host side and its child talk in lines (`protocol`). A plain subprocess with limits
(`subprocess`) is the one runtime here; it is no security boundary and takes only code that
search made.
"""

from __future__ import annotations

from agentlab.sandbox.probe import describe_box
from agentlab.sandbox.protocol import RuntimeLimits
from agentlab.sandbox.subprocess import SubprocessRuntime

__all__ = ["RuntimeLimits", "SubprocessRuntime", "describe_box"]
