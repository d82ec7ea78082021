"""Practise → export → train → serve → gate → practise, unattended and resumable at each stage."""

from __future__ import annotations

from agentlab.cycle.settings import CycleConfig, load_cycle

__all__ = ["CycleConfig", "load_cycle"]
