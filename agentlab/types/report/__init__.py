"""What a run, an evaluation or a look into the workspace says, as data.

The runner and the catalogues fill these; the command line, the tests and other programs read
them. `model_dump(mode="json")` of a report is the JSON that the command prints, so a field
renamed here is an interface changed.
"""

from __future__ import annotations

from agentlab.types.report.canaries import CanaryLine, CanaryOutcome, CanaryReport
from agentlab.types.report.evaluation import (
    ArmReport,
    Difference,
    EvaluationReport,
    Interval,
    Rate,
)
from agentlab.types.report.library import (
    CollectionLine,
    InsightDetail,
    InsightLine,
    PromotionLine,
    ReindexReport,
    SkillDetail,
    SkillEffect,
    SkillLine,
    SkillMatch,
    SkillRunReport,
    StatusChange,
)
from agentlab.types.report.runs import (
    INTERRUPTED,
    WAITS,
    ConfigDifference,
    PracticeReport,
    RoundLine,
    RunComparison,
    RunDetail,
    RunStatus,
    RunSummary,
    SkillCounts,
    TaskCounts,
)

__all__ = [
    "INTERRUPTED",
    "WAITS",
    "ArmReport",
    "CanaryLine",
    "CanaryOutcome",
    "CanaryReport",
    "CollectionLine",
    "ConfigDifference",
    "Difference",
    "EvaluationReport",
    "InsightDetail",
    "InsightLine",
    "Interval",
    "PracticeReport",
    "PromotionLine",
    "Rate",
    "ReindexReport",
    "RoundLine",
    "RunComparison",
    "RunDetail",
    "RunStatus",
    "RunSummary",
    "SkillCounts",
    "SkillDetail",
    "SkillEffect",
    "SkillLine",
    "SkillMatch",
    "SkillRunReport",
    "StatusChange",
    "TaskCounts",
]
