"""Services that the vault knows from its points and this home has no file of: after a machine was lost, or on a second
one. A definition comes from whoever made the point, so it is checked like a file that somebody wrote."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from knowngood.control.changes import ServiceChange, plan_change
from knowngood.control.home import Home
from knowngood.control.services import find_service, list_services, parse_service, service_text
from knowngood.core.errors import Exists, KnowngoodError, NotFound, UsageError
from knowngood.core.fit import did_you_mean
from knowngood.core.malformed import MALFORMED
from knowngood.core.model import HOOKS, Hooks, Point, ServiceSpec
from knowngood.vault.catalog import Catalog

_DEFINITION = msgspec.msgpack.Decoder(ServiceSpec)


@dataclass(frozen=True, slots=True)
class Offer:
    """A service as its newest point describes it, and the host that made that point."""

    service: ServiceSpec
    point: Point
    host: str


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is to be done to adopt one offer; the real run carries out this same object. `left_out` is what it would run
    on this machine: any writer of the vault could have put that there, so nobody but this machine's own says it."""

    offer: Offer
    change: ServiceChange
    left_out: tuple[str, ...] = ()


def offers(catalog: Catalog) -> list[Offer]:
    """One offer per service and host, by name; a service that two hosts protect under one name is offered twice.

    Points whose definition cannot be read or is not valid offer nothing; an older point may. Hidden points count:
    what they describe can still be brought back.
    """
    found: dict[bytes, Offer] = {}
    for point in catalog.points() + catalog.points(expired=True):
        if point.service_label not in found and (service := _definition(point)) is not None:
            found[point.service_label] = Offer(service, point, _host(point, catalog))
    return sorted(found.values(), key=lambda offer: (offer.service.name, offer.host))


def _definition(point: Point) -> ServiceSpec | None:
    try:
        service = _DEFINITION.decode(point.definition)
        checked = parse_service(service_text(service), f"the definition in point {point.id.hex()[:8]}")
    except (*MALFORMED, KnowngoodError, ValueError):
        return None
    return checked if checked == service and service.name == point.service else None


def _host(point: Point, catalog: Catalog) -> str:
    hosts = {catalog.checkpoint(mark.checkpoint).host for mark in point.marks}
    return ", ".join(sorted(hosts))


def not_here(home: Home, catalog: Catalog) -> list[Offer]:
    """The offers of which this home has no file, not even one that cannot be read."""
    listing = list_services(home)
    here = {each.name for each in (*listing.services, *listing.broken)}
    return [offer for offer in offers(catalog) if offer.service.name not in here]


def chosen_offers(offered: Sequence[Offer], names: Sequence[str], host: str = "") -> list[Offer]:
    """The offers of these names, of one host where it is named. Raises NotFound; UsageError when a host must be."""
    chosen: list[Offer] = []
    for name in dict.fromkeys(names):
        named = [each for each in offered if each.service.name == name and host in ("", each.host)]
        if not named:
            known = sorted({each.service.name for each in offered})
            hint = did_you_mean(name, known) or f"it describes: {', '.join(known[:10]) or 'none'}"
            raise NotFound(f"no point of the vault describes '{name}'" + (f" of {host}" if host else ""), hint=hint)
        if len(named) > 1:
            hosts = ", ".join(each.host for each in named)
            raise UsageError(f"'{name}' is a service of more than one host", hint=f"choose with --host: {hosts}")
        chosen += named
    return chosen


def plan_adoption(home: Home, offer: Offer, *, replace: bool = False) -> Adoption:
    """Plan to make a service of this home as an offer describes it. Raises Exists when another definition is here."""
    service = _harmless(offer.service, _present(home, offer.service.name))
    change = plan_change(home, service)
    if change.action == "change" and not replace:
        name = offer.service.name
        raise Exists(
            f"this home defines '{name}' already, and not as the vault's newest point does",
            hint=f"compare: knowngood service adopt {name} --replace --dry-run",
        )
    return Adoption(offer, change, _programs(offer.service))


def _present(home: Home, name: str) -> ServiceSpec | None:
    with suppress(KnowngoodError):
        return find_service(home, name)
    return None


def _harmless(service: ServiceSpec, here: ServiceSpec | None) -> ServiceSpec:
    """Without hooks and scripts, but for those that are defined here already."""
    scripts = tuple(each for each in here.checks if each.python) if here else ()
    checks = (*(each for each in service.checks if not each.python), *scripts)
    return msgspec.structs.replace(service, hooks=here.hooks if here else Hooks(), checks=checks)


def _programs(service: ServiceSpec) -> tuple[str, ...]:
    hooks = [
        f"{name.replace('_', '-')}: {' '.join(command)}" for name in HOOKS if (command := getattr(service.hooks, name))
    ]
    return (*hooks, *(each.what for each in service.checks if each.python))
