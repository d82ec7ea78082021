"""BFCL's multi-turn APIs: its own tasks for models, and tasks composed over its APIs.

Two environments over the same eight APIs (file system, maths, messages, tickets, trading,
travel, posting, vehicle), which keep their state in memory and touch nothing outside:

- `bfcl` composes tasks from what can become true of the APIs' state, for search and for models;
- `bfcl-turns` is the benchmark itself, conversations that its own checker judges, for models.
"""

from __future__ import annotations

from agentlab.environments.bfcl import package

package.require()
