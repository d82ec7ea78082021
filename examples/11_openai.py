"""A library's skills as tools, with the OpenAI SDK alone: the loop is yours.

The skills run in a box, in an environment that the library holds for you; each answer says whether
the skill did what it says. The endpoint is `OPENAI_BASE_URL`, the model `OPENAI_MODEL`.
"""

import os
from typing import Any

import openai

import agentlab

if __name__ == "__main__":  # what a pack brings is verified in worker processes
    agentlab.add_pack("agentlab/courier", approve=True)
    client, model = openai.OpenAI(), os.environ["OPENAI_MODEL"]
    with agentlab.Library("courier", environment_tools=True, withhold=False) as library:
        task = library.tasks(1, seed=5)[0]
        messages: list[Any] = [{"role": "user", "content": library.begin(task)}]
        tools = library.as_openai_tools()
        uses: list[Any] = []
        while uses or len(messages) == 1:
            for use in uses:
                told = library.call(use.function.name, use.function.arguments).text
                messages.append({"role": "tool", "tool_call_id": use.id, "content": told})
            chat = client.chat.completions.create(model=model, messages=messages, tools=tools)
            messages.append(chat.choices[0].message)
            uses = chat.choices[0].message.tool_calls or []
        outcome = library.end()
        print(f"{task.instruction}: {'done' if outcome and outcome.success else 'not done'}")
