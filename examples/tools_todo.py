"""A tool set of your own, a to-do list; practise with it, without any key.

    agentlab practice tools:examples/tools_todo.py --model search --rounds 3

Names are yours: `--option state=my_facts` if the facts come from another function. Without
`reset` the module is executed anew; without `snapshot` and `restore` calls are repeated.
"""

import copy
import random

lists: dict[str, dict[str, bool]] = {}


def add(title: str, project: str) -> None:
    """Add an open item to a project, which must exist."""
    lists[project][title] = False


def start_project(project: str) -> None:
    """Start a new, empty project."""
    if project in lists:
        raise ValueError(f"{project} exists already")
    lists[project] = {}


def finish(title: str) -> None:
    """Tick an item off, wherever it is."""
    home = next(items for items in lists.values() if title in items)
    home[title] = True


def state() -> dict[str, object]:
    """The facts, which tasks ask for and verifiers read."""
    items = [(p, t, d) for p, ts in lists.items() for t, d in ts.items()]
    return {
        "items": [{"project": p, "title": t, "done": d} for p, t, d in items],
        "projects": [{"project": p} for p in lists],
    }


def reset(seed: int) -> None:
    """Start states differ by seed."""
    draw, titles = random.Random(seed), ["buy milk", "call Ann", "fix the door", "plan a trip"]
    lists.clear()
    lists.update({p: {} for p in draw.sample(["home", "work", "garden"], 2)})
    for title in draw.sample(titles, 2):
        lists[draw.choice(sorted(lists))][title] = False


def snapshot() -> object:
    """What `restore` needs."""
    return copy.deepcopy(lists)


def restore(saved: dict[str, dict[str, bool]]) -> None:
    """Go back."""
    lists.clear()
    lists.update(copy.deepcopy(saved))
