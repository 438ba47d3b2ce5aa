"""Where a Redis server is, as people write it: `redis://127.0.0.1:6379`, `unix:///run/redis/redis.sock`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from knowngood.core.errors import UsageError
from knowngood.core.model import ComponentSpec
from knowngood.databases.secret import read_secret

_PORT = 6379


@dataclass(frozen=True, slots=True)
class Address:
    """A host and port, or the path of a socket; with the account, when one is needed."""

    host: str = ""
    port: int = _PORT
    socket: str = ""
    user: str = ""
    password_file: str = ""

    @property
    def text(self) -> str:
        """For people."""
        return self.socket or f"{self.host}:{self.port}"

    def password(self) -> str | None:
        """What is in the password file; None without one. Raises UsageError when it is not safe, or not there."""
        return read_secret(self.password_file) if self.password_file else None


def address_of(component: ComponentSpec) -> Address:
    """The address of a component. Raises UsageError that says what is wrong with it."""
    url = component.options["url"]
    user, secret = component.options.get("user", ""), component.options.get("password-file", "")
    if secret and not os.path.isabs(secret):
        raise UsageError(f"the path '{secret}' is not absolute", hint="begin it with /")
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
    except ValueError:
        raise UsageError(f"'{url}' is no address of a Redis server", hint="write redis://HOST:PORT") from None
    if parts.password or parts.username:
        hint = "write it into a file that only you may read, and name that: password-file: /etc/knowngood/redis.secret"
        raise UsageError("a password does not belong into the url: others read service files", hint=hint)
    if parts.scheme == "unix" and parts.path:
        return Address(socket=unquote(parts.path), user=user, password_file=secret)
    if parts.scheme == "redis" and parts.hostname and parts.path.strip("/") in ("", "0"):
        return Address(parts.hostname, port, user=user, password_file=secret)
    hint = "write redis://HOST:PORT, or unix:///PATH of its socket; all its databases belong to the component"
    raise UsageError(f"'{url}' is no address of a Redis server", hint=hint)
