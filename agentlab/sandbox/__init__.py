"""Where skill code runs: outside the agent's own process, behind `protocols.SkillRuntime`.

The host and its child talk in lines (`protocol`); one runtime (`runtime`) holds that
conversation and checks it, whatever the box. A box (`box`) is how the child is started and
kept in: `bubblewrap` and `landlock` here, `docker` and `e2b` as adapters, and a plain
`subprocess`, which is no boundary and takes only code that search made. `choice` picks the
first box that passes its probes.
"""

from __future__ import annotations

from agentlab.config import BoxName
from agentlab.sandbox.box import Box, Started
from agentlab.sandbox.choice import (
    SettledBox,
    choose_box,
    open_runtime,
    open_settled,
    reports,
    settle_box,
)
from agentlab.sandbox.probe import describe_box
from agentlab.sandbox.protocol import RuntimeLimits
from agentlab.sandbox.runtime import BoxRuntime
from agentlab.sandbox.selftest import BoxReport, examine
from agentlab.sandbox.subprocess import PlainBox, SubprocessRuntime

__all__ = [
    "Box",
    "BoxName",
    "BoxReport",
    "BoxRuntime",
    "PlainBox",
    "RuntimeLimits",
    "SettledBox",
    "Started",
    "SubprocessRuntime",
    "choose_box",
    "describe_box",
    "examine",
    "open_runtime",
    "open_settled",
    "reports",
    "settle_box",
]
