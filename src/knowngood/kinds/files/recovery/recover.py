"""Recovery of files: a plan that changes nothing, and its execution."""

from __future__ import annotations

from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import Name
from knowngood.core.ports import PageSource, Recovered, RecoveryPlan
from knowngood.core.progress import Progress
from knowngood.kinds.files.recovery import apply, helpers
from knowngood.kinds.files.recovery.extras import Extras
from knowngood.kinds.files.recovery.plan import plan_recovery
from knowngood.kinds.files.recovery.rounds import Run
from knowngood.kinds.files.recovery.selection import Selection
from knowngood.kinds.files.recovery.shared import Site
from knowngood.kinds.files.recovery.target import check_room, mark, open_root, target_of
from knowngood.kinds.files.syscalls import umask
from knowngood.tree.read import TreeReader

__all__ = ["materialize", "plan_recovery"]

_FEW = 8


def materialize(plan: RecoveryPlan, pages: PageSource, progress: Progress) -> Recovered:
    """Carry out a plan. What single entries could not be brought back is among the problems; the rest went on.

    It decides anew for each file at the moment of writing, so a plan that has grown old does no harm. When it returns,
    all is on stable storage. Raises NotFound, UsageError, Damaged (the tree cannot be read, or contradicts itself),
    NoSpace and Locked; everything done until then stays, and running it again goes on from there.
    """
    request = plan.request
    reader = TreeReader(Name(request.checkpoint.root), pages.page)
    selection = Selection(reader, request.checkpoint, request.paths)
    target = target_of(request, selection)
    site = Site(reader, pages, progress, target, request.checkpoint.started_ns, umask())
    site.few = plan.create + plan.rewrite + plan.attributes + plan.delete < _FEW
    site.many = plan.create >= helpers.FROM_FILES
    root = open_root(target, selection)
    try:
        check_room(plan, root, target)
        if not root.fresh:
            apply.prepare(root)
        elif apply.spreads(root.fd):
            apply.make_plain(root.fd)
        mark(root, site)
        if selection.is_whole:
            progress.total_files += request.checkpoint.totals.files + request.checkpoint.totals.others
            progress.total_bytes += request.checkpoint.totals.bytes
        Run(site, root, Extras(request, site, root.fd)).run(selection)
    except OSError as wrong:
        site.check(wrong)
        raise KnowngoodError(f"cannot recover to {target}: {wrong}") from None
    finally:
        root.close()
    site.notes.report(site.done)
    return site.done
