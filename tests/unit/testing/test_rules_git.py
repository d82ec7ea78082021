"""The rules that know Git: what they forget, what helps, and what they think of."""

from __future__ import annotations

import random

import pytest

from agentlab.testing.rules import asked, effects, git
from agentlab.testing.rules.insights import lesson
from agentlab.types import JsonObject, ToolSpec
from tests.unit.testing.acting_by_rule import Played, play

ADVICE = "[i1] When: nothing is staged | Advice: add a changed file first, and then commit."
TEXT: JsonObject = {"type": "string"}
FILES: JsonObject = {"type": "array", "items": TEXT}


def _tool(name: str, **properties: JsonObject) -> ToolSpec:
    schema: JsonObject = {"type": "object", "properties": {**properties}, "required": []}
    return ToolSpec(name=name, description=name, parameters=schema)


TOOLS = (
    _tool("git_add", files=FILES),
    _tool("git_commit", message=TEXT),
    _tool("git_reset"),
    _tool("git_create_branch", base_branch=TEXT, branch_name=TEXT),
    _tool("git_checkout", branch_name=TEXT),
)


class Repository:
    """As much of Git as the facts tell."""

    def __init__(self) -> None:
        self.branches, self.current = ["drafts", "main"], "main"
        self.staged, self.untracked = list[str](), ["amber.txt", "birch.txt", "cedar.txt"]
        self.commits = ["Begin."]

    def told(self) -> str:
        sets = {
            "branches": [{"branch": each} for each in self.branches],
            "current": [{"branch": self.current}],
            "staged": [{"path": each} for each in self.staged],
            "untracked": [{"path": each} for each in self.untracked],
            "commits": [{"message": each} for each in self.commits],
        }
        lines = ["The facts now:"]
        for name, members in sets.items():
            lines += [f"{name}: {len(members)}", *(f"- {_json(each)}" for each in members)]
        return "\n".join(lines)

    def act(self, tool: str, arguments: JsonObject) -> str | None:
        value = next(iter(arguments.values()), "")
        match tool:
            case "git_add":
                assert isinstance(value, list)
                found = [path for path in self.untracked if path in value]
                self.untracked = [path for path in self.untracked if path not in found]
                self.staged += found
            case "git_commit" if not self.staged:
                return "No changes staged for commit. Use git_add to stage changes first."
            case "git_commit":
                self.staged, self.commits = [], [*self.commits, str(value)]
            case "git_checkout" if value not in self.branches:
                return f"Ref '{value}' did not resolve to an object"
            case "git_checkout":
                self.current = str(value)
            case "git_create_branch":
                self.branches.append(str(value))
            case _:
                self.untracked, self.staged = [*self.untracked, *self.staged], []
        return None


def _json(record: dict[str, str]) -> str:
    ((key, value),) = record.items()
    return f'{{"{key}":"{value}"}}'


def attempt(*clauses: asked.Clause, advice: str = "none") -> Played:
    repository = Repository()

    def perform(tool: str, arguments: JsonObject) -> tuple[str, str | None, bool]:
        why = repository.act(tool, arguments)
        told = repository.told()
        now = asked.facts(told)
        return told, why, now is not None and all(asked.holds(each, now) for each in clauses)

    said = asked.JOINT.join(each.words for each in clauses)
    task = f"{asked.OPENING}{said}."
    return play(git.play, task, repository.told(), TOOLS, perform, advice=advice)


COMMIT = asked.Clause(True, "commits", {"message": "Say more."})
TOPIC = asked.Clause(True, "current", {"branch": "topic"})


@pytest.mark.parametrize("clause", [COMMIT, TOPIC])
def test_what_comes_first_is_forgotten_until_something_says_it(clause: asked.Clause) -> None:
    assert not attempt(clause).done
    helped = attempt(clause, advice=ADVICE)
    assert helped.done and len(helped.calls) == 2


@pytest.mark.parametrize(
    "clause",
    [
        asked.Clause(True, "branches", {"branch": "topic"}),
        asked.Clause(True, "current", {"branch": "drafts"}),
        asked.Clause(False, "current", {"branch": "main"}),
        asked.Clause(True, "staged", {"path": "amber.txt"}),
        asked.Clause(False, "untracked", {"path": "birch.txt"}),
    ],
)
def test_what_takes_one_call(clause: asked.Clause) -> None:
    played = attempt(clause)
    assert played.done and len(played.calls) == 1


def test_a_commit_comes_before_what_is_to_stay_staged() -> None:
    staged = asked.Clause(True, "staged", {"path": "amber.txt"})
    played = attempt(staged, COMMIT, advice=ADVICE)
    assert played.done
    assert [name for name, _ in played.calls] == ["git_add", "git_commit", "git_add"]


def test_what_nobody_knows_is_given_up() -> None:
    assert not attempt(asked.Clause(False, "commits", {"message": "Begin."})).calls
    assert not attempt(asked.Clause(True, "files", {"path": "a.txt", "text": "b"})).calls


def test_tasks_that_are_made_up_are_mostly_solved_by_their_solutions() -> None:
    assert git.fits(TOOLS) and not git.fits(TOOLS[:1])
    found = 0
    for seed in range(60):
        made = effects.effect(
            Repository().told(), TOOLS, random.Random(seed), forgets=False, craft=git.CRAFT
        )
        if made is None:
            continue
        repository, clauses = Repository(), asked.parse(made.text)
        for tool, arguments in made.solution:
            repository.act(tool, arguments)
        now = asked.facts(repository.told())
        assert clauses and now is not None
        found += all(asked.holds(each, now) for each in clauses)
    # Of two commits it stages for the first alone, and is told so when the task is rehearsed.
    assert 40 <= found < 60


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("refused: No changes staged for commit. Use git_add", "Add a changed file"),
        ("refused: Ref 'topic' did not resolve to an object", "Create the branch first"),
    ],
)
def test_lessons(said: str, advice: str) -> None:
    found = lesson(said)
    assert found is not None and advice in str(found["advice"])
