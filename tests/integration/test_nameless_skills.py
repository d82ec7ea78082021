"""A chat model practises where nothing can be asked for in words: functions over nested facts.

It writes the tasks with code that checks them, and functions whose effect has no name. What it
wrote well is admitted by its effect check and by trials on its own tasks; what claims an effect
that it has not is refused. Rules that see the request alone answer for the model.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import JsonValue

import agentlab
from agentlab.library.admission import REJECTED
from agentlab.library.controls import INSTEAD
from agentlab.records import Records, Workspace
from agentlab.testing.model_server import ModelServer
from agentlab.testing.rules.reading import acting, calls_made, json_reply, labelled, whole_text
from agentlab.testing.rules.roles import wanted_schema
from agentlab.types import ChatRequest, JsonObject, Message, Skill, derive_uniform, digest
from tests.unit.graph.test_nameless_effects import BANK

ASKED = re.compile(r"for '(\w+)' that holds (\d+)")
STEP = re.compile(r"(?m)^Step \d+: ([\w.-]+)\((\{.*\})\) -> (?!refused)")
THINKS = 0.4
"""Of the tasks, those at which it thinks of opening an account before it pays in."""
DOC = '    """Open an account.\n\n    Precondition: none.\n    Effect: it holds that.\n    """\n'
BODY = "    env.open_account(owner=owner)\n    env.pay_in(owner=owner, amount=amount)\n"
HOLDS = (
    "    after = final['accounts'].get(owner)\n"
    "    return after is not None and after['balance'] == amount "
    "and owner not in initial['accounts']\n"
)
CHECKS = ("    return True\n", "    return initial != final\n", HOLDS)
"""What it promises, first and when it mends; only the last is an effect."""


def model(request: ChatRequest) -> Message:
    """Every role."""
    schema = wanted_schema(request)
    properties = schema.get("properties") if schema is not None else None
    if isinstance(properties, dict):
        return json_reply(_skill(request) if "effect_source" in properties else _tasks(request))
    made = [(use.name, json.loads(use.arguments), answer) for use, answer in calls_made(request)]
    wanted = [(owner, int(amount)) for owner, amount in ASKED.findall(labelled(request, "task"))]
    skill = next((t.name for t in request.tools if t.name.startswith("open_with")), None)
    if skill is not None:
        calls = [(skill, {"owner": owner, "amount": amount}) for owner, amount in wanted]
    else:
        there = re.findall(r'"(\w+)": ?\{"balance"', whole_text(request))[:3]
        calls = [("look", {"owner": owner}) for owner in there]
        thinks = derive_uniform("thinks", wanted) < THINKS
        for owner, amount in wanted:
            calls += [("open_account", {"owner": owner})] if thinks else []
            calls.append(("pay_in", {"owner": owner, "amount": amount}))
    refused = bool(made) and re.match(r"\W*(?:Error|The call was refused|Not carried)", made[-1][2])
    if refused or len(made) >= len(calls):
        return Message(role="assistant", text="That is all I can do.")
    return acting(request, cast("list[tuple[str, JsonObject]]", calls[len(made) : len(made) + 1]))


def _tasks(request: ChatRequest) -> JsonObject:
    """Tasks for the start state that it is shown."""
    count = (
        int(found[1]) if (found := re.search(r"Propose (\d+) tasks", whole_text(request))) else 1
    )
    drafts: list[JsonObject] = []
    for number in range(count):
        spelt = digest(whole_text(request), number)
        pairs = [(f"x{spelt[at : at + 5]}", 1 + int(spelt[at : at + 4], 16) % 40) for at in (0, 9)]
        solution: list[JsonObject] = []
        for owner, amount in pairs:
            solution.append({"tool": "open_account", "arguments": {"owner": owner}})
            paid: JsonObject = {"owner": owner, "amount": amount}
            solution.append({"tool": "pay_in", "arguments": paid})
        said = " and ".join(f"for '{owner}' that holds {amount}" for owner, amount in pairs)
        drafts.append(
            {
                "instruction": f"Open an account {said}.",
                "verify": "def verify(initial, final, answer):\n"
                f"    wanted = {dict(pairs)!r}\n"
                "    there = final['accounts']\n"
                "    return all(o in there and there[o]['balance'] == a "
                "for o, a in wanted.items())\n",
                "solution": list(solution),
                "failing": [list(solution[:1]), list(solution[:3])],
            }
        )
    return {"tasks": list(drafts)}


def _skill(request: ChatRequest) -> JsonObject:
    """The same function each time, with the next promise where it is asked to mend."""
    before = labelled(request, "effect check")
    check = next((new for old, new in pairwise(CHECKS) if old.strip() in before), CHECKS[0])
    taken = labelled(request, "taken").split()
    name = f"open_with_{len(taken)}" if taken and taken != ["none"] else "open_with"
    given = "owner: str, amount: int"
    tests: list[JsonValue] = []
    told = re.split(r"(?m)^Attempt (\d+)$", labelled(request, "solved attempts"))
    for number, text in zip(told[1::2], told[2::2], strict=True):
        calls = [(tool, json.loads(arguments)) for tool, arguments in STEP.findall(text)]
        paid = next(arguments for tool, arguments in calls if tool == "pay_in")
        tests.append({"attempt": int(number), "arguments": paid})
    return {
        "name": name,
        "summary": "Open an account that holds an amount.",
        "source": f"def {name}(env, *, {given}):\n{DOC}{BODY}",
        "parameters": [
            {"name": "owner", "type": "string", "requires": {}},
            {"name": "amount", "type": "integer", "requires": {}},
        ],
        "precondition": [],
        "effect": ["There is an account of the owner, which holds the amount."],
        "effect_source": f"def check(initial, final, *, {given}):\n{check}",
        "achieves": None,
        "tests": tests,
    }


@pytest.mark.timeout(300)
def test_what_has_no_name_is_learnt_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nothing")
    place = tmp_path / "bank.py"
    place.write_text(BANK, encoding="utf-8")
    given: dict[str, Any] = {
        "model": "openai:rules",
        "seed": 1,
        "rounds": 2,
        "attempts": 8,
        "proposals": 8,
        "tool_calls": 20,
        "index": "exact",
        "concurrency": 2,
        "insights": "none",
        "admission.replays": 3,
        "admission.trials": 4,
    }
    with ModelServer(model) as server:
        given["endpoint.base_url"] = server.base_url
        report = agentlab.practice(f"tools:{place}", workspace=tmp_path / "workspace", **given)
    assert report.status == "finished" and report.heldout is None
    assert report.tasks.admitted >= 12
    with Records.open(Workspace.open(tmp_path / "workspace")) as records:
        rows = records.items.skills()
        moves = {row.item.id: records.items.history(row.item.id) for row in rows}
    served = [row.item for row in rows if row.status == "active"]
    refused = [row for row in rows if row.status != "active"]
    reasons = [(row.item.version, row.status, row.reason) for row in rows]
    assert [HOLDS in skill.effect_source for skill in served] == [True], reasons
    assert report.skills.admitted == 1
    # Only the promise was wrong of those before it: always true, and true of any change.
    assert len(refused) == 2 and all(
        row.reason.startswith(f"{REJECTED}effect: it passes ") for row in refused
    ), reasons
    (skill,) = served
    check_evidence(skill, moves[skill.id][-1].evidence)


def check_evidence(skill: Skill, evidence: JsonObject) -> None:
    """What it was admitted on is on record: fresh arguments, controls, and tasks of the model's."""
    assert skill.achieves is None and skill.origin == "model"
    replays, trials = evidence["replays"], evidence["trials"]
    assert isinstance(replays, list) and isinstance(trials, list)
    assert len(replays) >= 3 and INSTEAD in json.dumps(replays)
    assert sum(1 for t in trials if isinstance(t, dict) and t["solved_with"] and t["used"]) >= 2
