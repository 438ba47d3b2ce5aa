"""Folders and files as a kind of component."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import closing

from knowngood.core.errors import Unsupported, UsageError
from knowngood.core.instants import now_ns
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import (
    CaptureContext,
    Captured,
    Follower,
    PageSource,
    Recovered,
    RecoveryPlan,
    RecoveryRequest,
    Sandbox,
)
from knowngood.core.progress import Progress
from knowngood.core.rows import Rows, RowsRequest
from knowngood.core.traits import KindTraits
from knowngood.kinds.files.capture.basis import Basis
from knowngood.kinds.files.capture.remembered import BasisDamaged
from knowngood.kinds.files.capture.scan import Scan
from knowngood.kinds.files.exclude import Exclusions, is_vault
from knowngood.kinds.files.limits import Limits
from knowngood.kinds.files.recovery.plan import plan_recovery
from knowngood.kinds.files.recovery.recover import materialize


class FilesKind:
    """A folder with all that is below it, or a single file."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], int] = now_ns) -> None:
        self._limits = limits or Limits()
        self._clock = clock

    @property
    def traits(self) -> KindTraits:
        """Captures by scanning, or by following what a watcher tells; single paths can be recovered."""
        return KindTraits(name="files", capture=("scan", "watch", "clone", "journal"), unasked=("journal",))

    def probe(self, component: ComponentSpec) -> None:
        """Raise UsageError, with the fix, when the component cannot be protected as it is described."""
        path = component.path
        if not os.path.isabs(path):
            raise UsageError(f"'{path}' is not an absolute path", hint=f"write it as {os.path.abspath(path)}")
        Exclusions(component.exclude)
        try:
            mode = os.stat(path).st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise UsageError(f"{path} is neither a folder nor a file", hint="name the folder that it is in")
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            raise UsageError(f"there is nothing at {path}", hint="correct the component's path") from None
        except OSError as wrong:
            reason = os.strerror(wrong.errno or 0).lower()
            raise UsageError(f"{path} cannot be read: {reason}", hint="run as root, or as a user who may") from None
        try:
            if stat.S_ISDIR(mode) and is_vault(fd):
                raise UsageError(f"{path} is a vault itself", hint="copy a vault with 'carry'; do not protect it")
        finally:
            os.close(fd)

    def checkpoint(self, component: ComponentSpec, context: CaptureContext) -> Captured:
        """Read the component's state now; pour it into the sink. Single unreadable things become problems.

        Raises NotFound when the component is gone, Busy when it is being captured already.
        """
        try:
            return self._scan(component, context)
        except BasisDamaged:
            with closing(Basis(context.state_dir)) as basis:
                basis.discard()
            return self._scan(component, context)

    def _scan(self, component: ComponentSpec, context: CaptureContext) -> Captured:
        with closing(Basis(context.state_dir)) as basis:
            return Scan(component, context, basis, self._limits, self._clock).run()

    def remember(
        self,
        component: ComponentSpec,  # noqa: ARG002 - the state folder is the component's own
        context: CaptureContext,
        captured: Captured,
    ) -> None:
        """The checkpoint was committed: keep what was learnt of it, forget what was learnt before."""
        with closing(Basis(context.state_dir)) as basis:
            try:
                basis.promote(context.checkpoint_id, captured.root)
            except BasisDamaged:
                basis.discard()

    def follow(self, component: ComponentSpec, state_dir: str) -> Follower:
        """Follow a folder from now on: what changes in it becomes records of a log.

        Where its `capture` says so, by a journal: a file system is mounted over it then. Raises Unsupported where this
        cannot be, Busy when it is followed or captured already.
        """
        from knowngood.kinds.files.following import follow_folder  # only who follows loads what follows

        return follow_folder(component, state_dir, self._limits, self._clock)

    def plan(self, request: RecoveryRequest, pages: PageSource, progress: Progress) -> RecoveryPlan:
        """Compare the checkpoint with what is there; change nothing."""
        return plan_recovery(request, pages, progress)

    def materialize(self, plan: RecoveryPlan, pages: PageSource, progress: Progress) -> Recovered:
        """Carry out a plan."""
        return materialize(plan, pages, progress)

    def sandbox(self, component: ComponentSpec, folder: str) -> Sandbox:
        """Files need no server."""
        raise Unsupported(f"component '{component.name}' is files: there is no server to start on {folder}")

    def rows(self, component: ComponentSpec, found: Mapping[str, str], request: RowsRequest) -> Rows:  # noqa: ARG002 - the port's
        """Files have no rows."""
        hint = "single files come back with --path"
        raise Unsupported(f"component '{component.name}' is files, and has no tables", hint=hint)
