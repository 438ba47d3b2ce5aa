"""`knowngood vault`: its state, checking, rebuilding, collecting, its reserve."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Annotated, Any

import typer

from knowngood.control.report import VaultState, vault_state
from knowngood.core.errors import ExitStatus
from knowngood.core.ids import short
from knowngood.core.instants import SECOND, iso_text, now_ns
from knowngood.core.sizes import bytes_text, parse_size, span_text
from knowngood.doors.cli.collected import collected_shape, parity_shape, tell_collected
from knowngood.doors.cli.commands.keys import app as keys_app
from knowngood.doors.cli.commands.sessions import app as sessions_app
from knowngood.doors.cli.healing import healed, healing_shape, tell_healing
from knowngood.doors.cli.opening import PassphraseFile, RecoveryKeyFile, confirmed, workshop
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import current
from knowngood.doors.cli.words import count_text, day_text
from knowngood.flow.heal import note_harm
from knowngood.flow.hurt import HurtFile, hurt_files
from knowngood.flow.parts import Parts
from knowngood.flow.scrub import RATE, Pacer, scrub as read_turn
from knowngood.flow.tidy import take_away
from knowngood.linux.priority import be_idle
from knowngood.seal.keys import PrivateKey
from knowngood.vault.catalog import Catalog
from knowngood.vault.check import Checked, check as check_vault
from knowngood.vault.forget import SPENT, curable_packs
from knowngood.vault.harm import Harmed
from knowngood.vault.rebuild import rebuild_index
from knowngood.vault.reserve import set_reserve

_FILES = 1000
_SHOWN = 20

app = typer.Typer(no_args_is_help=True, help="Look after the vault.")
app.add_typer(keys_app, name="keys")
app.add_typer(sessions_app, name="sessions")


@app.command(help="Say where the vault is, what it holds and how it does.")
def status(context: typer.Context) -> None:
    """State."""
    session = current(context)
    shop = workshop(session)
    state = vault_state(shop.parts(), shop.home.vault_path())
    session.out.result("vault status", state_shape(state), lambda: _tell_state(session.out, state))


def state_shape(state: VaultState) -> dict[str, Any]:
    """As docs/json.md says."""
    return {
        "location": state.location,
        "vault_id": state.vault_id,
        "created": state.created,
        "points": state.points,
        "expired_points": state.expired_points,
        "nameless_points": state.nameless_points,
        "packs": state.packs,
        "pack_bytes": state.pack_bytes,
        "page_bytes": state.page_bytes,
        "segments": state.segments,
        "segment_bytes": state.segment_bytes,
        "logs": state.logs,
        "parity_bytes": state.parity_bytes,
        "index_bytes": state.index_bytes,
        "index_names": state.index_names,
        "reserve_bytes": state.reserve_bytes,
        "free_bytes": state.free_bytes,
        "read_packs": state.read_packs,
        "bad_packs": state.bad_packs,
        "spent_packs": state.spent_packs,
        "oldest_read": iso_text(state.oldest_read_ns) if state.oldest_read_ns else None,
        "sessions": [
            {"purpose": card.purpose, "host": card.host, "since": iso_text(card.since_ns)} for card in state.sessions
        ],
    }


def _tell_state(out: Output, state: VaultState) -> None:
    total = state.pack_bytes + state.page_bytes + state.segment_bytes + state.index_bytes + state.parity_bytes
    size = (
        f"{bytes_text(total)}: content {bytes_text(state.pack_bytes)}, trees {bytes_text(state.page_bytes)}, "
        f"logs {bytes_text(state.segment_bytes)}, index {bytes_text(state.index_bytes)}, "
        f"parity {bytes_text(state.parity_bytes)}"
    )
    rows = [
        ("vault", state.location),
        ("id", state.vault_id),
        ("points", f"{state.points}, and {state.expired_points} hidden"),
        ("size", size),
        ("packs", f"{state.packs}, holding {count_text(state.index_names, 'name')}"),
        ("logs", f"{state.logs}, in {count_text(state.segments, 'segment')}"),
        ("free", bytes_text(state.free_bytes) if state.free_bytes is not None else "unknown"),
        ("reserve", bytes_text(state.reserve_bytes)),
        ("read back", _read_text(state)),
    ]
    rows += [("at work", f"{card.purpose} on {card.host}, since {day_text(card.since_ns)}") for card in state.sessions]
    out.pairs(rows)
    if state.nameless_points:
        out.note(f"{count_text(state.nameless_points, 'point')} of other homes take the private key to be seen")


def _read_text(state: VaultState) -> str:
    if not state.read_packs:
        return "never; run: knowngood vault check --read-data"
    bad = f", {state.bad_packs} damaged" if state.bad_packs else ""
    age = span_text((now_ns() - state.oldest_read_ns) / SECOND)
    return f"{state.read_packs} of {state.packs + state.segments} packs{bad}; the one read longest ago {age} ago"


@app.command(help="Check that everything points need is there; with --read-data, that every byte is as written.")
def check(
    context: typer.Context,
    read_data: Annotated[bool, typer.Option("--read-data", help="Read every pack in full.")] = False,
    limit: Annotated[str, typer.Option("--limit", help="Read at most this much, oldest first.", metavar="SIZE")] = "",
    heal: Annotated[bool, typer.Option("--heal", help="Bring back from parity what is lost or damaged.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --heal: say what would come back; change nothing.")
    ] = False,
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> int:
    """Check."""
    session = current(context)
    bound = parse_size(limit) if limit else None
    with session.lock() if heal and not dry_run else nullcontext():
        shop = workshop(session, passphrase_file, recovery_key_file)
        parts = shop.parts()
        private = parts.private() if passphrase_file or recovery_key_file else None
        with session.watch(parts.progress):
            found = _checked(parts, bound, private, read_data=read_data or bool(limit))
            healing = healed(found, parts, dry_run=dry_run) if heal else None
        found = healing.after if healing and healing.after else found
        note_harm(found, parts)
        hurt = hurt_files(found.findings, parts)
    findings = _findings(found, parts.catalog)
    fields = _checked_shape(found, hurt) | {
        "findings": findings,
        "healing": healing_shape(healing) if healing else None,
    }

    def tell() -> None:
        _tell_check(session.out, found, findings)
        _tell_hurt(session.out, hurt)
        if healing:
            tell_healing(session.out, healing)

    session.out.result("vault check", fields, tell)
    return ExitStatus.DAMAGED if findings else ExitStatus.DONE


def _checked_shape(found: Checked, hurt: list[HurtFile]) -> dict[str, Any]:
    return {
        "points": found.points,
        "pages": found.pages,
        "packs": found.packs,
        "segments": found.segments,
        "read_packs": found.read_packs,
        "read_bytes": found.read_bytes,
        "files": [_hurt_shape(each) for each in hurt[:_FILES]],
        "file_count": len(hurt),
        "spent_packs": found.spent_packs,
    }


def _checked(parts: Parts, bound: int | None, private: PrivateKey | None, *, read_data: bool) -> Checked:
    vault, catalog = parts.vault, parts.catalog
    return check_vault(vault, catalog, parts.progress, read_data=read_data, limit=bound, private=private)


def _findings(found: Checked, catalog: Catalog) -> list[dict[str, Any]]:
    names = {point.id: point for point in catalog.points() + catalog.points(expired=True)}
    return [
        {
            "what": each.what,
            "object": each.object,
            "reason": each.reason,
            "points": [point.hex() for point in each.points],
            "services": sorted({names[point].service for point in each.points if point in names}),
            "timelines": [timeline.hex() for timeline in each.timelines],
            "after": iso_text(each.after_ns) if each.after_ns else None,
            "until": iso_text(each.until_ns) if each.until_ns else None,
            "lasting": each.lasting,
        }
        for each in found.findings
    ]


def _tell_check(out: Output, found: Checked, findings: list[dict[str, Any]]) -> None:
    read = f", {count_text(found.read_packs, 'pack')} read ({bytes_text(found.read_bytes)})" if found.read_packs else ""
    out.note(f"{count_text(found.points, 'point')}, {count_text(found.pages, 'page')} checked{read}")
    if not findings:
        out.note("nothing is wrong")
    _tell_findings(out, findings)
    if found.spent_packs:
        count = count_text(len(found.spent_packs), "pack")
        out.note(f"damage that nothing leads to is left in {count}; to replace them: knowngood vault collect")
    if findings:
        out.note("what has parity comes back by: knowngood vault check --heal")
    if not all(each["lasting"] for each in findings):
        hurt = sorted({name for each in findings for name in each["services"]}) or ["SERVICE"]
        out.note("what is still at its source is stored again, and old points become whole, by:")
        for name in hurt:
            out.note(f"  knowngood protect {name}")


def _hurt_shape(file: HurtFile) -> dict[str, Any]:
    return {
        "service": file.service,
        "component": file.component,
        "point": file.point.hex(),
        "path": os.fsdecode(file.path),
        "and_more": file.and_more,
    }


def _tell_hurt(out: Output, hurt: list[HurtFile]) -> None:
    if hurt:
        out.note("these files cannot be recovered whole, from these points on or before them:")
    for each in hurt[:_SHOWN]:
        more = ", and what follows it" if each.and_more else ""
        out.note(f"  {each.service}, {each.component}: {os.fsdecode(each.path)}{more} ({short(each.point)})")
    if len(hurt) > _SHOWN:
        out.note(f"  and {len(hurt) - _SHOWN} more: --json lists them")


def _tell_findings(out: Output, findings: list[dict[str, Any]]) -> None:
    for each in findings:
        hurt = f"; affects {count_text(len(each['points']), 'point')} of {', '.join(each['services'])}"
        lost = f"; affects changes that came after {each['after'] or 'the beginning'}, until {each['until']}"
        hurt = hurt if each["services"] else lost if each["until"] else ""
        out.warn(f"{each['what']} {each['object']}: {each['reason']}{hurt}")


@app.command(
    help="Read back a part of what was not read for 20 days, and heal what is damaged. `up` does it each hour."
)
def scrub(context: typer.Context) -> int:
    """One turn, out of everybody's way."""
    be_idle()
    session = current(context)
    shop = workshop(session)
    parts = shop.parts()
    with session.watch(parts.progress):
        done = read_turn(parts, Pacer(RATE), session.lock)
    findings = _findings(done.checked, parts.catalog)
    fields = {
        "due": done.due,
        "left_bytes": done.left_bytes,
        "read_packs": done.checked.read_packs,
        "read_bytes": done.checked.read_bytes,
        "findings": findings,
        "healed": [each.key for each in done.healed.objects],
        "parity": parity_shape(done.parity),
    }

    def tell() -> None:
        session.out.note(
            f"{count_text(done.checked.read_packs, 'object')} read ({bytes_text(done.checked.read_bytes)}), "
            f"{bytes_text(done.left_bytes)} are left for later turns"
        )
        for each in done.healed.objects:
            session.out.note(f"{each.key} came back from parity")
        _tell_findings(session.out, findings)

    session.out.result("vault scrub", fields, tell)
    return ExitStatus.DAMAGED if findings else ExitStatus.DONE


@app.command(help="Make the index anew from the packs, and the catalog from the commits.")
def rebuild(
    context: typer.Context, passphrase_file: PassphraseFile = "", recovery_key_file: RecoveryKeyFile = ""
) -> int:
    """Rebuild."""
    session = current(context)
    with session.lock():
        shop = workshop(session, passphrase_file, recovery_key_file)
        if passphrase_file or recovery_key_file:
            shop.private  # noqa: B018 - a wrong key is told before the work, not after it
        with session.watch(shop.progress):
            bad = curable_packs(shop.catalog)
            done = rebuild_index(shop.vault, shop.progress, bad)
            shop.catalog.note_checked((pack, now_ns(), SPENT) for pack in bad)
        nameless = shop.rebuild_catalog()
        if done.damaged:
            shop.catalog.note_harm(Harmed.FORGOTTEN)
        points = len(shop.catalog.points())
    fields = {
        "packs": done.packs,
        "names": done.names,
        "points": points,
        "nameless_points": nameless,
        "mended": done.mended,
        "damaged": [{"object": key, "reason": reason} for key, reason in done.damaged.items()],
    }
    if nameless:
        session.out.warn(f"{count_text(nameless, 'point')} more take the private key to be seen")

    def tell() -> None:
        session.out.note(
            f"index of {count_text(done.names, 'name')} from {count_text(done.packs, 'pack')}; "
            f"catalog of {count_text(points, 'point')}"
        )
        for key in done.mended:
            session.out.note(f"{key} was made anew from its copy")
        for key, reason in done.damaged.items():
            session.out.warn(f"{key}: {reason}")

    session.out.result("vault rebuild", fields, tell)
    return ExitStatus.DAMAGED if done.damaged else ExitStatus.DONE


@app.command(help="Take away what no point needs.")
def collect(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be freed; change nothing.")] = False,
    now: Annotated[
        bool,
        typer.Option("--now", help="Also hidden points and thinned logs that could still be brought back: for ever."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Collect. With the private key, also beside chunks that are lost for good."""
    session = current(context)
    with session.lock():
        shop = workshop(session, passphrase_file, recovery_key_file)
        parts = shop.parts()
        if passphrase_file or recovery_key_file:
            shop.private  # noqa: B018 - a wrong key is told before the work
        hidden = len(parts.catalog.points(expired=True))
        thinned = any(parts.catalog.log.hidden(each) for each in parts.catalog.log.timelines())
        logs = ", and all that is thinned of logs," if thinned else ""
        question = f"delete {count_text(hidden, 'hidden point')}{logs} for ever?"
        if now and (hidden or thinned) and not dry_run and not confirmed(session, question, yes=yes):
            return
        with session.watch(parts.progress):
            done = take_away(parts, dry_run=dry_run, undo_is_over=now)
    fields = {"dry_run": dry_run, "collected": collected_shape(done)}
    session.out.result("vault collect", fields, lambda: tell_collected(session.out, done, dry_run=dry_run))


@app.command(help="Keep space back, so that a full disk can still be cleaned.")
def reserve(
    context: typer.Context,
    size: Annotated[str, typer.Argument(help="How much, such as 64M; 0 gives everything back.", metavar="SIZE")],
) -> int:
    """Reserve."""
    session = current(context)
    wanted = parse_size(size)
    with session.lock():
        have = set_reserve(workshop(session).vault.store, wanted)
    fields = {"wanted_bytes": wanted, "reserve_bytes": have}
    session.out.result("vault reserve", fields, lambda: session.out.note(f"{bytes_text(have)} are kept back"))
    return ExitStatus.DONE if have == wanted else ExitStatus.NO_SPACE
