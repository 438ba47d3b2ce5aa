"""`knowngood up`: keeps the promises until it is stopped."""

from __future__ import annotations

import json
from typing import Any

import typer

from knowngood.control.up.events import Event, What
from knowngood.control.up.keeper import Keeper
from knowngood.control.up.notify import Notifier
from knowngood.control.up.protocol import Told, told
from knowngood.core.errors import KnowngoodError, UsageError
from knowngood.core.ids import short
from knowngood.core.instants import iso_text, now_ns, when_text
from knowngood.core.sizes import bytes_text, span_text
from knowngood.doors.cli.failures import write_details
from knowngood.doors.cli.moments import totals_of
from knowngood.doors.cli.session import Session, current
from knowngood.doors.memory import give_memory_back

app = typer.Typer()


@app.command(help="Keep the promises: make points on schedule, tidy, answer `status`. Runs until it is stopped.")
def up(context: typer.Context) -> None:
    """Run in the foreground; SIGTERM or Ctrl-C stops it, SIGHUP has it read the services again."""
    session = current(context)
    if session.settings.json:
        raise UsageError("up answers with no document", hint="for events as JSON: knowngood up --events")
    session.home.vault_path()  # a home without a vault is a mistake, and not a trouble that passes

    def tell(event: Event) -> None:
        if session.settings.events:
            session.out.event(event_shape(event))
        elif event.what == What.TROUBLE or not session.out.quiet:
            session.out.log(event_line(event))

    Keeper(
        session.home,
        session.plugins,
        tell,
        explain=lambda wrong: _told(wrong, session),
        notifier=Notifier.from_environment(),
        between=give_memory_back,
    ).run()


def _told(wrong: Exception, session: Session) -> Told:
    """An error in words; the details of one that nobody foresaw are kept."""
    if isinstance(wrong, KnowngoodError):
        return told(wrong)
    try:
        return Told("unexpected", told(wrong).message, f"the details are in {write_details(wrong, session)}")
    except (KnowngoodError, OSError):
        return told(wrong)


def event_shape(event: Event) -> dict[str, Any]:
    """An event as --events prints it (docs/json.md)."""
    made = event.protected
    totals = totals_of(list(made.checkpoints)) if made else None
    return {
        "event": event.what,
        "at": iso_text(now_ns()),
        "service": event.service or None,
        "message": event.message,
        "code": event.code or None,
        "hint": event.hint,
        "seconds": None if event.seconds is None else round(event.seconds, 3),
        "point": made.point.id.hex() if made else None,
        "level": made.point.level if made else None,
        "status": made.point.status if made else None,
        "files": totals["files"] if totals else None,
        "bytes": totals["bytes"] if totals else None,
        "landed_bytes": made.landed_bytes if made else None,
        "problems": totals["problems"] if totals else None,
    }


def event_line(event: Event) -> str:
    """An event as a line for people: `… point service=shop id=28073310 files=2812 new="84.0 MiB" took="1.1 s"`."""
    words: dict[str, str] = {"service": event.service}
    if made := event.protected:
        totals = totals_of(list(made.checkpoints))
        words |= {
            "id": short(made.point.id),
            "level": made.point.level,
            "status": made.point.status,
            "files": str(totals["files"]),
            "size": bytes_text(totals["bytes"]),
            "new": bytes_text(made.landed_bytes),
            "problems": str(totals["problems"] or ""),
        }
    words |= {
        "took": "" if event.seconds is None else span_text(event.seconds),
        "code": event.code,
        "message": event.message,
        "next": event.hint,
    }
    pairs = [f"{key}={_quoted(value)}" for key, value in words.items() if value]
    return " ".join([when_text(now_ns()), event.what, *pairs])


def _quoted(value: str) -> str:
    plain = value.isascii() and value.isprintable() and not set(value) & set(' "=\\')
    return value if plain else json.dumps(value, ensure_ascii=False)
