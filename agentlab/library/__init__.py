"""What was learnt: skills and insights, how they enter, are found, measured and retired.

Each module is imported by its own name; this package loads nothing by itself.
"""
