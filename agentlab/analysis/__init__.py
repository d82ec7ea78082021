"""From recorded attempts to what is shown: curves over budgets, and two arms compared.

Pure functions over frozen records; nothing here opens a store or decides anything.
"""

from __future__ import annotations

from agentlab.analysis.curve import (
    Area,
    Curve,
    FirstSuccess,
    Point,
    area,
    charge,
    curve_area,
    success_curve,
)

__all__ = [
    "Area",
    "Curve",
    "FirstSuccess",
    "Point",
    "area",
    "charge",
    "curve_area",
    "success_curve",
]
