"""knowngood service: which components make up a service."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from knowngood.control.adopt import Offer, not_here
from knowngood.control.changes import ServiceChange, plan_change, plan_removal
from knowngood.control.discover import discover as propose
from knowngood.control.documents import MAX_BYTES, Document, parse_document, read_document
from knowngood.control.forms import read_service
from knowngood.control.services import (
    Listing,
    find_service,
    get_service,
    list_services,
    service_path,
    warnings_about,
    with_files,
    without_components,
)
from knowngood.core.errors import KnowngoodError, NotFound, UsageError
from knowngood.core.fit import did_you_mean
from knowngood.core.model import HOOKS, ServiceSpec
from knowngood.core.sizes import span_short
from knowngood.doors.cli.arguments import DryRun, ServiceName
from knowngood.doors.cli.changing import change
from knowngood.doors.cli.commands.adopt import adopt, offer_shape
from knowngood.doors.cli.describe import kept_text, options_text, rehearsal_texts
from knowngood.doors.cli.opening import workshop
from knowngood.doors.cli.session import Session, current
from knowngood.doors.cli.shapes import service_shape
from knowngood.doors.cli.words import absolute, count_text

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Say which folders and databases make up a service.")


@app.command()
def add(
    context: typer.Context,
    name: ServiceName,
    files: Annotated[
        list[str], typer.Option("--files", metavar="PATH", help="A folder or file that belongs to it; can be repeated.")
    ],
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Leave these out; can be repeated."),
    ] = None,
    exclude_caches: Annotated[
        bool, typer.Option("--exclude-caches", help="Leave out folders that are marked with a CACHEDIR.TAG.")
    ] = False,
    one_file_system: Annotated[
        bool, typer.Option("--one-file-system", help="Do not go into other mounted file systems.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Add folders or files to a service; the service is created if there is none of this name.

    Each path becomes a component, named after its last part. Example:

    knowngood service add shop --files /srv/shop/uploads --exclude '*.tmp'
    """
    session = current(context)
    full = [absolute(each) for each in files]

    def plan() -> ServiceChange:
        spec = with_files(
            find_service(session.home, name),
            name,
            full,
            exclude=exclude or (),
            exclude_caches=exclude_caches,
            one_file_system=one_file_system,
        )
        return plan_change(session.home, spec)

    change(session, "service add", plan, dry_run=dry_run, then=f"next: knowngood protect {name}")


@app.command()
def apply(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A .yaml or .toml file, or - for YAML from standard input.")
    ],
    dry_run: DryRun = False,
) -> None:
    """Create a service, or replace its definition, from a file.

    What was there before is kept. Example:

    knowngood service apply shop.yaml --dry-run
    """
    session = current(context)
    document = _read_input() if file == "-" else read_document(file)
    spec = read_service(document, kinds={name: kind.traits for name, kind in session.plugins.kinds().items()})
    text = document.text if document.form == "yaml" else None
    change(
        session,
        "service apply",
        lambda: plan_change(session.home, spec, text=text),
        dry_run=dry_run,
        then=f"next: knowngood protect {spec.name}",
    )


def _read_input() -> Document:
    return parse_document(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input", "yaml")


@app.command()
def discover(
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the service is to be called.")] = "",
    unit: Annotated[
        str, typer.Option("--unit", metavar="UNIT", help="Only what belongs to this systemd unit, and where it writes.")
    ] = "",
) -> None:
    """Propose a service file from what runs on this host. Writes nothing. Example:

    knowngood service discover --unit shop > shop.yaml
    """
    session = current(context)
    proposal = propose(name, unit, session.plugins.kinds().keys(), session.home.path)
    fields = {
        "components": [
            {"name": each.name, "kind": each.kind, "where": each.where}
            for each in (proposal.service.components if proposal.service else ())
        ],
        "notes": proposal.notes,
        "yaml": proposal.text,
    }
    session.out.result("service discover", fields, lambda: session.out.raw(proposal.text.encode()))


@app.command(name="list")
def list_(context: typer.Context) -> None:
    """List the services of this machine, and those of the vault that this machine could adopt."""
    session = current(context)
    listing = list_services(session.home)
    offered = _offered(session)
    for broken in listing.broken:
        session.out.warn(f"service '{broken.name}' cannot be read: {broken.error.message}")
    fields = {
        "services": [service_shape(each) for each in listing.services],
        "broken": [
            {"name": each.name, "path": each.path, "message": each.error.message, "hint": each.error.hint}
            for each in listing.broken
        ],
        "offered": [offer_shape(each) for each in offered],
    }

    def human() -> None:
        if not listing.services and not offered:
            session.out.note("there is no service yet; add one with: knowngood service add NAME --files PATH")
        if listing.services:
            _table(session, listing)
        if offered:
            names = ", ".join(f"{each.service.name} of {each.host}" for each in offered)
            session.out.note(f"the vault has points of services that are not defined here: {names}")
            session.out.note("to define them here: knowngood service adopt NAME, or --all")

    session.out.result("service list", fields, human)


def _offered(session: Session) -> list[Offer]:
    """What the vault describes and this home does not; nothing, with a warning, while it cannot be asked."""
    if session.home.config().vault is None:
        return []
    try:
        return not_here(session.home, workshop(session).catalog)
    except KnowngoodError as wrong:
        session.out.warn(f"the vault cannot be asked for more services: {wrong.message}")
        return []


def _table(session: Session, listing: Listing) -> None:
    rows = [
        [
            each.name,
            str(len(each.components)),
            ", ".join(part.where for part in each.components),
            kept_text(each.policy),
        ]
        for each in listing.services
    ]
    session.out.table(["service", "components", "where", "keeps"], rows, right=[1])


@app.command()
def show(context: typer.Context, name: ServiceName) -> None:
    """Show one service."""
    session = current(context)
    service = get_service(session.home, name)
    for warning in warnings_about(service):
        session.out.warn(warning)
    path = service_path(session.home, name)

    def human() -> None:
        out = session.out
        out.pairs(
            [
                ("service", service.name),
                ("keeps", kept_text(service.policy)),
                ("undo", span_short(service.policy.undo)),
                *_rules_rows(service),
                ("file", path),
            ]
        )
        out.line()
        rows = [[each.name, each.kind, each.where, options_text(each)] for each in service.components]
        out.table(["component", "kind", "where", "options"], rows)

    session.out.result("service show", {"service": service_shape(service), "path": path}, human)


def _rules_rows(service: ServiceSpec) -> list[tuple[str, str]]:
    """What it says of its components together, where it does."""
    rows = [("refers to", f"{name} → {', '.join(targets)}") for name, targets in service.refers_to.items()]
    rows += [("order", ", ".join(service.order))] if service.order else []
    rows += [(name.replace("_", " "), " ".join(command)) for name in HOOKS if (command := getattr(service.hooks, name))]
    rows += [("check", f"{each.what}" + (f" ({each.expect})" if each.expect else "")) for each in service.checks]
    return rows + [("promised", each) for each in rehearsal_texts(service.policy)]


app.command()(adopt)


@app.command()
def remove(
    context: typer.Context,
    name: ServiceName,
    component: Annotated[
        list[str] | None,
        typer.Option("--component", metavar="NAME", help="Only this component; can be repeated."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Stop protecting a service, or some of its components. Points that were made stay, by their policy.

    The definition is kept, and the answer says where. Example:

    knowngood service remove shop --component uploads
    """
    session = current(context)

    def plan() -> ServiceChange:
        return _plan_without(session, name, component) if component else plan_removal(session.home, name)

    change(session, "service remove", plan, dry_run=dry_run)


def _plan_without(session: Session, name: str, gone: list[str]) -> ServiceChange:
    service = get_service(session.home, name)
    known = [each.name for each in service.components]
    for each in gone:
        if each not in known:
            hint = did_you_mean(each, known) or f"components: {', '.join(known)}"
            raise NotFound(f"service '{name}' has no component '{each}'", hint=hint)
    rest = without_components(service, gone)
    if not rest.components:
        count = count_text(len(known), "component")
        raise UsageError(f"that is all of service '{name}' ({count})", hint=f"knowngood service remove {name}")
    return plan_change(session.home, rest)
