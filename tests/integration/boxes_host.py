"""A host that is about to be killed: opens a runtime on a box and leaves a skill at work.

    python -m tests.integration.boxes_host BOX idle|answer|loop|sleep

It prints a line when the skill is at work, and then waits.
"""

from __future__ import annotations

import asyncio
import sys

from agentlab.protocols import SkillRuntime
from agentlab.sandbox import RuntimeLimits, SubprocessRuntime, open_runtime
from agentlab.testing.runtime_conformance import TOOLS, Recorder, searched_skill
from agentlab.types import StepResult, ToolCall

BODIES = {
    "idle": "env.look()",
    "answer": "env.look()\n    import time\n    time.sleep(0.5)",
    "loop": "open('left', 'w').close()\n    env.look()\n    while True: pass",
    "sleep": "env.look()\n    import time\n    time.sleep(600)",
}


class Telling(Recorder):
    """Tells that the skill is at work."""

    async def __call__(self, call: ToolCall) -> StepResult:
        print("at work", flush=True)
        return await super().__call__(call)


async def main() -> None:
    """Never returns."""
    box, work = sys.argv[1:]
    limits = RuntimeLimits(seconds=600, cpu_seconds=600)
    runtime: SkillRuntime = (
        SubprocessRuntime(limits) if box == "kept" else open_runtime(box, limits=limits)
    )
    body = BODIES[work]
    if box == "landlock":  # which has no place for files
        body = body.replace("open('left', 'w').close()", "pass")
    skill = searched_skill("act", f"def act(env):\n    {body}\n")
    await runtime.open([skill], TOOLS)
    await runtime.evaluate("def f():\n    return 1\n", "f", {})
    await runtime.call("act", {}, Telling())
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main())
