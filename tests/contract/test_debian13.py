"""The suite of database kinds with PostgreSQL 17, on Debian 13. Long, and only when it is asked for: KNOWNGOOD_DEBIAN13
names the folder that tools/debian13 makes a Debian 13 of.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.house.files import ROOT

_SUITE = ("tests/contract/test_database_kind.py", "tests/contract/test_bases_beside.py", "-k", "postgres")


@pytest.mark.slow
@pytest.mark.needs("debootstrap")
def test_postgresql_17() -> None:
    """All that is promised of the kind."""
    folder = os.environ.get("KNOWNGOOD_DEBIAN13")
    if not folder:
        pytest.skip("long: set KNOWNGOOD_DEBIAN13=FOLDER to run the suite of databases there (tools/debian13)")
    done = subprocess.run(
        [str(ROOT / "tools" / "debian13"), folder, *_SUITE], check=False, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
