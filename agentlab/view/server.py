"""The local page over HTTP: which address shows what. Everything it shows is made in `pages`.

There is no way in but through `guard`. Requests read the records as they are; nothing is cached
but the tally of a run that is followed, which grows with its log.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, cast, get_args
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from agentlab.analysis.runs import practice_runs
from agentlab.errors import AgentLabError, RecordsError, UnknownNameError, UsageError
from agentlab.library.approval import decide
from agentlab.records import Records
from agentlab.records.filters import AttemptFilter, LibraryArm, Outcome, ProposalFilter
from agentlab.types import AttemptKind, Scope
from agentlab.types.approval import ItemDecision, Verdict
from agentlab.view import scopes
from agentlab.view.addresses import Paths, path_of
from agentlab.view.following import Following
from agentlab.view.guard import Application, Guard, Keys
from agentlab.view.live import stream
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
    waiting,
)
from agentlab.view.pages.leafing import attempt_place, proposal_place
from agentlab.view.rendering import ICON, SCRIPTS, STYLES, Frame, Renderer, static

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
REMEMBERED = 50
LARGEST_FORM = 64 * 1024
"""Bytes."""
KEPT = {"cache-control": "private, max-age=86400, immutable"}

Choice = TypeVar("Choice", bound=str)


class Site:
    """The pages over open records.

    Args:
        records: open for as long as the site is.
        keys: who may come in.
        only: runs that were named; none is every run of the workspace.
    """

    def __init__(self, records: Records, keys: Keys, *, only: Sequence[str] = ()) -> None:
        self.records = records
        self.keys = keys
        self.only = tuple(only)
        self.following = Following()
        self.stopping = threading.Event()
        self.told: dict[str, ItemDecision | str] = {}
        """What came of the latest verdicts, by item: what was decided, or why nothing was."""
        self._renderer = Renderer(Paths())

    def show(
        self, template: str, section: str, title: str, page: object, run_id: str = ""
    ) -> HTMLResponse:
        """A page in its frame."""
        now = getattr(page, "now", None)
        serial = now.serial if now is not None else None
        if serial is None:
            serial = self.records.browsing.last_event([run_id] if run_id else None)
        frame = Frame(
            title=title,
            section=section,
            run_id=run_id or self.newest(),
            of_run=bool(run_id),
            practised=not run_id or runs.is_practice(self.records, run_id),
            live=f"/events?run={run_id}" if run_id else "/events",
            serial=serial,
            form=self.keys.form,
            waiting=waiting.number(self.records),
        )
        return HTMLResponse(self._renderer.page(template, frame, page))

    def newest(self) -> str:
        """The run that the navigation leads to from pages of no run."""
        rows = [r for r in practice_runs(self.records) if not self.only or r.run_id in self.only]
        return rows[-1].run_id if rows else ""

    def tell(self, item_id: str, said: ItemDecision | str) -> None:
        """Remember what came of a verdict, for the page that is loaded next."""
        self.told.pop(item_id, None)
        self.told[item_id] = said
        while len(self.told) > REMEMBERED:
            del self.told[next(iter(self.told))]

    def refuse(self, status: int, sentence: str) -> HTMLResponse:
        """A page that says what was wrong."""
        frame = Frame(title="Not found" if status == 404 else "Not possible", section="")
        page = {"sentence": sentence, "status": status}
        return HTMLResponse(self._renderer.page("error.html", frame, page), status)


def make_app(site: Site) -> Application:
    """The guarded application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _errors(app, site)
    _run_pages(app, site)
    _library_pages(app, site)
    _output_pages(app, site)
    _gate(app, site)
    _files(app, site)
    return Guard(app, site.keys)


def _errors(app: FastAPI, site: Site) -> None:
    def refused(_: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            sentence = {404: "There is no such page.", 413: "That is too long."}
            return site.refuse(
                error.status_code, sentence.get(error.status_code, "That cannot be asked for here.")
            )
        status = 404 if isinstance(error, UnknownNameError) else 400
        if isinstance(error, RecordsError):
            status = 500
        return site.refuse(status, str(error))

    app.add_exception_handler(AgentLabError, refused)
    app.add_exception_handler(HTTPException, refused)


def _run_pages(app: FastAPI, site: Site) -> None:
    records = site.records

    @app.get("/")
    def begin() -> Response:
        rows = practice_runs(records)
        ids = site.only or [row.run_id for row in rows]
        to = path_of("runs")
        if len(ids) == 1:
            to = path_of("overview" if runs.is_practice(records, ids[0]) else "attempts", ids[0])
        return RedirectResponse(to, 303)

    @app.get("/runs")
    def show_runs(q: str = "") -> Response:
        return site.show("runs.html", "runs", "Runs", runs.make(records, only=site.only, text=q))

    @app.get("/runs/{run_id}")
    def show_overview(run_id: str) -> Response:
        page = overview.make(records, site.following.run(run_id), run_id)
        return site.show("overview.html", "overview", f"Overview of {run_id}", page, run_id)

    @app.get("/runs/{run_id}/tasks")
    def show_tasks(run_id: str, request: Request) -> Response:
        asked = request.query_params
        verdict = _choice(asked.get("verdict"), ("admitted", "rejected"))
        wanted = ProposalFilter(
            admitted=None if verdict is None else verdict == "admitted",
            round=_round(asked),
            reason=asked.get("reason") or None,
            text=asked.get("q", "").strip(),
        )
        page = tasks.make(
            records,
            run_id,
            wanted,
            older=proposal_place(asked.get("older", "")),
            newer=proposal_place(asked.get("newer", "")),
        )
        return site.show("tasks.html", "tasks", f"Tasks of {run_id}", page, run_id)

    @app.get("/runs/{run_id}/tasks/{task_id}")
    def show_task(run_id: str, task_id: str) -> Response:
        page = tasks.make_task(records, run_id, task_id)
        return site.show("task.html", "tasks", f"Task {task_id}", page, run_id)

    @app.get("/runs/{run_id}/attempts")
    def show_attempts(run_id: str, request: Request) -> Response:
        asked = request.query_params
        wanted = AttemptFilter(
            kind=_choice(asked.get("kind"), get_args(AttemptKind)),
            outcome=_choice(asked.get("outcome"), get_args(Outcome)),
            round=_round(asked),
            library=_choice(asked.get("library"), get_args(LibraryArm)),
            task_id=asked.get("task") or None,
            scope=scopes.asked(asked.get("scope", "")),
            text=asked.get("q", "").strip(),
        )
        page = attempts.make(
            records,
            run_id,
            wanted,
            older=attempt_place(asked.get("older", "")),
            newer=attempt_place(asked.get("newer", "")),
        )
        return site.show("attempts.html", "attempts", f"Attempts of {run_id}", page, run_id)

    @app.get("/runs/{run_id}/attempts/{attempt_id}")
    def show_attempt(run_id: str, attempt_id: str, beside: str = "", step: str = "") -> Response:
        start = int(step) if step.isascii() and step.isdecimal() and len(step) < 8 else 0
        page = attempt.make(records, run_id, attempt_id, beside=beside, start=start)
        return site.show("attempt.html", "attempts", f"Attempt {attempt_id}", page, run_id)


def _library_pages(app: FastAPI, site: Site) -> None:
    records = site.records

    @app.get("/skills")
    def show_skills(
        environment: str = "", status: str = "", scope: str = "", q: str = ""
    ) -> Response:
        page = skills.make(
            records, environment=environment, status=status, scope=scopes.asked(scope), text=q
        )
        return site.show("skills.html", "skills", "Skills", page)

    @app.get("/skills/{environment}/{name}")
    def show_skill(
        environment: str, name: str, scope: str = "", version: str = "", against: str = ""
    ) -> Response:
        page = skill.make(
            records,
            environment,
            name,
            scope=Scope.parse(scope),
            version=_number(version),
            against=_number(against),
        )
        return site.show("skill.html", "skills", f"Skill {name}", page)

    @app.get("/insights")
    def show_insights(
        environment: str = "", status: str = "", scope: str = "", q: str = ""
    ) -> Response:
        page = insights.make(
            records, environment=environment, status=status, scope=scopes.asked(scope), text=q
        )
        return site.show("insights.html", "insights", "Insights", page)

    @app.get("/insights/{insight_id}")
    def show_insight(insight_id: str) -> Response:
        page = insights.make_insight(records, insight_id)
        return site.show("insight.html", "insights", f"Insight {insight_id}", page)

    @app.get("/packs")
    def show_packs(q: str = "") -> Response:
        return site.show("packs.html", "packs", "Packs and trust", packs.make(records, text=q))

    @app.get("/packs/{digest}")
    def show_pack(digest: str) -> Response:
        page = packs.make_pack(records, digest)
        return site.show("pack.html", "packs", f"Pack {page.pack.name}", page)


def _output_pages(app: FastAPI, site: Site) -> None:
    records = site.records

    @app.get("/outputs")
    def show_outputs() -> Response:
        page = outputs.make(records, only=site.only)
        return site.show("outputs.html", "outputs", "Exports and gates", page)

    @app.get("/outputs/gates/{gate_id}")
    def show_gate(gate_id: str) -> Response:
        page = outputs.make_gate(records, gate_id)
        return site.show("gate.html", "outputs", f"Gate {gate_id}", page)


def _gate(app: FastAPI, site: Site) -> None:
    records = site.records

    @app.get("/waiting")
    def show_waiting(request: Request) -> Response:
        told = site.told.get(request.query_params.get("decided", ""))
        done = told if isinstance(told, ItemDecision) else None
        fault = told if isinstance(told, str) else ""
        scope = scopes.asked(request.query_params.get("scope", ""))
        page = waiting.make(records, done=done, fault=fault, scope=scope)
        return site.show("waiting.html", "waiting", "Waiting", page)

    @app.post("/waiting/{item_id}")
    async def give_verdict(item_id: str, request: Request) -> Response:
        said = await _form(request)
        if not site.keys.fits_form(said.get("form", "")):
            return site.refuse(403, "This form was not made by this server; load the page again.")
        verdict = said.get("verdict", "")
        if verdict not in get_args(Verdict):
            return site.refuse(400, "A verdict is approve or reject.")
        return await run_in_threadpool(decided, item_id, cast("Verdict", verdict), said)

    def decided(item_id: str, verdict: Verdict, said: Mapping[str, str]) -> Response:
        try:
            done = decide(
                records,
                item_id,
                verdict,
                digest=said.get("digest", ""),
                reason=said.get("reason", ""),
                by=said.get("by", ""),
                scope=None,
            )
        except UsageError as error:
            site.tell(item_id, str(error))
        else:
            site.tell(item_id, done)
        # Looked at by its own address, so that loading it again sends nothing twice.
        return RedirectResponse(path_of("waiting", decided=item_id), 303)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, of a bounded body."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM:
            raise HTTPException(413)
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _files(app: FastAPI, site: Site) -> None:
    records = site.records

    @app.get("/events")
    async def events(request: Request) -> Response:
        asked = request.headers.get("last-event-id") or request.query_params.get("after", "")
        after = _number(asked)
        named = request.query_params.getlist("run") or list(site.only)
        serial = records.browsing.last_event() if after is None else after
        messages = stream(records, serial, run_ids=named or None, stopped=site.stopping.is_set)
        return StreamingResponse(messages, media_type="text/event-stream")

    @app.get("/blobs/{digest}")
    def blob(digest: str) -> Response:
        try:
            data = records.blobs.get(digest)
        except RecordsError as error:
            raise UnknownNameError("blob", digest, ()) from error
        kind = blob_type(data)
        headers: dict[str, str] = dict(KEPT)
        if kind == "application/octet-stream":
            headers["content-disposition"] = f'attachment; filename="{digest[:16]}.bin"'
        return Response(data, media_type=kind, headers=headers)

    @app.get("/static/{name:path}")
    def shipped(name: str) -> Response:
        if name not in {*SCRIPTS, *STYLES, ICON}:
            raise HTTPException(404)
        kind = TYPES[name[name.rindex(".") :]]
        return Response(static(name), media_type=kind, headers={"cache-control": "no-cache"})


def blob_type(data: bytes) -> Literal["image/png", "image/jpeg", "application/octet-stream"]:
    """What a blob is given out as: a picture by its first bytes, or something to be saved.

    Never what a record calls it: a blob that says it is a page would be one.
    """
    if data.startswith(PNG):
        return "image/png"
    return "image/jpeg" if data.startswith(JPEG) else "application/octet-stream"


def _choice(given: str | None, known: Sequence[Any]) -> Any:
    """The word, if it is one that is known."""
    return given if given in known else None


def _round(asked: Mapping[str, str]) -> int | None:
    """The round that an address names, counted from 1 there."""
    number = _number(asked.get("round", ""))
    return number - 1 if number else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None
