"""Nothing may be left behind by a test: no thread, no child process, no open file."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fails a test that leaves threads or children."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before, "threads were left"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
