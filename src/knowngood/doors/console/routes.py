"""The addresses of the console, for the application that serves them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from knowngood.core.errors import KnowngoodError
from knowngood.doors.console import asking
from knowngood.doors.console.actions import ACTIONS, Action, inner, see
from knowngood.doors.console.console import Console
from knowngood.doors.console.download import download
from knowngood.doors.console.gate import COOKIE, Person
from knowngood.doors.console.jobs import Job
from knowngood.doors.console.pages import STATIC, static, url
from knowngood.doors.console.views import VIEWS, View

_LOOK = 0.25  # seconds between two looks at a job
Handler = Callable[[Request], Awaitable[Response]]


def routes(console: Console) -> list[Route]:
    """All of them; the last one is for every address that nobody else has."""
    shown: dict[str, Callable[..., Awaitable[Response]]] = {
        **{path: partial(_view, view) for path, view in VIEWS.items()},
        "/services/{service}/download": _download,
        "/jobs/{job}/events": _events,
    }
    acted = {path: partial(_action, action) for path, action in ACTIONS.items()} | {"/sign-out": _leave}
    return [
        Route("/sign-in", partial(_sign_in, console), methods=["GET"]),
        Route("/sign-in", partial(_enter, console), methods=["POST"]),
        *(Route(path, _known(console, each), methods=["POST"]) for path, each in acted.items()),
        *(Route(path, _known(console, each), methods=["GET"]) for path, each in shown.items()),
        Route("/static/{version}/{name}", _static, methods=["GET"]),
        Route("/{path:path}", _known(console, _nothing), methods=["GET"]),
    ]


def _known(console: Console, handler: Callable[..., Awaitable[Response]]) -> Handler:
    """Only for those who have signed in. What goes wrong becomes a page that says so."""

    async def answer(request: Request) -> Response:
        person = console.gate.person(request)
        if person is None:
            back = _address(request) if request.method == "GET" else ""
            return RedirectResponse(url("/sign-in", next=back), 303, headers=asking.HEADERS)
        try:
            return await handler(console, request, person)
        except Exception as wrong:  # noqa: BLE001 - whatever it is, a page says so
            known = wrong if isinstance(wrong, KnowngoodError) else console.explain(wrong)
            here = _address(request) if request.method == "GET" else "/"
            part = "x-part" in request.headers
            return asking.failure(known, {**_common(console, person), "next": here}, part=part)

    return answer


def _address(request: Request) -> str:
    """What was asked for."""
    words = request.scope["query_string"].decode("ascii", "replace")
    return request.scope["raw_path"].decode("ascii", "replace") + ("?" + words if words else "")


def _common(console: Console, person: Person | None) -> dict[str, Any]:
    """What every page has."""
    if person is None:
        return {"who": "", "token": "", "signed": False, "open": False}
    return {"who": person.name, "token": person.token, "signed": True, "open": console.desk.keyhole.look()}


async def _view(view: View, console: Console, request: Request, person: Person) -> Response:
    return await run_in_threadpool(view, console, request, _common(console, person))


async def _action(action: Action, console: Console, request: Request, person: Person) -> Response:
    form = await asking.form(request)
    person.require(form)
    return await run_in_threadpool(action, console, request, form, person)


async def _nothing(_: Console, request: Request, __: Person) -> Response:
    raise asking.nothing_there(request.url.path)


async def _download(console: Console, request: Request, _: Person) -> Response:
    return await download(console.desk, request)


# ------------------------------------------------------------------------------------------------------------ sign in


async def _sign_in(console: Console, request: Request) -> Response:
    """The form; or straight in, with the address that was printed."""
    try:
        asked = asking.query(request)
        if key := asked.one("key"):
            return _entered(console, request, key, asked.one("next"))
    except KnowngoodError as wrong:
        return _form(console, wrong, "")
    return _form(console, None, asked.one("next"))


async def _enter(console: Console, request: Request) -> Response:
    try:
        form = await asking.form(request)
        return _entered(console, request, form.one("key"), form.one("next"))
    except KnowngoodError as wrong:
        return _form(console, wrong, "")


def _entered(console: Console, request: Request, key: str, back: str) -> Response:
    cookie = console.gate.enter(key)
    if cookie is None:
        return _form(
            console, KnowngoodError("that is not the key", hint="it stands where knowngood serve was started"), back
        )
    answer = see(inner(back))
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=secure, path="/")
    return answer


def _form(console: Console, wrong: KnowngoodError | None, back: str) -> Response:
    values = {**_common(console, None), "place": "", "wrong": wrong, "next": back}
    return asking.page("sign_in.html", values, 403 if wrong else 200)


async def _leave(console: Console, request: Request, person: Person) -> Response:
    person.require(await asking.form(request))
    console.gate.leave(request)
    return see("/sign-in")


# ------------------------------------------------------------------------------------------------------ live progress


async def _events(console: Console, request: Request, _: Person) -> Response:
    """How far a job is, whenever that changes (server-sent events)."""
    job = console.jobs.get(request.path_params["job"])
    return StreamingResponse(_told(job), media_type="text/event-stream", headers=asking.HEADERS)


async def _told(job: Job) -> AsyncIterator[str]:
    last = ""
    while True:
        ended = job.status is not None
        now = json.dumps({"part": job.part, "text": job.text, "ended": ended})
        if now != last:
            yield f"data: {now}\n\n"
        if ended:
            return
        last = now
        await asyncio.sleep(_LOOK)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        return Response(status_code=404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(static(name), media_type=STATIC[name], headers=headers)
