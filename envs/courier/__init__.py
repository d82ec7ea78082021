"""A small text world: a courier, items to deliver, containers that may be locked.

It ships with agentlab to try things on without any extra, and the tests of what learns run on
it as well as on BabyAI.
"""

from agentlab.envs.courier.environment import Courier

__all__ = ["Courier"]
