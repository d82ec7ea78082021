"""Every format, by name. What each is for stands in its own docstring."""

from __future__ import annotations

from agentlab.training.formats.chat import MsSwift, OpenAIChat, TrlChat
from agentlab.training.formats.format import Format
from agentlab.training.formats.trl import TrlDpo, TrlGrpoReplay, TrlKto, TrlSft

FORMATS: dict[str, Format] = {
    each.name: each
    for each in (
        OpenAIChat(),
        TrlChat(),
        MsSwift(),
        TrlSft(),
        TrlDpo(),
        TrlKto(),
        TrlGrpoReplay(),
    )
}
