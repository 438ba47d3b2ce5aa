"""A fresh site for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from knowngood.kinds.files.watch import FANOTIFY, INOTIFY, Watcher
from tests.unit.kinds_files_watch.watching import Site

FEEDS = (pytest.param(FANOTIFY, marks=pytest.mark.root), INOTIFY)
Watching = Callable[..., Watcher]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Three folders on the file system of temporary files."""
    return Site(tmp_path)


@pytest.fixture
def watching() -> Iterator[Watching]:
    """Makes watchers of a site, and closes them."""
    with ExitStack() as stack:

        def make(site: Site, **options: Any) -> Watcher:
            watcher = site.watch(**options)
            stack.callback(watcher.close)
            return watcher

        yield make


@pytest.fixture(params=FEEDS)
def feed(request: pytest.FixtureRequest) -> str:
    """Each feed in turn."""
    return request.param
