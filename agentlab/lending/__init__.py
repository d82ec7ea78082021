"""A library lent to other programs: its verified skills as tools that they call themselves.

Here another agent, framework or program chooses the calls, and agentlab does what it promises:
skill code runs in a box, only what is verified serves, and what came of it is on record.
`library` is the public handle, `visit` one episode, `shapes` how tools are told to others,
`packs` how a pack comes in by one call, and `portal` the thread in which all of it lives.
"""
