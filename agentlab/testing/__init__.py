"""Public suites and fixtures for people who extend agentlab.

`runtime_conformance` says what every `SkillRuntime` must do, `index_conformance` what every
`VectorIndex`; the hostile packs and poisoned skills are what an importer must refuse. Nothing in
agentlab's own running depends on this package. The small text world that implements every
environment protocol in full is `agentlab.envs.courier`.
"""

from __future__ import annotations
