"""Formats: how samples are spelt for one trainer each. What a format cannot hold it refuses."""
