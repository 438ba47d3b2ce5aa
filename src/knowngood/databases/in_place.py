"""A database server's data back where it was: made beside, started once, and put in its place while no server runs.

What is replaced is kept. Nothing is stopped: a server that runs on the data is a hindrance, which the plan tells of.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from knowngood.core.errors import Busy, KnowngoodError, UsageError
from knowngood.core.ports import PageSource, Recovered, RecoveryPlan, RecoveryRequest
from knowngood.core.progress import Progress
from knowngood.databases.facts import FOLDER, Facts, facts_of
from knowngood.databases.switch import building, former, remove, settle, switch
from knowngood.linux.apart import apart
from knowngood.linux.processes import end_those_in
from knowngood.linux.running import Process, processes

OPTION = "data-folder"
"""The option of a component that says where its server keeps its data, should the point not know."""


@dataclass(frozen=True, slots=True)
class Place:
    """How a kind comes back in place. `programs` are its servers, `user` who runs them; `live` is what is replaced in
    their folder. `looks` says whether a path is such a thing. `ready` starts a server once on what was recovered into a
    folder, and makes of it what takes the place: its path, below that folder."""

    programs: tuple[str, ...]
    user: str
    live: Callable[[Facts], str]
    looks: Callable[[str], bool]
    ready: Callable[[str, Facts, str], str]


class Folders(Protocol):
    """Brings files back into folders, as the port Kind says."""

    def plan(self, request: RecoveryRequest, pages: PageSource, progress: Progress) -> RecoveryPlan:
        """What it would do."""
        ...

    def materialize(self, plan: RecoveryPlan, pages: PageSource, progress: Progress) -> Recovered:
        """Do it."""
        ...


class InPlace:
    """Recovery of one kind of server to where it was."""

    def __init__(self, folders: Folders, place: Place) -> None:
        self._folders = folders
        self._place = place

    def plan(self, request: RecoveryRequest, pages: PageSource, progress: Progress) -> RecoveryPlan:
        """What it would do, what is in the way, and how to go back. Raises UsageError when it is not known where."""
        if request.paths:
            raise UsageError("single files of a database's data are recovered beside", hint="add --to FOLDER")
        facts, live = self._where(request, pages)
        plan = self._folders.plan(_beside(request, live), pages, progress)
        plan.request, plan.place = request, live
        plan.hindrance = self._hindrance(facts)
        plan.notes = _notes(live)
        return plan

    def materialize(
        self, plan: RecoveryPlan, pages: PageSource, progress: Progress, ending: Callable[[str], None] | None
    ) -> Recovered:
        """Make it beside, start it once, and switch. Raises Busy when a server runs there; all is as it was then."""
        request = plan.request
        facts, live = self._where(request, pages)
        self._require_stopped(facts)
        try:
            settle(live)
            beside = _beside(request, live)
            end_those_in(beside.target)  # a server that a run has left which was killed
            done = self._folders.materialize(self._folders.plan(beside, pages, progress), pages, progress)
            if done.problem_count:
                first = done.problems[0]
                what = f"{os.fsdecode(first.path)} cannot be written: {first.reason}; {live} is as it was"
                raise KnowngoodError(what)
            if ending is not None:
                ending(beside.target)
            done.kept = self._switch(beside.target, facts, live, progress)
        except OSError as wrong:
            reason = os.strerror(wrong.errno or 0).lower()
            raise KnowngoodError(f"{live} cannot be replaced: {reason}: {wrong.filename or ''}") from None
        return done

    def _switch(self, folder: str, facts: Facts, live: str, progress: Progress) -> str:
        try:
            progress.enter("starting it once, beside")
            user, made = _user(live, self._place.user), list[str]()
            apart(lambda: made.append(self._place.ready(folder, facts, user)), lambda: _end(folder), folder)
            (new,) = made
            if os.path.lexists(live):
                os.chmod(new, os.stat(live).st_mode & 0o7777)
            self._require_stopped(facts)
            return switch(new, live)
        finally:
            remove(folder)

    def _where(self, request: RecoveryRequest, pages: PageSource) -> tuple[Facts, str]:
        facts = facts_of(request.checkpoint, pages)
        said = request.component.options.get(OPTION, "") if request.component else ""
        folder = said or facts.get(FOLDER, "")
        if not os.path.isabs(folder):
            raise UsageError(
                f"it is not known where '{request.checkpoint.component}' keeps its data",
                hint=f"say it in the service: {OPTION}: /var/lib/…; or recover it beside: --to FOLDER",
            )
        facts = {**facts, FOLDER: os.path.realpath(folder)}
        live = self._place.live(facts)
        if not os.path.isdir(os.path.dirname(live)):
            raise UsageError(f"there is no folder {os.path.dirname(live)} here", hint="recover it beside: --to FOLDER")
        if os.path.ismount(live):
            hint = "recover beside, with --to FOLDER, and put the files in their place by hand"
            raise UsageError(f"{live} is a mount of its own, and cannot change places", hint=hint)
        if os.path.lexists(live) and not self._place.looks(live) and not (os.path.isdir(live) and not os.listdir(live)):
            hint = f"say where it is: {OPTION}: /var/lib/…; or recover it beside: --to FOLDER"
            raise UsageError(f"{live} is no data of {request.checkpoint.kind}: it is not replaced", hint=hint)
        return facts, live

    def _hindrance(self, facts: Facts) -> str:
        server = running_on(facts[FOLDER], self._place.programs)
        return f"{_who(server)} runs on {facts[FOLDER]}; stop it first: {_stop(server)}" if server else ""

    def _require_stopped(self, facts: Facts) -> None:
        server = running_on(facts[FOLDER], self._place.programs)
        if server is not None:
            raise Busy(f"{_who(server)} runs on {facts[FOLDER]}", hint=f"stop it, and run this again: {_stop(server)}")


def running_on(folder: str, programs: tuple[str, ...]) -> Process | None:
    """The server whose working folder this is, whatever it is called where that server sees it; the first of several
    processes."""
    found: list[Process] = []
    with suppress(OSError):
        seen = os.stat(folder)
        for each in processes():
            if each.program in programs:
                with suppress(OSError):
                    if os.path.samestat(os.stat(f"/proc/{each.pid}/cwd"), seen):
                        found.append(each)
    return min(found, key=lambda each: each.pid, default=None)


def _end(folder: str) -> None:
    """What was started on a folder."""
    end_those_in(folder)


def _who(server: Process) -> str:
    unit = f" of {server.unit}" if server.unit else ""
    return f"process {server.pid} ({server.program}{unit})"


def _stop(server: Process) -> str:
    return f"systemctl stop {server.unit}" if server.unit else f"kill {server.pid}"


def _beside(request: RecoveryRequest, live: str) -> RecoveryRequest:
    """What a run that was interrupted has left there is gone on with; what was made of it is no part of it."""
    return replace(request, target=building(live), delete_extra=True, until=None)


def _notes(live: str) -> tuple[str, ...]:
    if not os.path.lexists(live):
        return ()
    kept = former(live)
    return (
        f"what is there now is kept as {kept}",
        f"to go back: stop the server, then mv {live} {live}.recovered && mv {kept} {live}",
    )


def _user(live: str, usual: str) -> str:
    """Who runs the server: who owns what is there, or else whoever does so by custom."""
    with suppress(OSError, KeyError):
        owner = os.stat(live).st_uid
        if owner:
            return pwd.getpwuid(owner).pw_name
    return usual
