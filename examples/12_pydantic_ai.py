"""A library's skills in a pydantic-ai agent, from their form as OpenAI tools.

Whatever takes a name, a description and a JSON schema takes them so; what takes LangChain tools,
such as LangChain's `create_agent`, takes `library.as_tools()` as it is. The endpoint is
`OPENAI_BASE_URL`, the model `OPENAI_MODEL`.
"""

import os

from pydantic_ai import Agent, Tool
from pydantic_ai.models.openai import OpenAIChatModel

import agentlab


def tool(library: agentlab.Library, spec: agentlab.OpenAITool) -> Tool[object]:
    """The tool as pydantic-ai has it."""
    name, about = spec["function"]["name"], spec["function"].get("description")

    def call(**arguments: object) -> str:
        return library.call(name, arguments).text

    return Tool[object].from_schema(call, name, about, spec["function"].get("parameters", {}))


if __name__ == "__main__":  # what a pack brings is verified in worker processes
    agentlab.add_pack("agentlab/courier", approve=True)
    with agentlab.Library("courier", environment_tools=True, withhold=False) as library:
        task = library.tasks(1, seed=5)[0]
        opening, tools = library.begin(task), library.as_openai_tools()
        model = OpenAIChatModel(os.environ["OPENAI_MODEL"])
        agent = Agent(model, deps_type=object, tools=[tool(library, spec) for spec in tools])
        print(agent.run_sync(opening).output)
        outcome = library.end()
        print(f"{task.instruction}: {'done' if outcome and outcome.success else 'not done'}")
