"""The doctor: looks at everything that must be right for a recovery to work, and names the command that mends it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from knowngood.control.adopt import not_here
from knowngood.control.report import vault_state
from knowngood.control.services import list_services
from knowngood.control.up.client import running
from knowngood.control.workshop import Workshop
from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import short
from knowngood.core.instants import SECOND, now_ns, parse_when
from knowngood.core.sizes import GIB, bytes_text, span_text
from knowngood.flow.private import leftovers
from knowngood.vault.descriptor import read_key_files
from knowngood.vault.harm import Harmed
from knowngood.vault.reserve import reserved_bytes
from knowngood.vault.session import is_dead, list_sessions, lives_here

_OLD_POINT = 2 * 86400 * SECOND
_LONG_SESSION = 2 * 86400 * SECOND
_OLD_READ = 60 * 86400 * SECOND


@dataclass(frozen=True, slots=True)
class Advice:
    """One finding. `grave`: a recovery may fail, or data may be lost, until it is mended."""

    grave: bool
    what: str
    fix: str


def examine(shop: Workshop) -> list[Advice]:
    """Every finding; empty when all is well. A check that cannot be made is itself a finding."""
    advice: list[Advice] = []
    for check in (_home, _vault, _keys, _commits, _space, _sessions, _sandboxes, _services, _promises, _reading):
        try:
            advice += check(shop)
        except KnowngoodError as wrong:
            found = Advice(True, wrong.message, wrong.hint)
            if found not in advice:
                advice.append(found)
    return advice


Check = Callable[[Workshop], Iterator[Advice]]


def _home(shop: Workshop) -> Iterator[Advice]:
    shop.home.check()
    for path in (shop.home.keys, shop.home.writer_key, shop.home.unlocking_key):
        if os.path.exists(path) and os.stat(path).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield Advice(True, f"others may read {path}", f"chmod go= {path}")


def _vault(shop: Workshop) -> Iterator[Advice]:
    location = os.path.realpath(shop.home.vault_path())
    shop.vault  # noqa: B018 - raises what is wrong
    for service in list_services(shop.home).services:
        for component in service.components:
            device = _device(component.path) if component.path else None
            if device is not None and device == _device(location):
                yield Advice(
                    False,
                    f"the vault is on the same disk as {service.name}/{component.name}: losing it loses both",
                    "keep a vault on another disk or machine",
                )
                return


def _device(path: str) -> int | None:
    try:
        return os.stat(path).st_dev
    except OSError:
        return None


def _keys(shop: Workshop) -> Iterator[Advice]:
    keys = read_key_files(shop.store)
    here = os.path.exists(shop.home.unlocking_key)
    if not keys:
        key = "" if here else " --recovery-key-file FILE"
        yield Advice(True, "the vault has no readable key file", f"knowngood vault keys restore{key}")
    elif not here and not any(key.lock for key in keys):
        yield Advice(False, "the private key is off-line only", "keep the recovery kit where you will find it")
    if here:
        yield Advice(
            False,
            "the private key lies on this machine: whoever takes it over can read the vault",
            "knowngood vault keys passphrase",
        )


def _commits(shop: Workshop) -> Iterator[Advice]:
    for key, reason in shop.catalog.damaged().items():
        yield Advice(True, f"{key} cannot be read: {reason}", "knowngood vault check")


def _space(shop: Workshop) -> Iterator[Advice]:
    free = shop.store.free_bytes()
    if free is not None and free < GIB:
        yield Advice(free < GIB // 8, f"the vault's disk has {bytes_text(free)} left", "knowngood tidy")
    if not reserved_bytes(shop.store):
        yield Advice(False, "the vault keeps no space back for cleaning up", "knowngood vault reserve 16M")


def _sessions(shop: Workshop) -> Iterator[Advice]:
    for card in list_sessions(shop.store):
        if is_dead(card):
            yield Advice(
                False, f"'{card.purpose}' was interrupted and left its announcement", "knowngood vault collect"
            )
        elif (age := now_ns() - card.since_ns) > _LONG_SESSION and not lives_here(card):
            whose = f"'{card.purpose}' on {card.host}, announced {span_text(age / SECOND)} ago, holds collection up"
            yield Advice(False, whose, f"when it is gone for certain: knowngood vault sessions end {short(card.id)}")


def _sandboxes(shop: Workshop) -> Iterator[Advice]:
    if found := leftovers(shop.home.sandboxes):
        what = f"{len(found)} sandboxes were left behind by a run that was killed: {found[0].folder}"
        yield Advice(False, what, "the next drill or sandbox removes them: knowngood drill NAME")


def _services(shop: Workshop) -> Iterator[Advice]:
    listing = list_services(shop.home)
    for broken in listing.broken:
        yield Advice(True, f"service '{broken.name}' is not protected: {broken.error.message}", broken.error.hint)
    if not listing.services and not_here(shop.home, shop.catalog):
        yield Advice(True, "this home has no service; its vault has points of some", "knowngood service adopt --all")
    elif not listing.services:
        yield Advice(False, "there is no service yet", "knowngood service add NAME --files PATH")
    for service in listing.services:
        for component in service.components:
            if component.path and not os.path.lexists(component.path):
                yield Advice(
                    True,
                    f"{component.path} of {service.name}/{component.name} is not there",
                    f"mount or create it, or: knowngood service show {service.name}",
                )
        points = shop.catalog.points(service.name)
        if not points:
            yield Advice(True, f"service '{service.name}' has no point", f"knowngood protect {service.name}")
        elif (age := now_ns() - points[0].moment_ns) > _OLD_POINT:
            text = f"the newest point of '{service.name}' is {span_text(age / SECOND)} old"
            yield Advice(True, text, f"knowngood protect {service.name}")


def _promises(shop: Workshop) -> Iterator[Advice]:
    promised = [each.name for each in list_services(shop.home).services if each.policy.rpo]
    if promised and running(shop.home) is None:
        names = ", ".join(f"'{name}'" for name in promised)
        yield Advice(True, f"nobody keeps what is promised for {names}: knowngood up is not running", "knowngood up")


def _reading(shop: Workshop) -> Iterator[Advice]:
    state = vault_state(shop.parts(), shop.home.vault_path())
    harm = shop.catalog.harm()
    if harm == Harmed.FOUND:
        names = [service.name for service in list_services(shop.home).services] or ["SERVICE"]
        fix = "; ".join(f"knowngood protect {name}" for name in names)
        yield Advice(True, "a check found damage; what is at its source can be stored again", fix)
    elif harm == Harmed.FORGOTTEN:
        yield Advice(True, "damage was found, and stored again as far as it could be", "knowngood vault check")
    elif state.bad_packs:
        yield Advice(True, f"{state.bad_packs} packs were damaged when last read", "knowngood vault check --read-data")
    elif state.points and now_ns() - (state.oldest_read_ns or parse_when(state.created)) > _OLD_READ:
        yield Advice(False, "the vault's data was not read back for long", "knowngood vault check --read-data")
    if state.spent_packs:
        what = f"{state.spent_packs} packs hold damage that nothing leads to"
        yield Advice(False, what, "knowngood vault collect")
