"""Public suites and fixtures for people who extend agentlab.

`courier` is a small text world that implements every environment protocol in full;
`runtime_conformance` says what every `SkillRuntime` must do. Nothing in agentlab's own
running depends on this package.
"""

from __future__ import annotations
