"""A Redis that keeps one file only: that comes back, and nothing else in its folder is touched."""

from __future__ import annotations

import os
from pathlib import Path

from knowngood.core.ports import RecoveryRequest
from knowngood.core.progress import Progress
from knowngood.kinds.files import FilesKind
from knowngood.kinds.redis import redis_kind
from tests.servers.following import checkpoint_of, following, open_folder
from tests.servers.redis import redis_server


def test_a_server_without_a_log_of_its_own(tmp_path: Path) -> None:
    """Its snapshot is what it reads when it starts, by the name that it gives it."""
    kind = redis_kind(FilesKind())
    with open_folder() as folder, redis_server(folder / "r", dbfilename="mine.rdb") as server:
        server.ask("SET", "k", "other")
        server.ask("SAVE")
        server.ask("SET", "k", "then")
        (folder / "r" / "other").write_text("theirs")
        with following(kind, server.component, tmp_path / "state") as followed:
            followed.checkpoint()
            root, pages = followed.newest()
        server.stop()
        request = RecoveryRequest(checkpoint_of(root, server.component), "", component=server.component)
        done = kind.materialize(kind.plan(request, pages, Progress()), pages, Progress())
        assert done.kept == str(folder / "r" / "mine.rdb.former")
        assert sorted(os.listdir(folder / "r")) == ["mine.rdb", "mine.rdb.former", "other"]
        server.start()
        assert server.ask("GET", "k") == b"then"
