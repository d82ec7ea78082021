"""Environments: how one is made by name, how one is checked, and those that come with agentlab.

Nothing is imported here, so that naming one environment loads no other.
"""

from __future__ import annotations
