"""A small text world that is seen one chamber at a time, in words that a tiny model can learn.

It ships with agentlab so that weights can be trained and compared without a download: what is
said in it is short, its maps are held out by shape, and it takes looking around to do well.
"""

from agentlab.envs.burrow.environment import Burrow

__all__ = ["Burrow"]
