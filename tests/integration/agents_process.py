"""A process with an agent of its own on a workspace that others use as well, for a test.

python agents_process.py WORKSPACE SEED

It says `ready` and waits for a line, so that several begin at a time; then it attempts, gives
feedback and learns, and prints what it was told as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

from agentlab import Agent

ATTEMPTS = 12
"""Of which enough succeed that something can be learnt."""


def main() -> None:
    """Use one workspace as an application would."""
    workspace, seed = sys.argv[1], int(sys.argv[2])
    with Agent("courier", library=workspace, learning="on", tool_calls=300, seed=seed) as agent:
        tasks = agent.tasks(ATTEMPTS, seed=seed)
        print("ready", flush=True)
        sys.stdin.readline()

        async def use() -> dict[str, object]:
            done = await asyncio.gather(*(agent.arun(task) for task in tasks))
            for result in done:
                assert agent.feedback(result, success=True, comment=result.attempt_id)
            report = await agent.alearn()
            return {
                "attempts": [result.attempt_id for result in done],
                "run": report.run_id,
                "admitted": report.admitted,
            }

        print(json.dumps(asyncio.run(use())))


if __name__ == "__main__":
    main()
