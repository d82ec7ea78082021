"""From recorded attempts to what is shown: curves, tallies, arms compared, numbers in words.

Nothing here decides anything. This file imports nothing, so that a command's `--help`, which
needs words for numbers and no statistics, loads none.
"""
