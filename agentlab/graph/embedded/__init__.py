"""Parts of agentlab as nodes of somebody else's LangGraph graph; `as_node` is the way in.

What these nodes read and write are plain JSON values under keys that the user names, so that a
state needs no reducer for them and any checkpointer can keep them.
"""
