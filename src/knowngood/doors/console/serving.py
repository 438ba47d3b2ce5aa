"""The server of the console: until a signal ends it. It listens on this machine only."""

from __future__ import annotations

import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from knowngood.core.errors import Busy
from knowngood.doors.console.console import Console
from knowngood.doors.console.routes import routes

HOST = "127.0.0.1"
_HOSTS = [HOST, "localhost"]
"""The names by which a browser may call us: not those that somebody else has lead here (DNS rebinding)."""
_ENDING = 5
"""Seconds that a page has to be finished when the server ends."""


def listening(port: int) -> socket.socket:
    """A socket at a port of this machine; 0 for any that is free. Raises Busy."""
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((HOST, port))
        found.listen(128)
    except OSError as wrong:
        found.close()
        raise Busy(f"port {port} cannot be had: {wrong.strerror}", hint="choose another one: --port 0") from None
    return found


def serve(console: Console, at: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT; then what was begun is ended too."""
    app = Starlette(
        routes=routes(console), middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False)]
    )
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_ENDING,
    )
    try:
        _Server(config).run([at])
    finally:
        console.jobs.end()


class _Server(uvicorn.Server):
    """Ends well when it is told to end: a signal is not raised again afterwards."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Hear signals while the block runs."""
        former = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
