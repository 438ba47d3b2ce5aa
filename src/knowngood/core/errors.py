"""One tree of errors. Each says what failed, which exit status it means, whether to try again, and what to do next."""

from __future__ import annotations

from enum import StrEnum


class Retry(StrEnum):
    """Whether the same call may work later."""

    NEVER = "never"
    LATER = "later"
    NOW = "now"


class ExitStatus:
    """Exit statuses of the program (documented in docs/json.md)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3  # done, but some files could not be read or written
    NOT_FOUND = 4
    LOCKED = 5  # wrong or missing key
    DAMAGED = 6
    BUSY = 7
    NO_SPACE = 8
    INTERRUPTED = 130


class KnowngoodError(Exception):
    """Root of the tree.

    `hint` is the next thing to do, preferably a command. Context is added where it is known; errors are not re-wrapped
    on their way up.
    """

    code = "failed"
    exit_status = ExitStatus.FAILED
    retry = Retry.NEVER

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_dict(self) -> dict[str, str]:
        """The form that `--json` prints."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "retry": str(self.retry)}


class UsageError(KnowngoodError):
    """The words of a command, or a configuration file, are wrong."""

    code = "usage"
    exit_status = ExitStatus.USAGE


class NotFound(KnowngoodError):
    """A service, point, path or object that was named does not exist."""

    code = "not-found"
    exit_status = ExitStatus.NOT_FOUND


class Exists(KnowngoodError):
    """An object is already there (put-if-absent lost)."""

    code = "exists"


class Locked(KnowngoodError):
    """The key for this vault is missing, or the passphrase is wrong."""

    code = "locked"
    exit_status = ExitStatus.LOCKED


class Damaged(KnowngoodError):
    """Stored bytes are not what was written."""

    code = "damaged"
    exit_status = ExitStatus.DAMAGED


class Unaccounted(Damaged):
    """Damage hides what else is needed: whoever would delete has to stop.

    `points` are the ids of those it touches, `timelines` the labels of those whose logs it touches.
    """

    def __init__(
        self, message: str, points: tuple[bytes, ...] = (), timelines: tuple[bytes, ...] = (), *, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.points = points
        self.timelines = timelines


class Unsupported(KnowngoodError):
    """The vault was written by a newer version, or a kind or store cannot do what was asked."""

    code = "unsupported"


class Busy(KnowngoodError):
    """Somebody else holds what is needed."""

    code = "busy"
    exit_status = ExitStatus.BUSY
    retry = Retry.LATER


class NotYet(Busy):
    """It waits for something that is under way, and will be possible by itself."""


class Fenced(KnowngoodError):
    """A collector has ended this writing session; nothing was lost, run the verb again."""

    code = "fenced"
    exit_status = ExitStatus.BUSY
    retry = Retry.NOW


class NoSpace(KnowngoodError):
    """A disk or quota is full."""

    code = "no-space"
    exit_status = ExitStatus.NO_SPACE
    retry = Retry.LATER


class StoreFailed(KnowngoodError):
    """A store could not read or write, for a reason that may pass."""

    code = "store-failed"
    retry = Retry.LATER
