"""Model endpoints. Nothing here is loaded until a run names a model or an endpoint."""

from __future__ import annotations
