"""Put a library to work: an agent that attempts tasks outside practice.

The agent is offered the skills that fit the task, and its attempts are on record as production,
so that each skill's effect goes on being measured. Practise first (01_practice.py), or it has
none.
"""

import agentlab

if __name__ == "__main__":  # attempts run in worker processes, which import this file
    with agentlab.Agent("courier") as agent:
        for task in agent.tasks(3, seed=1):
            result = agent.run(task)
            done = "done" if result.success else "not done"
            print(f"{task.instruction}: {done} in {result.tool_calls} tool calls")
            print("  with", ", ".join(result.skills_used) or "no skill")
