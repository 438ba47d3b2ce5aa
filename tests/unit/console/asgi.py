"""The console without a server: a request in, an answer out."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.applications import Starlette

from knowngood.control.home import Home
from knowngood.core.errors import KnowngoodError
from knowngood.doors.console.console import Console
from knowngood.doors.console.desk import Desk
from knowngood.doors.console.gate import Gate
from knowngood.doors.console.jobs import Jobs
from knowngood.doors.console.routes import routes
from tests.user import User

KEY = "the key"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """As text."""
        return self.body.decode()


@dataclass
class Visitor:
    """Somebody with a browser of their own, in front of one home's console."""

    user: User
    cookie: str = ""
    token: str = ""
    console: Console = field(init=False)

    def __post_init__(self) -> None:
        home = Home.at(str(self.user.home))
        explain = lambda wrong: KnowngoodError(f"unforeseen: {wrong!r}")  # noqa: E731
        self.console = Console(Desk(home, self.user.plugins), Jobs(home), Gate(KEY), explain)
        self._app = Starlette(routes=routes(self.console))

    def signs_in(self, key: str = KEY) -> Answer:
        """With the key."""
        answer = self.posts("/sign-in", key=key)
        if found := re.match("knowngood=([^;]+)", answer.headers.get("set-cookie", "")):
            self.cookie = found[1]
            page = self.gets("/services/new").text
            self.token = re.findall('name="token" value="([^"]+)"', page)[-1]
        return answer

    def gets(self, address: str, **headers: str) -> Answer:
        """A page."""
        return asyncio.run(self._asks("GET", address, b"", headers))

    def posts(self, address: str, **fields: str) -> Answer:
        """A form."""
        return asyncio.run(self._asks("POST", address, urlencode(fields).encode(), {}))

    async def _asks(self, method: str, address: str, body: bytes, headers: dict[str, str]) -> Answer:
        sent: list[Any] = []
        parts = urlsplit(address)
        named = {"host": "127.0.0.1", "cookie": f"knowngood={self.cookie}", **headers}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()],
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
            "root_path": "",
        }
        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if given:
                return given.pop()
            return await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        begun = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], begun, b"".join(each.get("body", b"") for each in sent[1:]))
