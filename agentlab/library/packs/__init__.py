"""Packs: a library, or part of one, made portable, and what is checked before one is believed.

Format `agentlab.pack/1`. Nothing here knows records, runs or boxes: files come in as bytes and
go out as bytes, and a pack that was read is a value. Nothing in a pack is ever executed,
followed or obeyed here.
"""

from __future__ import annotations
