"""Find out how far a judge may be trusted, before its verdicts count.

A judge is a chat model that reads what happened and says whether the task was done. Where a
verifier knows the outcome, the judge can be measured by it; that is kept in the workspace and
decides whether the judge may admit items and label exports in this environment. Practise first
(01_practice.py), so that there are attempts to read. Then, with an endpoint of your own:

    python examples/calibrate_judge.py openai:<model>

Without a model a rule stands in, which sees the request alone and reads the courier's world as
somebody with little time would: it looks at the words and forgets that order matters.
"""

import json
import os
import re
import sys

from agentlab.analysis.calibration import Scope, calibrate
from agentlab.errors import AgentLabError
from agentlab.models.opening import open_model
from agentlab.models.scripted import ScriptedModel
from agentlab.records.calibrations import refusal
from agentlab.types import ChatRequest

SHOWS = {
    r"go to (.*)": "You are at the {0}",
    r"pick up (.*)": "hold the {0}",
    r"unlock (.*)": r"{0}(?! \(locked)",
    r"deliver (.*) to (.*)": r"{1} \([^)]*with [^)]*{0}",
}
"""What is asked, and what shows that it was done."""


def hasty(request: ChatRequest) -> str:
    """A judge's replies: the points of an instruction, or the findings for a record."""
    asked = request.messages[-1].text
    if request.schema_name == "points":
        wish = asked.split("⟦")[1].split("⟧")[0].rstrip(".")
        clauses = re.split(", then | and ", wish[:1].lower() + wish[1:])
        return json.dumps({"points": [{"text": c, "about": "world"} for c in clauses]})
    findings = [
        found(int(n), clause, asked)
        for n, clause in re.findall(r"(\d+)\. \(world\) ([^\n⟧]*)", asked)
    ]
    verdict = "success" if all(each["met"] == "yes" for each in findings) else "failure"
    mark = asked.split("The mark: ")[1].strip()
    return json.dumps({"mark": mark, "findings": findings, "verdict": verdict, "why": "as shown"})


def found(number: int, clause: str, asked: str) -> dict[str, object]:
    """Whether a clause holds, and the words of the record that show it."""
    for wish, shows in SHOWS.items():
        if match := re.fullmatch(wish, clause):
            things = [re.sub(r"^the |^somewhere called ", "", each) for each in match.groups()]
            things = [re.sub(r"^a |^something ", "", each) for each in things]
            if seen := re.findall(rf"(?m)^⟦?\d+ shown\| .*({shows.format(*things)})", asked):
                return {"point": number, "quotation": seen[-1], "met": "yes"}
    return {"point": number, "quotation": "", "met": "no"}


if __name__ == "__main__":
    try:
        model = open_model(sys.argv[1]) if len(sys.argv) > 1 else ScriptedModel(hasty)
        workspace = os.environ.get("AGENTLAB_WORKSPACE", ".agentlab")
        scope = Scope(environment="courier", limit=200, heldout=True)
        measured = calibrate(workspace, "judge", model=model, scope=scope)
    except AgentLabError as error:
        sys.exit(f"Error: {error}")
    for name, figures in (("practice", measured.figures), ("held-out", measured.heldout)):
        if figures:
            print(f"{name}: {figures.attempts} attempts at {figures.tasks} tasks")
            for rate in ("precision", "recall", "kappa"):
                if figure := getattr(figures, rate):
                    interval = f"{figure.low:.2f} to {figure.high:.2f}, n={figure.n}"
                    print(f"  {rate} {figure.value:.2f} ({interval})")
    print(f"{measured.spent.calls} model calls, {measured.spent.tokens} tokens")
    print(refusal(measured) or "Its verdicts may admit items and label exports here.")
