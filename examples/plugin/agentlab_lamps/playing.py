"""A scripted player, for whoever tries the exporter without a chat model at hand.

`--model scripted:agentlab_lamps.playing:play` is asked like any model; it reads the task and what
it has called so far from the request alone.
"""

from __future__ import annotations

import json
import re

from agentlab.types import ChatReply, ChatRequest, Message, ToolUse


def play(request: ChatRequest) -> ChatReply:
    """The next call of going there, uncovering and switching; then an answer."""
    text = "\n".join(message.text for message in request.messages)
    made = sum(len(message.tool_uses) for message in request.messages)
    asked = re.findall(r"[Ll]ight the (\w+) lamp", text)
    if not asked or made >= 3:
        return ChatReply(message=Message(role="assistant", text="Done."))
    tool, name = (("go", "to"), ("uncover", "lamp"), ("switch", "lamp"))[made]
    arguments = json.dumps({name: {"kind": "lamp", "colour": asked[-1]}})
    use = ToolUse(id=str(made), name=tool, arguments=arguments)
    return ChatReply(message=Message(role="assistant", text="", tool_uses=(use,)))
