"""A file of a moment, sent as it is. One thread reads it, as the vault's catalog belongs to the thread that opened it;
a few pieces at most wait until the browser takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from knowngood.doors.console import asking
from knowngood.doors.console.desk import Desk
from knowngood.doors.console.inside import Place, opened_file

_WAITING = 4  # pieces
_LOOK = 1.0  # seconds after which the reader looks whether anybody is still there
_PATIENCE = 600  # looks after which nobody is, who takes nothing


async def download(desk: Desk, request: Request) -> Response:
    """The content of a file, to be saved and never to be shown. Raises as `opened_file` does."""
    asked, service = asking.query(request), asking.service_in(request)
    place = Place(service, asked.one("at") or "latest", asked.one("component"), asked.one("path"))
    reading = Reading(desk, place)
    shape = await run_in_threadpool(reading.begin)
    entry = shape["entry"]
    name = quote(entry["path"].rpartition("/")[2] or place.service, safe="", errors="surrogateescape")
    headers = {
        **asking.HEADERS,
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        "Content-Length": str(entry["size"] if entry["type"] == "file" else 0),
    }
    return StreamingResponse(reading.pieces(), media_type="application/octet-stream", headers=headers)


class Reading:
    """A thread that reads one file."""

    def __init__(self, desk: Desk, place: Place) -> None:
        self._desk = desk
        self._place = place
        self._given: queue.Queue[Any] = queue.Queue(_WAITING)
        self._nobody = threading.Event()

    def begin(self) -> dict[str, Any]:
        """Open it; returns what is known of it. Raises as `opened_file` does."""
        threading.Thread(target=self._read, name="download", daemon=True).start()
        first = self._given.get()
        if isinstance(first, BaseException):
            raise first
        return first

    async def pieces(self) -> AsyncIterator[bytes]:
        """Its bytes. Raises what reading raises: then the browser sees that the file is not whole."""
        try:
            while (piece := await run_in_threadpool(self._given.get)) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self._nobody.set()

    def _read(self) -> None:
        try:
            for shape, pieces in opened_file(self._desk, self._place):
                self._give(shape)
                for piece in pieces:
                    if not self._give(bytes(piece)):
                        return
            self._give(None)
        except Exception as wrong:  # noqa: BLE001 - it is raised where somebody waits for it
            self._give(wrong)

    def _give(self, what: object) -> bool:
        for _ in range(_PATIENCE):
            if self._nobody.is_set():
                break
            with suppress(queue.Full):
                self._given.put(what, timeout=_LOOK)
                return True
        return False
