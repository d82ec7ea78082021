"""Practise in a small text world: the shortest program that learns something.

Prints how often held-out tasks succeed with what was learnt and without it, and the skills.
"""

import agentlab

if __name__ == "__main__":  # attempts run in worker processes, which import this file
    report = agentlab.practice("courier", rounds=2, attempts=20, heldout=20, seed=1)
    print(f"{report.attempts} attempts, {report.skills.admitted} skills admitted")
    if report.heldout and report.heldout.baseline:
        print(f"with the library {report.heldout.success_rate:.2f}", report.heldout.interval)
        print(f"without it {report.heldout.baseline.success_rate:.2f}, n={report.heldout.n}")
    for skill in report.learnt:
        print(f"- {skill.signature}: {skill.summary}")
