"""`knowngood points`, `expire` and `undo`: the points of a service, hiding them, bringing them back."""

from __future__ import annotations

from typing import Annotated

import typer

from knowngood.control.services import get_service
from knowngood.core.errors import NotFound
from knowngood.core.ids import short
from knowngood.core.instants import SECOND, iso_text, when_text
from knowngood.core.model import Checkpoint, Point, Policy, Status
from knowngood.core.sizes import bytes_text, span_text
from knowngood.doors.cli.moments import point_shape, totals_of
from knowngood.doors.cli.opening import PassphraseFile, RecoveryKeyFile, workshop
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import Session, current
from knowngood.doors.cli.words import count_text, day_text
from knowngood.flow.choose import named_points
from knowngood.flow.parts import Parts
from knowngood.flow.points import checkpoints_of, point_at
from knowngood.flow.tidy import expire as expire_points, undo as undo_point
from knowngood.vault.catalog import ExpiredPoint

points_app = typer.Typer()
expire_app = typer.Typer()
undo_app = typer.Typer()
Service = Annotated[str, typer.Argument(help="The service.", metavar="NAME")]
PointId = Annotated[str, typer.Argument(help="The point's id or name.", metavar="POINT")]


@points_app.command(help="List the points of a service, newest first.")
def points(
    context: typer.Context,
    name: Service,
    expired: Annotated[bool, typer.Option("--expired", help="The hidden ones that can be brought back.")] = False,
    proven: Annotated[bool, typer.Option("--proven", help="Those first that a drill has proven.")] = False,
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """List points."""
    session = current(context)
    parts = workshop(session, passphrase_file, recovery_key_file).parts()
    if passphrase_file or recovery_key_file:
        named_points(parts)
    if nameless := parts.catalog.nameless():
        session.out.warn(
            f"{count_text(nameless, 'point')} of the vault, of other homes perhaps, take the private key to be seen: "
            "--passphrase-file FILE or --recovery-key-file FILE"
        )
    found = parts.catalog.points(name, expired=expired)
    if proven:
        found.sort(key=lambda each: each.status != Status.PROVEN)
    if not found and not expired and not nameless and name not in parts.catalog.services():
        get_service(session.home, name)  # raises NotFound, and says which names there are
    hidden = parts.catalog.expired()
    rows = [(point, checkpoints_of(point, parts)) for point in found]
    shapes = [
        point_shape(point, checkpoints)
        | {"expires": iso_text(hidden[point.id].until_ns) if point.id in hidden else None}
        for point, checkpoints in rows
    ]

    def tell() -> None:
        if rows:
            _tell(session.out, rows, hidden)
        elif expired:
            session.out.note(f"'{name}' has no hidden point")
        else:
            session.out.note(f"'{name}' has no point; make one: knowngood protect {name}")

    session.out.result("points", {"service": name, "points": shapes}, tell)


def _tell(out: Output, rows: list[tuple[Point, list[Checkpoint]]], hidden: dict[bytes, ExpiredPoint]) -> None:
    cells = []
    for point, checkpoints in rows:
        totals = totals_of(checkpoints)
        cells.append(
            [
                short(point.id),
                when_text(point.moment_ns),
                point.level,
                f"until {day_text(hidden[point.id].until_ns)}" if point.id in hidden else point.status,
                bytes_text(totals["bytes"]),
                bytes_text(totals["new_bytes"]),
                point.name,
            ]
        )
    out.table(("point", "moment", "level", "status", "size", "new", "name"), cells, right=(4, 5))


@expire_app.command(help="Hide points; they can be brought back until their undo window ends.")
def expire(
    context: typer.Context,
    name: Service,
    which: Annotated[list[str], typer.Argument(help="Ids or names of points.", metavar="POINT...")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be hidden; change nothing.")] = False,
) -> None:
    """Hide points."""
    session = current(context)
    undo_seconds = _policy(session, name).undo
    with session.lock():
        parts = workshop(session).parts()
        hidden = parts.catalog.expired()
        named = {point.id: point for point in (point_at(parts, name, each) for each in which)}
        chosen = [point for point in named.values() if point.id not in hidden]
        if chosen and not dry_run:
            expire_points(chosen, int(undo_seconds * SECOND), parts)
    fields = {"service": name, "points": [point.id.hex() for point in chosen], "dry_run": dry_run}

    def tell() -> None:
        for point in chosen:
            word = "would be hidden" if dry_run else "is hidden"
            session.out.note(f"point {short(point.id)} of {when_text(point.moment_ns)} {word}")
        if chosen and not dry_run:
            session.out.note(
                f"for {span_text(undo_seconds)} it can be brought back: knowngood undo {name} {short(chosen[0].id)}"
            )

    session.out.result("expire", fields, tell)


@undo_app.command(help="Bring a hidden point back.")
def undo(context: typer.Context, name: Service, which: PointId) -> None:
    """Bring back."""
    session = current(context)
    with session.lock():
        parts = workshop(session).parts()
        point = _hidden_point(parts, name, which)
        undo_point(point, parts)
    fields = {"service": name, "point": point.id.hex()}
    session.out.result("undo", fields, lambda: session.out.note(f"point {short(point.id)} is back"))


def _hidden_point(parts: Parts, service: str, which: str) -> Point:
    named = [point for point in parts.catalog.points(service, expired=True) if which and point.name == which]
    return named[0] if named else point_at(parts, service, which)


def _policy(session: Session, name: str) -> Policy:
    try:
        return get_service(session.home, name).policy
    except NotFound:
        return Policy()  # the service was removed; its points are still looked after
