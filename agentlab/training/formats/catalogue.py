"""Every format, by name. What each is for stands in its own docstring.

Others come from plugins, as `format/NAME`, and are found beside these.
"""

from __future__ import annotations

from typing import cast

from agentlab.errors import UnknownNameError
from agentlab.registry import names, resolve
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
"""Those that ship with agentlab."""


def format_of(name: str) -> Format:
    """The format of that name, shipped or of a plugin.

    Raises:
        UnknownNameError: there is none; suggests near ones.
    """
    if name in FORMATS:
        return FORMATS[name]
    if name not in names("format"):
        raise UnknownNameError("format", name, [*FORMATS, *names("format")])
    return cast("type[Format]", resolve("format", name))()
