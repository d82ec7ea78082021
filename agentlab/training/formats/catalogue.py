"""Every format, by name. What each is for stands in its own docstring."""

from __future__ import annotations

from agentlab.training.formats.chat import MsSwift, OpenAIChat, TrlChat
from agentlab.training.formats.format import Format
from agentlab.training.formats.published import DatasetFolder, LlamaFactory
from agentlab.training.formats.traces import ArtGroups, OpenEnvTrace, VerifiersTrace
from agentlab.training.formats.trl import TrlDpo, TrlGrpoReplay, TrlKto, TrlSft
from agentlab.training.formats.verl import VerlRl, VerlSft

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
        OpenEnvTrace(),
        VerifiersTrace(),
        ArtGroups(),
        VerlRl(),
        VerlSft(),
        LlamaFactory(),
        DatasetFolder(),
    )
}
