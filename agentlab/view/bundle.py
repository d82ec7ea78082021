"""One file that holds a workspace's pages whole: scripts, styles, data and pictures.

It opens from a disk, without a server and without a request. Its policy allows its own scripts
and styles by their hashes and nothing else. It is bounded: what does not fit is left out, the
least important first, and the file says so.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from agentlab.analysis.figures import count
from agentlab.analysis.runs import practice_runs
from agentlab.errors import RecordsError, UsageError
from agentlab.records import Records
from agentlab.types import Scope
from agentlab.view.addresses import Places, path_of
from agentlab.view.following import Following
from agentlab.view.pages import (
    attempt,
    attempts,
    insights,
    outputs,
    overview,
    packs,
    runs,
    skill,
    skills,
    tasks,
)
from agentlab.view.rendering import SCRIPTS, STYLES, Frame, Renderer, inline_hash, static
from agentlab.view.server import blob_type

LISTED = 200
"""Rows of a list."""
ATTEMPTS = 100
"""Attempts of a run that are shown in full, newest first."""
SMALLEST = 1 << 20
"""Bytes; scripts, styles and the first pages need about a sixth of it."""
INLINE = tuple(name for name in SCRIPTS if name != "live.js")


class Written(NamedTuple):
    """What the file holds."""

    pages: int
    size: int
    """Bytes."""
    left_out: tuple[str, ...]


class _Planned(NamedTuple):
    path: str
    template: str
    title: str
    section: str
    run_id: str
    page: object
    noun: str
    """What it is, for saying what was left out."""


def write(
    records: Records, path: Path, *, only: Sequence[str] = (), most_bytes: int = 20 << 20
) -> Written:
    """Write the file; one that is there already is replaced, and never half of it.

    Args:
        records: open.
        path: where.
        only: ids of the runs to show; none is all.
        most_bytes: how large it may become.

    Raises:
        UsageError: that is too small for anything, or the file cannot be written.
    """
    if most_bytes < SMALLEST:
        raise UsageError(f"A file of {most_bytes} bytes holds no page; allow {SMALLEST} at least.")
    planned = list(_plan(records, only))
    kept, images, left_out = _fit(records, planned, most_bytes)
    text = _whole(records, kept, images, left_out)
    data = text.encode()
    _put(path, data)
    return Written(len(kept), len(data), left_out)


def _plan(records: Records, only: Sequence[str]) -> Iterator[_Planned]:
    """The pages, the most important first."""
    rows = [row for row in practice_runs(records) if not only or row.run_id in only]
    ids = [row.run_id for row in reversed(rows)]
    listed = runs.make(records, only=only)
    yield _Planned(path_of("runs"), "runs.html", "Runs", "runs", "", listed, "list")
    following = Following()
    for run_id in ids:
        page = overview.make(records, following.run(run_id), run_id)
        title = f"Overview of {run_id}"
        path = path_of("overview", run_id)
        yield _Planned(path, "overview.html", title, "overview", run_id, page, "overview")
    yield from _library(records)
    for run_id in ids:
        yield from _of_run(records, run_id)
    for use in listed.uses:
        yield from _attempts(records, use.run_id)


def _library(records: Records) -> Iterator[_Planned]:
    held = skills.make(records)
    yield _Planned(path_of("skills"), "skills.html", "Skills", "skills", "", held, "list")
    named = {(s.line.environment, s.line.name, s.line.scope) for s in held.lines}
    for place, name, scope in sorted(named):
        made = skill.make(records, place, name, scope=Scope.parse(scope))
        path = path_of("skill", place, name, scope=scope)
        yield _Planned(path, "skill.html", f"Skill {name}", "skills", "", made, "skill")
    advice = insights.make(records)
    path = path_of("insights")
    yield _Planned(path, "insights.html", "Insights", "insights", "", advice, "list")
    for shown in advice.lines:
        key = shown.line.id
        told = insights.make_insight(records, key)
        path = path_of("insight", key)
        yield _Planned(path, "insight.html", f"Insight {key}", "insights", "", told, "insight")
    came = packs.make(records)
    title = "Packs and trust"
    yield _Planned(path_of("packs"), "packs.html", title, "packs", "", came, "list")
    for line in came.lines:
        digest = line.pack.digest
        opened = packs.make_pack(records, digest)
        path = path_of("pack", digest)
        yield _Planned(path, "pack.html", f"Pack {line.pack.name}", "packs", "", opened, "pack")
    out = outputs.make(records)
    title = "Exports and gates"
    yield _Planned(path_of("outputs"), "outputs.html", title, "outputs", "", out, "list")
    for gate in out.gates:
        key = gate.gate.id
        judged = outputs.make_gate(records, key)
        yield _Planned(
            path_of("gate", key), "gate.html", f"Gate {key}", "outputs", "", judged, "gate"
        )


def _of_run(records: Records, run_id: str) -> Iterator[_Planned]:
    proposed = tasks.make(records, run_id, limit=LISTED)
    path, title = path_of("tasks", run_id), f"Tasks of {run_id}"
    yield _Planned(path, "tasks.html", title, "tasks", run_id, proposed, "list")
    yield from _attempts(records, run_id)


def _attempts(records: Records, run_id: str) -> Iterator[_Planned]:
    tried = attempts.make(records, run_id, limit=LISTED)
    path, title = path_of("attempts", run_id), f"Attempts of {run_id}"
    yield _Planned(path, "attempts.html", title, "attempts", run_id, tried, "list")
    for row in tried.rows[:ATTEMPTS]:
        key = row.row.attempt_id
        made = attempt.make(records, run_id, key)
        path, title = path_of("attempt", run_id, key), f"Attempt {key}"
        yield _Planned(path, "attempt.html", title, "attempts", run_id, made, "attempt")


def _fit(
    records: Records, planned: Sequence[_Planned], most: int
) -> tuple[list[_Planned], dict[str, str], tuple[str, ...]]:
    """Which pages and pictures the file holds, and what it leaves out, in words."""
    places = Places([each.path for each in planned], {})
    renderer = Renderer(places)
    room = most - sum(len(static(name)) for name in (*INLINE, *STYLES)) - 16_384
    kept: list[_Planned] = []
    images: dict[str, str] = {}
    dropped: dict[str, int] = {}
    for each in planned:
        size = len(_render(renderer, places, each).encode())
        if size > room:
            noun = each.noun if each.noun != "list" else each.title.lower()
            dropped[noun] = dropped.get(noun, 0) + 1
            continue
        kept.append(each)
        room -= size
        for digest in _pictures(each.page):
            if digest in images:
                continue
            data = _picture(records, digest)
            # A picture stands twice, as itself and behind its link.
            if not data or 2 * len(data) > room:
                dropped["picture"] = dropped.get("picture", 0) + 1
                continue
            images[digest] = data
            room -= 2 * len(data)
    told = [f"{count(n, noun)} for want of room" for noun, n in sorted(dropped.items())]
    return kept, images, (*told, *_beyond(planned))


def _beyond(planned: Sequence[_Planned]) -> Iterator[str]:
    """What the lists themselves leave out."""
    for each in planned:
        if isinstance(each.page, attempts.AttemptsPage):
            more = each.page.total - min(len(each.page.rows), ATTEMPTS)
            if more:
                yield f"{count(more, 'older attempt')} of {each.run_id} in full"
        if isinstance(each.page, tasks.TasksPage):
            more = each.page.counts.proposed - len(each.page.lines)
            if more:
                yield f"{count(more, 'older task')} of {each.run_id}"


def _pictures(page: object) -> Iterator[str]:
    if isinstance(page, attempt.AttemptPage):
        yield from page.left.first_images
        for step in page.left.steps:
            yield from step.images


def _picture(records: Records, digest: str) -> str:
    """A picture as an address of its own; nothing where there is none."""
    try:
        data = records.blobs.get(digest)
    except RecordsError:
        return ""
    kind = blob_type(data)
    if kind == "application/octet-stream":
        return ""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _render(renderer: Renderer, places: Places, each: _Planned, *, first: bool = False) -> str:
    frame = Frame(
        title=each.title,
        section=each.section,
        run_id=each.run_id,
        of_run=bool(each.run_id),
        practised=places.to("overview", each.run_id) is not None,
        standalone=True,
        place=places.place(each.path),
        first=first,
    )
    return renderer.page(each.template, frame, each.page)


def _whole(
    records: Records,
    kept: Sequence[_Planned],
    images: dict[str, str],
    left_out: Sequence[str],
) -> str:
    places = Places([each.path for each in kept], images)
    renderer = Renderer(places)
    scripts = [static(name).decode() for name in INLINE]
    style = "\n".join(static(name).decode() for name in STYLES)
    policy = (
        f"default-src 'none'; script-src {' '.join(map(inline_hash, scripts))}; "
        f"style-src {inline_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    overviews = [each for each in kept if each.noun == "overview"]
    first = overviews[0] if len(overviews) == 1 else kept[0] if kept else None
    return renderer.text(
        "file.html",
        policy=policy,
        # Our own files, whose hashes the policy names.
        scripts=[Markup(script) for script in scripts],
        style=Markup(style),
        parts=[Markup(_render(renderer, places, each, first=each is first)) for each in kept],
        run_id=overviews[0].run_id if overviews else "",
        left_out=left_out,
        workspace=str(records.workspace.path),
    )


def _put(path: Path, data: bytes) -> None:
    try:
        handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            f"The file {str(path)!r} cannot be written ({error.strerror}); name another with "
            "--html."
        ) from error
