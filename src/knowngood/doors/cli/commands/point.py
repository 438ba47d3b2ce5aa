"""`knowngood point`: a point at one instant that all components have in common."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from knowngood.control.derived import without_derived
from knowngood.control.services import get_service
from knowngood.core.errors import KnowngoodError, UsageError
from knowngood.core.model import Level, ServiceSpec
from knowngood.doors.cli.commands.protect import made_by
from knowngood.doors.cli.opening import workshop
from knowngood.doors.cli.session import Session, current
from knowngood.flow.follow import Following
from knowngood.flow.protect import Protected, protect as protect_service

app = typer.Typer()


@app.command(help="Make a point at one instant that all components have in common.")
def point(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The service.", metavar="NAME")],
    held: Annotated[bool, typer.Option("--held", help="Writes stand still for a moment (the usual).")] = False,
    quiesced: Annotated[
        bool, typer.Option("--quiesced", help="Before that, the service's hook brings the application to rest.")
    ] = False,
    label: Annotated[str, typer.Option("--name", help="A name for the point.", metavar="TEXT")] = "",
) -> int:
    """Make a held or quiesced point."""
    session = current(context)
    if held and quiesced:
        raise UsageError("a quiesced point is held as well", hint="leave --held out")
    level = Level.QUIESCED if quiesced else Level.HELD
    service = without_derived(session.home, get_service(session.home, name))
    return made_by(session, service, label, level, lambda: _here(session, service, label, level))


def _here(session: Session, service: ServiceSpec, label: str, level: Level) -> Protected:
    """Nobody follows the service: follow it for this point. A first point, which is not held, gives the base."""
    with session.lock(), ExitStack() as following:
        parts = workshop(session).parts()
        with session.watch(parts.progress):
            followed: dict[str, Following] = {}
            for each in service.components:
                try:
                    followed[each.name] = Following(service, each, parts)
                except KnowngoodError as wrong:
                    session.out.warn(f"{each.name} cannot be followed: {wrong.message}")
                else:
                    following.callback(followed[each.name].close)
            if not all(each.standing.based for each in followed.values()):
                protect_service(service, parts, followed=followed)
            return protect_service(service, parts, name=label, followed=followed, level=level)
