"""Every command: its module, and the one line that the overview shows without importing it."""

from __future__ import annotations

from dataclasses import dataclass

SET_UP = "Set up"
PROTECT = "Protect and recover"
LOOK = "Look inside points"
CARE = "Look after it"

_COMMANDS = "knowngood.doors.cli.commands."


@dataclass(frozen=True, slots=True)
class Entry:
    """A command or a group of them: the module, and the name of the `typer.Typer` in it."""

    module: str
    summary: str
    panel: str
    app: str = "app"


def _in(module: str, summary: str, panel: str, app: str = "app") -> Entry:
    return Entry(_COMMANDS + module, summary, panel, app)


COMMANDS = {
    "init": _in("init", "Make a vault, or join one; prints the recovery kit", SET_UP),
    "service": _in("service", "Say which folders and databases make up a service", SET_UP),
    "policy": _in("policy", "Say how much may be lost, how long points are kept; try it out", SET_UP),
    "protect": _in("protect", "Make a point of a service", PROTECT),
    "point": _in("point", "Make a point at one instant that all components have in common", PROTECT),
    "up": _in("up", "Keep the promises: points on schedule, until it is stopped", PROTECT),
    "serve": _in("serve", "Serve the console to browsers of this machine", PROTECT),
    "status": _in("status", "Could data be lost, and how much? Every service, worst first", PROTECT),
    "promises": _in("promises", "Show how promises were kept on each day", PROTECT),
    "points": _in("points", "List the points of a service", PROTECT, "points_app"),
    "timeline": _in("timeline", "Show which moments can be had, and why others cannot", PROTECT),
    "recover": _in("recover", "Bring back a service, a component, or single paths", PROTECT),
    "drill": _in("drill", "Rehearse a recovery, and mark the point proven or suspect", PROTECT, "drill_app"),
    "drills": _in("drill", "List the reports of drills, and verify them", PROTECT, "drills_app"),
    "undelete": _in("undelete", "Show what was deleted, and bring it back", PROTECT),
    "ls": _in("look", "List what there was at a moment", LOOK, "ls_app"),
    "find": _in("look", "Find files as they were at a moment", LOOK, "find_app"),
    "cat": _in("look", "Write a file, as it was, to standard output", LOOK, "cat_app"),
    "diff": _in("look", "Show what differs between two moments", LOOK, "diff_app"),
    "history": _in("history", "Show every version of a path", LOOK),
    "mount": _in("mount", "Show all points as a file system", LOOK),
    "expire": _in("points", "Hide points; they can be brought back for a while", CARE, "expire_app"),
    "undo": _in("points", "Bring a hidden point back", CARE, "undo_app"),
    "tidy": _in("tidy", "Hide what policies no longer keep, and collect it later", CARE),
    "former": _in("former", "What recoveries in place have replaced: list it, and let it go", CARE),
    "vault": _in("vault", "State, checking, rebuilding, collecting, keys", CARE),
    "doctor": _in("doctor", "Find what is wrong, and the command that mends it", CARE),
}
"""By name, in the order of the overview."""
