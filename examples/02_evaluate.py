"""Measure what a library is worth, on held-out tasks that nothing was learnt from.

With the library and without it: the same tasks, the same seeds, the same budget. Nothing is
learnt here. Practise first (01_practice.py), or both arms are the same.
"""

import agentlab

if __name__ == "__main__":
    report = agentlab.evaluate("courier", tasks=20, tool_calls=500, baseline=True)
    print(f"success {report.success_rate:.2f}, n={report.n}, 95% interval {report.interval}")
    if report.difference:
        low, high = report.difference.interval
        print(f"more than without: {report.difference.value:+.2f} ({low:+.2f} to {high:+.2f})")
    print("skills in the solutions:", ", ".join(report.skills_used) or "none")
