"""Which box runs skill code on this machine, chosen by what holds; fail closed.

The order is fixed and the six probes decide. Where none holds, what search made still runs, in
a plain subprocess, and everything else is refused with the sentence that says what to install.
A box chosen by name must hold as well: only `unsafe-local` drops that, and says so in its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, get_args

from agentlab.config import BoxName
from agentlab.errors import SkillRefusedError, UnknownNameError
from agentlab.sandbox.box import Box
from agentlab.sandbox.bubblewrap import BubblewrapBox
from agentlab.sandbox.docker import DockerBox
from agentlab.sandbox.e2b import E2bBox
from agentlab.sandbox.landlock import LandlockBox
from agentlab.sandbox.protocol import RuntimeLimits
from agentlab.sandbox.runtime import INSTALL, BoxRuntime
from agentlab.sandbox.selftest import BoxReport, examine_once
from agentlab.sandbox.subprocess import PlainBox

ORDER = ("bubblewrap", "landlock")
"""What `auto` tries. The others cost money, an engine or safety, and are chosen by name."""


def unsafe_local() -> PlainBox:
    """A plain subprocess that takes code of every origin."""
    return PlainBox(unsafe_local=True)


BOXES: Mapping[str, Callable[[], Box]] = {
    "bubblewrap": BubblewrapBox,
    "landlock": LandlockBox,
    "docker": DockerBox,
    "e2b": E2bBox,
    "subprocess": PlainBox,
    "unsafe-local": unsafe_local,
}
REMOTE = ("e2b",)
UNWALLED = ("subprocess", "unsafe-local")


def choose_box(order: Sequence[str] = ORDER) -> Box:
    """The first box of the order all of whose probes hold, else a plain subprocess.

    The probes run once in the life of a process; the first time takes under a second.
    """
    for name in order:
        if _report(name).available:
            return _kind(name)()
    return PlainBox()


class SettledBox(NamedTuple):
    """A box that was chosen and found to hold, by this process or the one that started it."""

    name: str
    version: str = ""

    @property
    def takes_foreign_code(self) -> bool:
        """Whether code that search did not make may run in it."""
        return self.name != "subprocess"

    def __str__(self) -> str:
        """What a result is labelled with."""
        named = self.version.startswith(self.name)
        return self.version if named else f"{self.name} {self.version}".strip()


def settle_box(box: str = "auto", *, unsafe_local: bool = False) -> SettledBox:
    """The box that this name means here, after its probes.

    Raises:
        UnknownNameError: there is no box of that name; suggests near ones.
        SkillRefusedError: the named box cannot be used here; says why.
        MissingExtraError: the named box needs a package that is not installed.
    """
    chosen = _chosen("unsafe-local" if unsafe_local else box)
    return SettledBox(chosen.name, chosen.version())


def open_settled(
    box: str,
    *,
    limits: RuntimeLimits | None = None,
    single_use: bool = False,
    spares: int = 1,
    blocking: bool = False,
) -> BoxRuntime:
    """As `open_runtime`, for the name that `settle_box` gave: it is not probed again."""
    chosen = _kind(box)()
    return _opened(chosen, limits, single_use=single_use, spares=spares, blocking=blocking)


def open_runtime(
    box: str = "auto",
    *,
    limits: RuntimeLimits | None = None,
    unsafe_local: bool = False,
    single_use: bool = False,
    spares: int = 1,
    blocking: bool = False,
) -> BoxRuntime:
    """A runtime for one attempt at a time.

    Args:
        box: `auto`, or the name of a box (`BoxName`), which must then hold.
        limits: for each call.
        unsafe_local: run code of every origin without walls, as `unsafe-local`.
        single_use: a fresh child for each call, for code that is not verified yet.
        spares: children that are started ahead.
        blocking: wait for skill code where it is called; for a loop that nobody shares.

    Raises:
        UnknownNameError: there is no box of that name; suggests near ones.
        SkillRefusedError: the named box cannot be used here; says why.
        MissingExtraError: the named box needs a package that is not installed.
    """
    chosen = _chosen("unsafe-local" if unsafe_local else box)
    return _opened(chosen, limits, single_use=single_use, spares=spares, blocking=blocking)


def _chosen(box: str) -> Box:
    if box == "auto":
        return choose_box()
    if box in UNWALLED:
        return _kind(box)()
    report = _report(box)
    if not report.available:
        raise SkillRefusedError(
            f"The box {box!r} cannot be used here: {report.reason} Choose another, or {INSTALL}."
        )
    return _kind(box)()


def _opened(
    chosen: Box,
    limits: RuntimeLimits | None,
    *,
    single_use: bool,
    spares: int,
    blocking: bool,
) -> BoxRuntime:
    walled = chosen.name not in UNWALLED
    return BoxRuntime(
        chosen,
        limits,
        spares=spares if walled or single_use else 0,
        single_use=single_use,
        keep=chosen.name == "subprocess" and not single_use,
        blocking=blocking,
    )


def reports(names: Sequence[str] = tuple(BOXES)) -> list[BoxReport]:
    """What is known of each box; the remote one is looked for, and started by nobody here."""
    return [
        _unasked(_kind(name)()) if name in REMOTE else _report(name)
        for name in names
        if name != "unsafe-local"
    ]


def _unasked(box: Box) -> BoxReport:
    """A remote box is asked only by someone who named it."""
    why = box.unavailable() or "It is remote, so it is tried only where it is chosen by name."
    return BoxReport(box.name, box.version(), False, why, {})


def _report(name: str) -> BoxReport:
    return examine_once(_kind(name))


def _kind(name: str) -> Callable[[], Box]:
    if name not in BOXES:
        raise UnknownNameError("box", name, get_args(BoxName))
    return BOXES[name]
