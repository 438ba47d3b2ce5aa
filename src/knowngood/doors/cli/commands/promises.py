"""`knowngood promises`: how promises were kept on each day."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from knowngood.control.home import Home
from knowngood.control.promises import DAYS, Day, Promises, today
from knowngood.control.services import get_service, list_services
from knowngood.core.instants import now_ns
from knowngood.core.sizes import span_text
from knowngood.doors.cli.session import current

app = typer.Typer()
_SHOWN = 30


@app.command(help="Show for how long promises were kept, late, broken and unknown on each day.")
def promises(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Only of this service.", metavar="[NAME]")] = "",
    days: Annotated[int, typer.Option("--days", min=1, max=DAYS, help="How many days, at most.")] = _SHOWN,
) -> None:
    """Show days."""
    session = current(context)
    if name:
        get_service(session.home, name)
    names = [name] if name else sorted(each.name for each in list_services(session.home).services)
    fields = promises_shape(session.home, names, days)

    def tell() -> None:
        rows = [
            [each["name"], day["day"], day["state"], *(span_text(day[word]) for word in _WORDS)]
            for each in fields["services"]
            for day in reversed(each["days"])
        ]
        if rows:
            session.out.table(["service", "day (UTC)", "state", *_WORDS], rows, right=[3, 4, 5, 6])
        else:
            session.out.note("no day was watched yet; to have them watched: knowngood up")

    session.out.result("promises", fields, tell)


_WORDS = ("kept", "late", "broken", "unknown")


def promises_shape(home: Home, names: Iterable[str], days: int) -> dict[str, Any]:
    """As docs/json.md says."""
    now, kept = now_ns(), Promises(home)
    return {
        "today": today(now).isoformat(),
        "services": [{"name": each, "days": [_shape(day) for day in kept.days(each, now, days)]} for each in names],
    }


def _shape(day: Day) -> dict[str, Any]:
    return {
        "day": day.day.isoformat(),
        "state": day.state,
        "kept": round(day.kept, 1),
        "late": round(day.late, 1),
        "broken": round(day.broken, 1),
        "unknown": round(day.unknown, 1),
    }
