"""`knowngood history`: every version of a path."""

from __future__ import annotations

from typing import Any

import typer

from knowngood.core.errors import NotFound
from knowngood.core.ids import short
from knowngood.core.instants import iso_text, when_text
from knowngood.core.sizes import bytes_text
from knowngood.doors.cli.commands.look import Component, Path, Service, entry_shape
from knowngood.doors.cli.opening import PassphraseFile, RecoveryKeyFile, show_bytes, workshop
from knowngood.doors.cli.session import current
from knowngood.flow import history as past
from knowngood.flow.choose import named_points

app = typer.Typer()


@app.command(help="Show every version of a path, in points and in the log between them.")
def history(
    context: typer.Context,
    name: Service,
    path: Path,
    component: Component = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Every version, oldest first."""
    session = current(context)
    parts = workshop(session, passphrase_file, recovery_key_file).parts()
    named_points(parts)
    with session.watch(parts.progress):
        found = past.history(parts.catalog.points(name), component or None, path, parts)
    if not any(version.entry for version in found.versions):
        raise NotFound(f"no point of '{name}' has '{path}'", hint=f"look with: knowngood find {name} PATTERN")
    fields = history_shape(name, path, found)

    def tell() -> None:
        session.out.table(
            ("moment", "what", "size", "modified", "in"), [_row(each) for each in found.versions], right=(2,)
        )
        for each in found.unknown:
            session.out.warn(f"changes after {when_text(each.after_ns)} are missing here: {each.reason}")

    session.out.result("history", fields, tell)


def history_shape(service: str, path: str, found: past.History) -> dict[str, Any]:
    """As docs/json.md says."""
    return {
        "service": service,
        "path": path,
        "versions": [_version(each) for each in found.versions],
        "unknown": [
            {"component": each.component, "after": iso_text(each.after_ns), "reason": each.reason}
            for each in found.unknown
        ],
    }


def _version(version: past.Version) -> dict[str, Any]:
    return {
        "point": version.point and version.point.id.hex(),
        "moment": iso_text(version.moment_ns),
        "cause": version.cause,
        "other": None if version.other is None else show_bytes(version.other),
        "position": version.sequence,
        "entry": version.entry and entry_shape(version.component, version.entry),
    }


def _row(version: past.Version) -> list[str]:
    cause = version.cause
    if version.other is not None:
        way = "from" if version.entry else "to"
        cause = f"{cause} {way} {show_bytes(version.other)}"
    return [
        when_text(version.moment_ns, fraction=3 if version.point is None else 0),
        cause,
        bytes_text(version.entry.size) if version.entry else "",
        when_text(version.entry.mtime_ns) if version.entry else "not there",
        f"point {short(version.point.id)}" if version.point else "log",
    ]
