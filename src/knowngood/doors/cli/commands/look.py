"""`knowngood ls`, `find`, `diff` and `cat`: inside moments, without recovering anything."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from knowngood.core.errors import NotFound, UsageError
from knowngood.core.instants import iso_text, when_text
from knowngood.core.sizes import bytes_text
from knowngood.doors.cli.moments import At, moment_shape, moment_text, tell_limits
from knowngood.doors.cli.opening import PassphraseFile, RecoveryKeyFile, show_bytes, workshop
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.session import current
from knowngood.flow import look
from knowngood.flow.choose import chosen_moment
from knowngood.flow.moment import Moment, moment_of
from knowngood.flow.parts import Parts
from knowngood.tree.block import Content, Entry

ls_app, find_app, diff_app, cat_app = (typer.Typer() for _ in range(4))
Service = Annotated[str, typer.Argument(help="The service.", metavar="NAME")]
Path = Annotated[str, typer.Argument(help="A path, absolute or below the component.", metavar="PATH")]
Component = Annotated[str, typer.Option("--component", "-c", help="Only this component.", metavar="C")]
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "block device",
    stat.S_IFCHR: "character device",
}


def entry_shape(component: str, entry: Entry) -> dict[str, Any]:
    """An entry as `--json` prints it. A path that is not UTF-8 has its bytes in `path_hex` too."""
    shape: dict[str, Any] = {
        "component": component,
        "path": show_bytes(entry.path),
        "type": _TYPES.get(stat.S_IFMT(entry.mode), "other"),
        "mode": f"{stat.S_IMODE(entry.mode):04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "modified": iso_text(entry.mtime_ns),
        "path_hex": None,
        "target": None,
    }
    try:
        entry.path.decode()
    except UnicodeDecodeError:
        shape["path_hex"] = entry.path.hex()
    if stat.S_ISLNK(entry.mode) and entry.content == Content.INLINE:
        shape["target"] = show_bytes(entry.inline)
    return shape


def _head(service: str, moment: Moment, opened: list[look.View]) -> dict[str, Any]:
    states = [view.state for view in opened]
    return {"service": service, "point": moment.point.id.hex(), "moment": moment_shape(moment, states)}


def _print(out: Output, prefix: str, entries: Iterable[Entry]) -> None:
    for entry in entries:
        path = show_bytes(entry.path)
        if stat.S_ISLNK(entry.mode):
            path += f" -> {show_bytes(entry.inline)}"
        elif entry.is_directory:
            path += "/"
        out.line(
            f"{stat.filemode(entry.mode)} {entry.uid:>5} {entry.gid:>5} {entry.size:>13} "
            f"{when_text(entry.mtime_ns)}  {prefix}{path}"
        )


@ls_app.command(help="List what there was at a moment.")
def ls(
    context: typer.Context,
    name: Service,
    path: Path = "",
    at: At = "latest",
    component: Component = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Everything below, too.")] = False,
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """List."""
    session = current(context)
    parts = workshop(session, passphrase_file, recovery_key_file).parts()
    moment = chosen_moment(parts, name, at)
    with look.views(moment, component or None, parts) as opened:
        chosen = [look.only(opened, path)] if path else opened
        found = [(view, look.listing(view, path, below=recursive)) for view in chosen]
        if session.settings.json:
            entries = [entry_shape(view.checkpoint.component, each) for view, some in found for each in some]
            session.out.result("ls", {**_head(name, moment, opened), "entries": entries}, lambda: None)
            return
        tell_limits(session.out, moment, [view.state for view in opened])
        for view, some in found:
            _print(session.out, f"{view.checkpoint.component}:" if len(found) > 1 else "", some)


@find_app.command(help="Find files by a pattern on their names, or on their paths when it has a '/'.")
def find(
    context: typer.Context,
    name: Service,
    pattern: Annotated[str, typer.Argument(help="A shell pattern, such as '*.conf'.", metavar="PATTERN")],
    at: At = "latest",
    component: Component = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Find."""
    session = current(context)
    parts = workshop(session, passphrase_file, recovery_key_file).parts()
    moment = chosen_moment(parts, name, at)
    with look.views(moment, component or None, parts) as opened:
        if session.settings.json:
            entries = [
                entry_shape(view.checkpoint.component, each) for view in opened for each in look.find(view, pattern)
            ]
            session.out.result("find", {**_head(name, moment, opened), "entries": entries}, lambda: None)
            return
        tell_limits(session.out, moment, [view.state for view in opened])
        for view in opened:
            prefix = f"{view.checkpoint.component}:" if len(opened) > 1 else ""
            _print(session.out, prefix, look.find(view, pattern))


@cat_app.command(help="Write a file, as it was at a moment, to standard output.")
def cat(
    context: typer.Context,
    name: Service,
    path: Path,
    at: At = "latest",
    component: Component = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Write a file out."""
    session = current(context)
    if session.settings.json:
        raise UsageError("cat writes the bytes of a file as they are, and no document", hint="leave out --json")
    parts = workshop(session, passphrase_file, recovery_key_file).parts()
    moment = chosen_moment(parts, name, at)
    with look.views(moment, component or None, parts) as opened:
        for piece in look.content(look.only(opened, path), path):
            session.out.raw(piece)


@diff_app.command(help="Show what differs between two moments.")
def diff(
    context: typer.Context,
    name: Service,
    before: Annotated[str, typer.Option("--from", help="The older moment.", metavar="WHEN|POINT")] = "",
    after: Annotated[str, typer.Option("--to", help="The newer moment.", metavar="WHEN|POINT")] = "latest",
    component: Component = "",
    passphrase_file: PassphraseFile = "",
    recovery_key_file: RecoveryKeyFile = "",
) -> None:
    """Compare. Without `--from`, with the point before."""
    session = current(context)
    parts = workshop(session, passphrase_file, recovery_key_file).parts()
    new = chosen_moment(parts, name, after)
    old = chosen_moment(parts, name, before) if before else _before(parts, name, new)
    with look.views(old, component or None, parts) as lefts, look.views(new, component or None, parts) as rights:
        pairs = [
            (left, right)
            for left in lefts
            for right in rights
            if left.checkpoint.component == right.checkpoint.component
        ]
        changes = (
            change_shape(right.checkpoint.component, *change)
            for left, right in pairs
            for change in look.differences(left, right)
        )
        if session.settings.json:
            fields = {
                "service": name,
                "from": old.point.id.hex(),
                "to": new.point.id.hex(),
                "from_moment": moment_shape(old, [view.state for view in lefts]),
                "to_moment": moment_shape(new, [view.state for view in rights]),
                "changes": list(changes),
            }
            session.out.result("diff", fields, lambda: None)
            return
        for moment, opened in ((old, lefts), (new, rights)):
            tell_limits(session.out, moment, [view.state for view in opened])
        texts = [
            moment_text(moment, [view.state for view in opened]) for moment, opened in ((old, lefts), (new, rights))
        ]
        session.out.note(" → ".join(texts))
        for each in changes:
            _print_change(session.out, each, many=len(pairs) > 1)


def _before(parts: Parts, service: str, new: Moment) -> Moment:
    """The point that a moment is made from; of a point itself, the one before it."""
    if any(aim.until is not None for aim in new.aims):
        return moment_of(new.point, parts)
    older = [point for point in parts.catalog.points(service) if point.received_ns < new.point.received_ns]
    if not older:
        raise NotFound("there is no point before that one", hint=f"see: knowngood points {service}")
    return moment_of(older[0], parts)


def change_shape(component: str, before: Entry | None, after: Entry | None) -> dict[str, Any]:
    """A change as `--json` prints it."""
    if before is None or after is None:
        what = "added" if before is None else "removed"
    elif (before.refs, before.inline, before.size) != (after.refs, after.inline, after.size):
        what = "content"
    else:
        what = "attributes"
    return {
        "what": what,
        "before": before and entry_shape(component, before),
        "after": after and entry_shape(component, after),
    }


def _print_change(out: Output, change: dict[str, Any], *, many: bool) -> None:
    before, after = change["before"], change["after"]
    shown = after or before
    sign = {"added": "+", "removed": "-", "content": "M", "attributes": "a"}[change["what"]]
    size = bytes_text(shown["size"])
    if change["what"] == "content":
        size = f"{bytes_text(before['size'])} → {bytes_text(after['size'])}"
    out.line(f"{sign} {shown['component'] + ':' if many else ''}{shown['path']}  ({size})")
