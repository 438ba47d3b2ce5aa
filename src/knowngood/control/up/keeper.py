"""The keeper: the loop of `knowngood up`. It looks what is due, carries out one thing after the other, and sleeps.

Verbs run in the main thread: a signal interrupts them there exactly like Ctrl-C interrupts a command, which every verb
stands. The socket is answered by another thread meanwhile (doorkeeper.py).
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
from collections import deque
from collections.abc import Callable

from knowngood.control.derived import without_derived
from knowngood.control.home import Home
from knowngood.control.lapses import Breach, Lapses, risk_of
from knowngood.control.lock import started_by
from knowngood.control.plugins import Plugins
from knowngood.control.promises import Promises, stands
from knowngood.control.schedule import Now, Obligation, Schedule, Verb
from knowngood.control.services import Listing, list_services
from knowngood.control.up.doorkeeper import Doorkeeper
from knowngood.control.up.drilling import Drills, Ended
from knowngood.control.up.events import Event, Tell, What
from knowngood.control.up.followers import Followers
from knowngood.control.up.listening import listening
from knowngood.control.up.notify import Notifier
from knowngood.control.up.protocol import Answer, Request, Told, told
from knowngood.control.up.scrubbing import Scrubs
from knowngood.control.up.standing import Standing
from knowngood.control.up.waking import Waker, clock
from knowngood.control.up.work import Elsewhere, Newest, Wish, last_drilled, last_tidied, look_up, make_point, tidy_home
from knowngood.core.errors import KnowngoodError, NotYet
from knowngood.core.instants import SECOND
from knowngood.core.model import Level, ServiceSpec
from knowngood.core.progress import Progress
from knowngood.core.sizes import span_text
from knowngood.flow.protect import Protected
from knowngood.flow.tidy import Tidied

COMMAND = "knowngood up"
_LONGEST_SLEEP = 10.0
"""The steady clock goes on while the machine is suspended, a sleep does not; edited files are seen as late as this."""
_DRILL_LOOK = 1.0  # how often it is seen whether a drill has ended
_MEASURE = 0.5  # seconds between two measurements of what would be lost
_BREATHER = 0.1
"""Between two verbs, so that a command that waits for the home gets it."""


class Keeper:
    """Keeps the promises of one home until a signal stops it."""

    def __init__(
        self,
        home: Home,
        plugins: Plugins,
        tell: Tell,
        *,
        explain: Callable[[Exception], Told] = told,
        notifier: Notifier | None = None,
        now: Callable[[], Now] = clock,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        """`between` is called after each verb, when what it needed is needed no more."""
        self._home = home
        self._plugins = plugins
        self._tell = tell
        self._explain = explain
        self._notifier = notifier or Notifier()
        self._now = now
        self._between = between
        self._host = socket.gethostname()
        self._waker = Waker()
        self._schedule = Schedule(now(), salt=self._host)
        self._followers = Followers(home, plugins.followers, plugins.kinds, self.ask)
        self._standing = Standing(now().wall_ns, started_by(), self._schedule, self._followers)
        self._drills = Drills(home)
        self._scrubs = Scrubs(home, now().steady)
        self._asked: deque[str] = deque()
        self._wishes: dict[str, Wish] = {}  # service → what its next point is to be
        self._seen: object = None  # how the services' files looked when they were read
        self._broken: set[str] = set()
        self._services: tuple[ServiceSpec, ...] = ()
        self._lapses = Lapses(home)
        self._promises = Promises(home)
        self._measured = -math.inf  # when that was done last
        self._stopping = False
        self._interruptible = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises Busy when the home has its keeper."""
        handlers: dict[int, Callable[[], None]] = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGHUP: self.reload,
        }
        with contextlib.closing(self._waker), self._home.up(COMMAND), self._waker.signals(handlers):
            with (
                listening(self._home.socket) as listener,
                Doorkeeper(listener, self.answer, self._notifier, self._standing.moves),
                contextlib.ExitStack() as ending,
            ):
                self._tell(Event(what=What.STARTED, message=f"process {os.getpid()}, by {started_by()}"))
                ending.callback(self._followers.stop)
                ending.callback(self._drills.stop)
                ending.callback(self._scrubs.stop)
                with contextlib.suppress(KeyboardInterrupt):  # what was at work has ended itself
                    self._loop()
                self._notifier.stopping()
                self._lapses.save(self._now().wall_ns, ending=True)
                self._promises.save(self._now().wall_ns, ending=True)
            self._tell(Event(what=What.STOPPED))

    # ------------------------------------------------------------------------------------- from signals and threads

    def stop(self) -> None:
        """End soon: a verb at work is interrupted."""
        self._stopping = self._standing.stopping = True
        if self._interruptible:
            raise KeyboardInterrupt

    def reload(self) -> None:
        """Read the services again, and see what is due."""
        self._seen = None
        self._waker.wake()

    def ask(self, service: str, wish: Wish | None = None) -> None:
        """Make a point of a service as soon as may be, such as it is wished for."""
        if wish is not None:
            self._wishes[service] = wish
        self._asked.append(service)
        self._waker.wake()

    def answer(self, request: Request) -> Answer:
        """Answer a request; from the doorkeeper's thread."""
        if request.ask == "status":
            return Answer(running=self._standing.running(self._now()))
        if request.ask == "reload":
            self.reload()
        elif self._schedule.row(request.service) is None or not request.service:
            return Answer(error=Told("not-found", f"there is no service '{request.service}'", "knowngood service list"))
        else:
            self.ask(request.service, Wish(request.name, Level(request.level) if request.level else None))
        return Answer(done=True)

    # ---------------------------------------------------------------------------------------------------- the loop

    def _loop(self) -> None:
        self._schedule.heard_of_tidy(last_tidied(self._home), self._now())
        self._read_services()
        self._notifier.ready()
        only_woken = False
        while not self._stopping:
            self._standing.beats += 1
            self._read_services()
            now = self._now()
            self._measure(now)
            while self._asked:
                self._schedule.ask(self._asked.popleft(), now)
            for each in self._drills.ended():
                self._drilled(each)
            if news := self._scrubs.tick(now.steady):
                self._tell(Event(what=What.TROUBLE, code=news.code, message=news.message, hint=news.hint))
            self._standing.recording = True
            wanted = self._followers.tick(now, only_woken=only_woken)
            self._standing.recording = False
            what = self._schedule.due(now)
            if what:
                self._carry_out(what)
            self._notifier.status(self._standing.line())
            pause = _BREATHER if what else min(self._schedule.next_due(), self._scrubs.due, wanted) - now.steady
            longest = _DRILL_LOOK if self._drills.busy or self._scrubs.busy else _LONGEST_SLEEP
            woken = self._waker.sleep(min(pause, longest), self._followers.files())
            only_woken = not what and not woken

    def _measure(self, now: Now) -> None:
        """Note what would be lost now, and whose writes do not wait for the vault."""
        passed = now.steady - self._measured
        if passed < _MEASURE:
            return
        self._measured = now.steady
        standing = {each.name: each for each in self._standing.running(now).services}
        for spec in self._services:
            found = standing.get(spec.name)
            risk = risk_of(spec, found.age, found) if found else None
            if risk is not None:
                self._lapses.measured(spec.name, risk, now.wall_ns)
            if found:
                self._promises.measured(spec, stands(spec, risk, found), passed, now.wall_ns)
            for each in self._lapses.heard(spec.name, found.followers if found else (), now.wall_ns):
                self._tell(_breach_event(spec.name, each))
        self._lapses.save(now.wall_ns)
        self._promises.save(now.wall_ns)

    def _read_services(self) -> None:
        """Take up what was added or changed, where anything was."""
        looks = _looks(self._home.services)
        if looks == self._seen:
            return
        self._seen = looks
        listing, now = list_services(self._home), self._now()
        for name in self._schedule.keep_to(listing.services, now):
            self._found(name, look_up(self._home, name, self._host), now)
            self._schedule.heard_of_drill(name, last_drilled(self._home, name), now)
        self._followers.keep_to(without_derived(self._home, each) for each in listing.services)
        self._tell(_services_event(listing))
        broken = {each.name for each in listing.broken}
        for name in self._broken - broken:
            self._well(name)
        self._broken = broken
        for each in listing.broken:
            self._trouble(each.name, each.error)
        self._services = listing.services
        names = {*broken, *(each.name for each in listing.services)}
        self._standing.forget_others(names)
        self._lapses.keep_to(names)
        self._promises.keep_to(names)

    def _found(self, service: str, newest: Newest, now: Now) -> None:
        """These points of a service are there, made by somebody else, or before we began."""
        self._standing.found(service, newest, now)
        self._schedule.heard(service, newest.point.started_ns if newest.point else None, now)

    # ------------------------------------------------------------------------------------------------------- verbs

    def _carry_out(self, what: Obligation) -> None:
        began = self._now()
        if what.verb == Verb.DRILL:
            self._drill(what, began)
            return
        if what.verb == Verb.TIDY and self._scrubs.busy:  # both keep the vault in order
            self._schedule.postponed(what, began)
            return
        self._followers.rest()
        try:
            came = self._verb(what, began)
        except (Elsewhere, NotYet) as wrong:
            self._standing.waiting_for = wrong.message
            self._schedule.postponed(what, self._now())
            return
        except Exception as wrong:  # noqa: BLE001 one that fails must not keep the others from being done
            self._schedule.failed(what, self._now())
            self._trouble(what.service, wrong)
            came = None
        finally:
            self._standing.doing = None
        self._between()
        self._standing.waiting_for = ""
        if isinstance(came, Protected):
            self._made(what, came, began)
        elif isinstance(came, Newest):
            self._found(what.service, came, self._now())
            self._well(what.service)
        elif isinstance(came, Tidied):
            self._tidied(what, came, began)

    def _verb(self, what: Obligation, began: Now) -> Protected | Newest | Tidied:
        def watch(progress: Progress) -> None:
            self._standing.doing = (what, began.wall_ns, progress)

        watch(Progress())
        self._notifier.status(self._standing.line())
        self._interruptible = True
        try:
            if self._stopping:
                raise KeyboardInterrupt
            if what.verb == Verb.TIDY:
                return tidy_home(self._home, self._plugins, watch)
            self._followers.require_bases(what.service)
            row = self._schedule.row(what.service)
            known = None if row and row.asked else self._standing.known(what.service)
            wish, followed = self._wishes.pop(what.service, Wish()), self._followers.followed
            try:
                return make_point(self._home, self._plugins, what.service, known, watch, followed, wish)
            except (Elsewhere, NotYet):
                self._wishes.setdefault(what.service, wish)
                raise
        finally:
            self._interruptible = False

    def _drill(self, what: Obligation, began: Now) -> None:
        if self._drills.busy:
            self._schedule.postponed(what, began)
            return
        try:
            self._drills.start(what, began)
        except OSError as wrong:
            self._schedule.failed(what, began)
            why = f"no drill can be started: {os.strerror(wrong.errno or 0).lower()}"
            self._tell(Event(what=What.TROUBLE, service=what.service, code="failed", message=why))
        else:
            self._schedule.begun(what)

    def _drilled(self, ended: Ended) -> None:
        if ended.judged:
            self._schedule.done(ended.what, ended.began)
        else:
            self._schedule.failed(ended.what, self._now())
        seconds, service = self._now().steady - ended.began.steady, ended.what.service
        why = ended.trouble or Told("", f"its newest point is {ended.outcome}")
        kind = What.DRILLED if ended.judged else What.TROUBLE
        self._tell(
            Event(what=kind, service=service, code=why.code, message=why.message, hint=why.hint, seconds=seconds)
        )

    def _made(self, what: Obligation, made: Protected, began: Now) -> None:
        self._schedule.done(what, began)
        self._standing.made(what.service, made.point, began)
        seconds = self._now().steady - began.steady
        self._tell(Event(what=What.POINT, service=what.service, protected=made, seconds=seconds))
        if not made.left_out:
            self._well(what.service)
            return
        first, more = made.left_out[0], len(made.left_out) - 1
        message = f"{first.component.name} is left out: {first.error.message}" + (f" (and {more} more)" if more else "")
        wrong = KnowngoodError(message, hint=first.error.hint)
        wrong.code = first.error.code
        self._trouble(what.service, wrong)

    def _tidied(self, what: Obligation, done: Tidied, began: Now) -> None:
        """What hinders a collection hinders it until somebody acts: it is tried again when the next tidying is due."""
        self._schedule.done(what, began)
        self._tell(_tidied_event(done, self._now().steady - began.steady))
        if done.hindrance is None:
            self._well(what.service)
            return
        wrong = KnowngoodError(f"nothing is collected: {done.hindrance.message}", hint=done.hindrance.hint)
        wrong.code = done.hindrance.code
        self._trouble(what.service, wrong)

    # ----------------------------------------------------------------------------------------------------- trouble

    def _trouble(self, service: str, wrong: Exception) -> None:
        """Note what went wrong; said once, and again when it is something else."""
        why = self._explain(wrong)
        if self._standing.failed(service, why, self._now()):
            self._tell(Event(what=What.TROUBLE, service=service, code=why.code, message=why.message, hint=why.hint))

    def _well(self, service: str) -> None:
        if former := self._standing.well(service):
            self._tell(Event(what=What.WELL, service=service, message=f"no longer: {former.message}"))


def _breach_event(service: str, breach: Breach) -> Event:
    if breach.until_ns is None:
        message = f"{breach.component}: {breach.why}"
    else:
        lasted = span_text((breach.until_ns - breach.since_ns) / SECOND)
        message = f"{breach.component}: writes wait for the vault again, after {lasted}"
    return Event(what=What.BREACH, service=service, message=message)


def _looks(folder: str) -> object:
    """How the files of a folder look, without reading them. Hidden ones are being written."""
    try:
        with os.scandir(folder) as files:
            seen = [(each.name, each.stat(follow_symlinks=False)) for each in files if each.name[0] != "."]
    except OSError:
        return ()
    return tuple(sorted((name, found.st_ino, found.st_size, found.st_mtime_ns) for name, found in seen))


def _services_event(listing: Listing) -> Event:
    kept = [each.name for each in listing.services if each.policy.every]
    idle = [each.name for each in listing.services if not each.policy.every]
    message = f"points are made of: {', '.join(kept) or 'none'}"
    if idle:
        message += f"; no rpo is promised for: {', '.join(idle)}"
    hint = f"knowngood policy set {idle[0]} rpo=5m" if idle else ""
    return Event(what=What.SERVICES, message=message, hint=hint)


def _tidied_event(done: Tidied, seconds: float) -> Event:
    freed = max(0, done.collected.freed_bytes) if done.collected else 0
    message = f"{len(done.expired)} points hidden, {freed} bytes freed"
    return Event(what=What.TIDIED, message=message, seconds=seconds)
