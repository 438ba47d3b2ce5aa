"""`knowngood vault sessions`: who is at work in the vault, and ending those of whom nobody here can know."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from knowngood.core.errors import Busy
from knowngood.core.ids import short
from knowngood.core.instants import iso_text, now_ns
from knowngood.doors.cli.opening import confirmed, workshop
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import current
from knowngood.doors.cli.words import count_text, day_text
from knowngood.vault.epoch import latest_epoch_or_blank
from knowngood.vault.session import SessionCard, fence, find_session, is_dead, list_sessions, lives_here

app = typer.Typer(invoke_without_command=True, help="See who is at work in the vault; end what is certainly over.")
_STATES = {"here": "runs on this machine", "dead": "its process is gone", "unknown": "cannot be seen from here"}


def session_shape(card: SessionCard) -> dict[str, Any]:
    """A session as `--json` prints it."""
    state = "dead" if is_dead(card) else "here" if lives_here(card) else "unknown"
    return {
        "session": card.id.hex(),
        "purpose": card.purpose,
        "host": card.host,
        "process": card.process,
        "since": iso_text(card.since_ns),
        "exclusive": card.exclusive,
        "timelines": [timeline.hex() for timeline in card.timelines or ()],
        "state": state,
    }


@app.callback()
def sessions(context: typer.Context) -> None:
    """List them."""
    if context.invoked_subcommand is not None:
        return
    session = current(context)
    store = workshop(session).vault.store
    cards = sorted(list_sessions(store), key=lambda card: card.since_ns)
    pending = latest_epoch_or_blank(store).condemned_at
    shapes = [session_shape(card) | {"delays_collection": card.epoch < pending} for card in cards]

    def tell() -> None:
        if not cards:
            session.out.note("nobody is at work in this vault")
            return
        rows = [
            [short(card.id), card.purpose, card.host, str(card.process), day_text(card.since_ns), _text(shape)]
            for card, shape in zip(cards, shapes, strict=True)
        ]
        session.out.table(("session", "purpose", "host", "process", "since", ""), rows, right=(3,))
        if any(shape["state"] == "unknown" for shape in shapes):
            session.out.note("one that is over for certain, on a machine that is gone: knowngood vault sessions end ID")

    session.out.result("vault sessions", {"sessions": shapes}, tell)


def _text(shape: dict[str, Any]) -> str:
    logs = f", writes {count_text(len(shape['timelines']), 'log')}" if shape["timelines"] else ""
    return _STATES[shape["state"]] + logs + (", delays collection" if shape["delays_collection"] else "")


@app.command(help="End a session whose process is gone for certain, so that collection can go on.")
def end(
    context: typer.Context,
    which: Annotated[str, typer.Argument(help="The session's id, or the beginning of it.", metavar="ID")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it means; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End one. Other commands of this home need not wait for it, so the home's lock is not taken."""
    session = current(context)
    vault = workshop(session).vault
    card = find_session(vault.store, which)
    if lives_here(card):
        raise Busy(
            f"'{card.purpose}' is at work on this machine (process {card.process})",
            hint=f"let it finish, or end it first: kill {card.process}",
        )
    _tell_plan(session.out, card)
    question = "is it certain that this process is gone, and shall it be ended?"
    ended = not dry_run and confirmed(session, question, yes=yes, silence_is_no=card.exclusive)
    if ended:
        fence(vault.store, card, vault.writer.public, vault.id, now_ns())
    fields = {**session_shape(card), "dry_run": dry_run, "ended": ended}
    told = f"session {short(card.id)} is ended; next: knowngood vault collect"
    session.out.result("vault sessions end", fields, lambda: session.out.note(told) if ended else None)


def _tell_plan(out: Output, card: SessionCard) -> None:
    out.note(f"session {short(card.id)}: {card.purpose} on {card.host}, since {day_text(card.since_ns)}")
    out.note(
        "a fence will be put in its way: should it still live, it makes nothing visible any more, says so, and can"
    )
    out.note("be run again. What it has committed stays. What it has only landed goes with the next collection.")
    if card.timelines:
        out.note("What it wrote to logs and has not committed is lost to them: the next writer goes on before it.")
    if card.exclusive:
        out.warn(
            "this one keeps the vault in order. Should it still live, two would delete at the same time, and something "
            "that is needed could go: be certain that its process or its machine is off for good"
        )
