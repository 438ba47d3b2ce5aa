"""What is done when somebody sends a form. Each names the session's token, and answers with where to look next."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from knowngood.control.changes import plan_change
from knowngood.control.documents import parse_document
from knowngood.control.forms import read_service
from knowngood.control.kit import note_kit_is_kept
from knowngood.control.services import find_service, get_service, with_files
from knowngood.control.up.client import nudge
from knowngood.core.errors import KnowngoodError, Locked, UsageError
from knowngood.core.model import ServiceSpec
from knowngood.doors.cli.commands.policy import with_settings
from knowngood.doors.console.asking import HEADERS, Words, page, service_in
from knowngood.doors.console.care import policy_settings
from knowngood.doors.console.console import Console
from knowngood.doors.console.gate import Person
from knowngood.doors.console.pages import url
from knowngood.doors.console.recovery import Wanted, require_same

_COMMAND = "knowngood serve"
Action = Callable[[Console, Request, Words, Person], Response]


def see(address: str) -> Response:
    """Look there next."""
    return RedirectResponse(address, 303, headers=HEADERS)


def recover(console: Console, request: Request, form: Words, _: Person) -> Response:
    """Carry out the plan that was shown, if it is still the same."""
    wanted = Wanted.of(service_in(request), form)
    require_same(console.desk, wanted, form.one("print"))
    job = console.jobs.start(
        [*wanted.command(), "--yes"],
        f"Recovery of {wanted.service}",
        url(f"/services/{wanted.service}"),
        console.desk.keyhole.key(),
    )
    return see(f"/jobs/{job.id}")


def drill(console: Console, request: Request, _: Words, __: Person) -> Response:
    """Rehearse a recovery."""
    name = get_service(console.desk.home, service_in(request)).name
    job = console.jobs.start(
        ["drill", name], f"Drill of {name}", url("/drills", service=name), console.desk.keyhole.key()
    )
    return see(f"/jobs/{job.id}")


def protect(console: Console, request: Request, _: Words, __: Person) -> Response:
    """Make a point."""
    name = get_service(console.desk.home, service_in(request)).name
    job = console.jobs.start(["protect", name], f"A point of {name}", url(f"/services/{name}"))
    return see(f"/jobs/{job.id}")


def unlock(console: Console, _: Request, form: Words, __: Person) -> Response:
    """Open the vault for a while with its passphrase."""
    with console.gate.tries.one() as failed:
        try:
            console.desk.unlock(form.one("passphrase").encode("utf-8", "surrogateescape"))
        except Locked:
            failed()
            raise
    return see(inner(form.one("next")))


def lock(console: Console, _: Request, __: Words, ___: Person) -> Response:
    """Forget the key."""
    console.desk.keyhole.take_out()
    return see("/")


def inner(address: str) -> str:
    """An address of ours, and no other one: the first page instead."""
    return address if address.startswith("/") and not address.startswith(("//", "/\\", "/sign")) else "/"


def stop(console: Console, request: Request, _: Words, __: Person) -> Response:
    """Stop a job."""
    job = console.jobs.get(request.path_params["job"])
    job.stop()
    return see(f"/jobs/{job.id}")


def policy(console: Console, request: Request, form: Words, _: Person) -> Response:
    """Promise something else."""
    service = get_service(console.desk.home, service_in(request))
    settings = [f"{word}={value}" for word, value in policy_settings(form)]
    _save(console, replace(service, policy=with_settings(service.policy, settings)))
    return see(url(f"/services/{service.name}"))


def new(console: Console, _: Request, form: Words, person: Person) -> Response:
    """Define a service."""
    given = {word: form.one(word) for word in ("name", "files", "rpo", "yaml")}
    try:
        made = _described(console, given["yaml"]) if given["yaml"] else _of_files(console, given)
        _save(console, made, text=given["yaml"].replace("\r\n", "\n") or None)
    except KnowngoodError as wrong:
        signed = {"who": person.name, "token": person.token, "signed": True}
        common = {**signed, "open": console.desk.keyhole.look()}
        return page("new.html", {**common, "place": "home", "wrong": wrong, "given": given}, 400)
    return see(url(f"/services/{made.name}"))


def _described(console: Console, text: str) -> ServiceSpec:
    kinds = {name: kind.traits for name, kind in console.desk.plugins.kinds().items()}
    document = parse_document(text.replace("\r\n", "\n").encode("utf-8", "surrogateescape"), "what was typed", "yaml")
    return read_service(document, kinds=kinds)


def _of_files(console: Console, given: dict[str, str]) -> ServiceSpec:
    name = given["name"].strip()
    paths = [line.strip() for line in given["files"].splitlines() if line.strip()]
    if not paths:
        raise UsageError("a service takes at least one folder or file", hint="write one whole path a line")
    if wrong := [each for each in paths if not each.startswith("/")]:
        raise UsageError(f"'{wrong[0]}' is not a whole path", hint="write paths such as /srv/shop")
    made = with_files(find_service(console.desk.home, name), name, paths)
    return replace(made, policy=with_settings(made.policy, [f"rpo={given['rpo'].strip() or '0'}"]))


def _save(console: Console, service: ServiceSpec, *, text: str | None = None) -> None:
    home = console.desk.home
    with home.lock(_COMMAND):
        plan_change(home, service, text=text).carry_out(home)
    nudge(home)


def kit_kept(console: Console, _: Request, __: Words, ___: Person) -> Response:
    """The recovery kit is kept elsewhere."""
    with console.desk.open() as shop:
        note_kit_is_kept(console.desk.home, shop.vault.id)
    return see("/")


ACTIONS: dict[str, Action] = {
    "/services/new": new,
    "/services/{service}/recover": recover,
    "/services/{service}/drill": drill,
    "/services/{service}/protect": protect,
    "/services/{service}/policy": policy,
    "/jobs/{job}/stop": stop,
    "/unlock": unlock,
    "/lock": lock,
    "/kit-kept": kit_kept,
}
"""By address."""
