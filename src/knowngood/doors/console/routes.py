"""The addresses of the console, for the application that serves them."""

from __future__ import annotations

from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from knowngood.core.errors import KnowngoodError
from knowngood.doors.console import asking
from knowngood.doors.console.desk import Desk
from knowngood.doors.console.download import download
from knowngood.doors.console.pages import STATIC, static
from knowngood.doors.console.views import VIEWS, View


def routes(desk: Desk) -> list[Route]:
    """All of them."""
    return [
        *(Route(path, partial(_answer, desk, view), methods=["GET"]) for path, view in VIEWS.items()),
        Route("/services/{service}/download", partial(download, desk), methods=["GET"]),
        Route("/static/{version}/{name}", _static, methods=["GET"]),
    ]


async def _answer(desk: Desk, view: View, request: Request) -> Response:
    common = {"who": "", "token": ""}
    try:
        return await run_in_threadpool(view, desk, request, common)
    except KnowngoodError as wrong:
        return asking.failure(wrong, common, part="x-part" in request.headers)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        return Response(status_code=404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(static(name), media_type=STATIC[name], headers=headers)
