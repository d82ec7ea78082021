"""`python -m agentlab`: the command, where its script is not on the path."""

from __future__ import annotations

from agentlab.cli.main import main

if __name__ == "__main__":
    main()
