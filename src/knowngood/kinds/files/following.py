"""How a folder is followed: by a journal mounted over it, or by what a watcher tells, with clones if there can be any.

A module of its own, for only `knowngood up` follows: other commands do not load what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from knowngood.core.errors import Unsupported
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Follower
from knowngood.kinds.files.follow.clone import why_no_clones
from knowngood.kinds.files.follow.clones import Clones
from knowngood.kinds.files.follow.follower import FilesFollower
from knowngood.kinds.files.journal.follower import JournalFollower
from knowngood.kinds.files.journal.line import end_server
from knowngood.kinds.files.limits import Limits
from knowngood.kinds.files.watch import SCAN, mapped_files, watch


def follow_folder(component: ComponentSpec, state_dir: str, limits: Limits, clock: Callable[[], int]) -> Follower:
    """Follow a folder from now on. `clock` gives the time of day in nanoseconds.

    Raises Unsupported where this cannot be, Busy when it is followed or captured already.
    """
    path = os.path.realpath(os.fsencode(component.path))
    if component.capture == "journal":
        return JournalFollower(component, path, state_dir, limits, clock)
    end_server(component, state_dir)
    cookies = os.path.join(state_dir, "cookies")
    os.makedirs(cookies, mode=0o700, exist_ok=True)
    watcher = watch(component, cookies, ours=(state_dir,))
    if watcher.traits.feed == SCAN:
        watcher.close()
        reason = f"{component.path} cannot be followed: {watcher.traits.reason}"
        raise Unsupported(reason, hint="its points are made by scanning it")
    try:
        clones, reason = _clones(component, path)
        mapped = partial(mapped_files, path)
        return FilesFollower(component, path, state_dir, watcher, mapped, limits, clock, clones, reason)
    except BaseException:
        watcher.close()
        raise


def _clones(component: ComponentSpec, path: bytes) -> tuple[Clones | None, str]:
    """What makes clones of a component's files, if that is asked for and can be had; or why not."""
    if component.capture == "watch":
        return None, ""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        reason = why_no_clones(folder)
    finally:
        os.close(folder)
    return (None, reason) if reason else (Clones(), "")
