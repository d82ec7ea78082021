"""The version, where every layer may read it without importing the package's public names."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent
"""The folder of the package, in a checkout or where it is installed."""
__version__ = "0.1.0"
