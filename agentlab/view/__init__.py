"""The page that shows runs: live while they practise, and long afterwards.

Each page is made in two steps: `pages` turns records into a frozen model, a template shows it.
Nothing here changes a record, but for the verdict of a person at a human gate.
"""
