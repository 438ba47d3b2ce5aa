"""Checks: questions to a recovered service. One that hangs or fails is a result like any other."""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from knowngood.core.errors import Busy, KnowngoodError, UsageError
from knowngood.core.expect import meets
from knowngood.core.model import Check
from knowngood.flow.bounded import run_bounded
from knowngood.flow.rig import Rig

_SHOWN = 300
_GRACE = 2.0
_PLACE = re.compile(r"\{(?:([a-z0-9._-]+)\.)?(\w+)\}")
SANDBOX = "KNOWNGOOD_SANDBOX"
"""In the environment of a script: the path of a JSON file that says, of each component, how to reach it."""


class Came(StrEnum):
    """What a check came to."""

    PASSED = "passed"
    FAILED = "failed"
    HUNG = "hung"
    LEFT_OUT = "left out"  # the point does not have what it asks of


@dataclass(frozen=True, slots=True)
class Answered:
    """A check and its answer, in words; seconds."""

    check: Check
    came: Came
    got: str
    seconds: float


def run_checks(rig: Rig, checks: tuple[Check, ...], scripts: str, folder: str) -> list[Answered]:
    """Ask everything, one after the other. `scripts` is where relative paths of scripts begin; `folder` is private."""
    path = os.path.join(folder, "sandbox.json")
    addresses = {each.component.name: dict(each.address) for each in rig.pieces}
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(addresses, file)
    return [_run(rig, each, scripts, path) for each in checks]


def _run(rig: Rig, check: Check, scripts: str, addresses: str) -> Answered:
    began = time.monotonic()
    piece = rig.piece(check.component) if check.component else None
    if check.component and piece is None:
        return Answered(check, Came.LEFT_OUT, f"the point has no component '{check.component}'", 0)
    if check.python:
        came, got = _script(check, os.path.join(scripts, check.python), addresses)
    elif check.http:
        came, got = _bounded(lambda: _fetch(rig, check), check)
    else:
        came, got = _bounded(lambda: _ask(rig, check), check)
    return Answered(check, came, got[:_SHOWN], time.monotonic() - began)


def _script(check: Check, path: str, addresses: str) -> tuple[Came, str]:
    """It passes with status 0, and if something is expected, with that as its last line."""
    ran = run_bounded([sys.executable, "-B", path], check.timeout, {SANDBOX: addresses}, os.path.dirname(addresses))
    if ran.failure:
        came = Came.HUNG if ran.seconds >= check.timeout else Came.FAILED
        return came, ran.failure + (f": {ran.said}" if ran.said else "")
    last = ran.said.splitlines()[-1] if ran.said else ""
    return (Came.PASSED if meets(check.expect, last) else Came.FAILED), last


def _ask(rig: Rig, check: Check) -> str:
    piece = rig.piece(check.component)
    if piece is None or piece.sandbox is None:
        raise UsageError(f"'{check.component}' has no server that could be asked", hint="check files with python")
    rows = piece.sandbox.ask(check.ask, check.timeout)
    return rows[0][0] if rows and rows[0] else ""


def _fetch(rig: Rig, check: Check) -> str:
    """The status that a web server answers with."""
    parts = urlsplit(_filled(check.http, check.component, rig))
    if not parts.hostname:
        raise UsageError(f"'{check.http}' is not an address of a web server")
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=check.timeout)
    try:
        connection.request("GET", parts._replace(scheme="", netloc="", fragment="").geturl() or "/")
        return str(connection.getresponse().status)
    finally:
        connection.close()


def _filled(text: str, component: str, rig: Rig) -> str:
    """Places such as `{port}` or `{db.port}`, filled with what a server answers at: that of the component that is
    named, of the one that the check is of, or of the only one that has such a thing."""

    def fill(found: re.Match[str]) -> str:
        named = found[1] or component
        having = [each.address for each in rig.pieces if each.component.name == named or not named]
        matching = [each for each in having if found[2] in each]
        address: Mapping[str, str] = matching[0] if len(matching) == 1 else {}
        if found[2] not in address:
            known = ", ".join(sorted({name for each in having for name in each})) or "nothing"
            raise UsageError(f"'{found[0]}' stands for nothing here, or for several things; there is: {known}")
        return address[found[2]]

    return _PLACE.sub(fill, text)


def _bounded(ask: Callable[[], str], check: Check) -> tuple[Came, str]:
    """Ask in a thread that nobody waits for when it hangs: its server is ended soon."""
    answer: list[tuple[Came, str]] = []
    began = time.monotonic()

    def run() -> None:
        try:
            got = ask()
            answer.append((Came.PASSED if meets(check.expect, got) else Came.FAILED, got))
        except KnowngoodError as wrong:
            hung = isinstance(wrong, Busy) or time.monotonic() - began >= check.timeout
            answer.append((Came.HUNG if hung else Came.FAILED, wrong.message))
        except (OSError, ValueError, http.client.HTTPException) as wrong:
            answer.append((Came.HUNG if isinstance(wrong, TimeoutError) else Came.FAILED, str(wrong) or "no answer"))

    thread = threading.Thread(target=run, name="check", daemon=True)
    thread.start()
    thread.join(check.timeout + _GRACE)
    return answer[0] if answer else (Came.HUNG, f"no answer within {check.timeout:g} s")
