"""`knowngood service adopt`: definitions from the points of the vault, for a home that has none of its own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any

import typer

from knowngood.control.adopt import Adoption, Offer, chosen_offers, offers, plan_adoption
from knowngood.core.errors import Exists, NotFound, UsageError
from knowngood.core.ids import short
from knowngood.core.instants import iso_text, when_text
from knowngood.doors.cli.arguments import DryRun
from knowngood.doors.cli.changing import missing_paths, tell_change
from knowngood.doors.cli.opening import PassphraseFile, RecoveryKeyFile, workshop
from knowngood.doors.cli.session import Session, current
from knowngood.doors.cli.shapes import change_shape, service_shape
from knowngood.flow.choose import named_points
from knowngood.flow.parts import Parts


def offer_shape(offer: Offer) -> dict[str, Any]:
    """What the vault offers, as `--json` prints it."""
    return {
        "service": service_shape(offer.service),
        "host": offer.host,
        "point": offer.point.id.hex(),
        "moment": iso_text(offer.point.moment_ns),
    }


def adopt(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Services of the vault.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every service that the vault describes.")] = False,
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="As this host had it, when several used one name.")
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where this home has another definition; that one is kept.")
    ] = False,
    dry_run: DryRun = False,
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Define services here as their newest points in the vault describe them.

    For a new machine that takes the place of a lost one. Example:

    knowngood service adopt --all --dry-run
    """
    session = current(context)
    if bool(names) == every:
        raise UsageError("name services, or give --all", hint="see what there is: knowngood service list")
    with nullcontext() if dry_run else session.lock():
        parts = workshop(session, passphrase_file, recovery_key_file).parts()
        named_points(parts)
        offered = offers(parts.catalog)
        if not offered:
            raise NotFound("no point of the vault describes a service", hint="knowngood service add NAME --files PATH")
        wanted = names or [each.service.name for each in offered if host in ("", each.host)]
        chosen = chosen_offers(offered, wanted, host)
        plans, left = _plans(session, chosen, replace=replace, every=every)
        paths = [None if dry_run else each.change.carry_out(session.home) for each in plans]
    for each in plans:
        _warn(session, each, parts)
    fields = {
        "dry_run": dry_run,
        "adopted": [
            {**offer_shape(each.offer), "change": change_shape(each.change, path, dry_run=dry_run)}
            for each, path in zip(plans, paths, strict=True)
        ],
        "left": left,
    }
    session.out.result("service adopt", fields, lambda: _tell(session, plans, paths, left, dry_run=dry_run))


def _plans(session: Session, chosen: list[Offer], *, replace: bool, every: bool) -> tuple[list[Adoption], list[str]]:
    """Plans, and the names of services that stay as this home defines them: only when none was named."""
    plans: list[Adoption] = []
    left: list[str] = []
    for offer in chosen:
        try:
            plans.append(plan_adoption(session.home, offer, replace=replace))
        except Exists:
            if not every:
                raise
            left.append(offer.service.name)
    return plans, left


def _warn(session: Session, adoption: Adoption, parts: Parts) -> None:
    """What may be different on this machine."""
    offer, there = adoption.offer, "on this machine its paths have to be the same"
    if offer.host != parts.host:
        session.out.warn(f"'{offer.service.name}' was protected on {offer.host}, this is {parts.host}: {there}")
    for each in adoption.left_out:
        session.out.warn(f"'{offer.service.name}': the vault names a program, which is not taken over: {each}")
    for warning in [*adoption.change.warnings(), *missing_paths(adoption.change)]:
        session.out.warn(warning)


def _tell(session: Session, plans: list[Adoption], paths: list[str | None], left: list[str], *, dry_run: bool) -> None:
    for each, path in zip(plans, paths, strict=True):
        tell_change(session, each.change, path, dry_run=dry_run)
        point = each.offer.point
        session.out.note(f"  as in point {short(point.id)} of {when_text(point.moment_ns)}, host {each.offer.host}")
    for name in left:
        session.out.note(f"service '{name}' is left as this home defines it; to compare:")
        session.out.note(f"  knowngood service adopt {name} --replace --dry-run")
    if plans and not dry_run:
        session.out.note(f"next: knowngood recover {plans[0].offer.service.name} --dry-run")
