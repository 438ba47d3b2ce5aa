"""Watches as somebody without rights, and tells what it saw.

    python nobody.py FOLDER SEED

gives up all rights, makes a site in the folder, lets everything happen to it, and prints the feed, its reason, and
what was missed.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from pathlib import Path

from tests.unit.kinds_files_watch.chaos import Chaos
from tests.unit.kinds_files_watch.watching import Site, missed

NOBODY = 65534


def main() -> None:
    """Watch, act, and tell."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    site = Site(Path(sys.argv[1]))
    somebody = Chaos(os.fsencode(site.root), os.fsencode(site.outside), int(sys.argv[2]), links=False)
    somebody.act(30)
    with closing(site.watch()) as watcher:
        before, wrong, lost = site.rows(), 0, ""
        for _ in range(40):
            somebody.act(25)
            dirty = watcher.drain()
            after = site.rows()
            wrong += len(missed(before, after, dirty))
            lost = lost or dirty.reason
            before = after
        said = {"user": os.geteuid(), "feed": watcher.traits.feed, "reason": watcher.traits.reason}
        print(json.dumps({**said, "alive": watcher.barrier(), "missed": wrong, "lost": lost}))  # noqa: T201


if __name__ == "__main__":
    main()
