"""The command line: what the library can do, for a person at a terminal and for scripts.

Modules here import click and the standard library at their head and everything else inside
the commands, so that `agentlab --help` is quick. Nothing else imports this package.
"""
