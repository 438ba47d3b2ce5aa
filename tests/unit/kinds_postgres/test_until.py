"""Where a recovery ends, as the server is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knowngood.core.errors import UsageError
from knowngood.kinds.postgres.until import UNTILS, until


@pytest.mark.parametrize(
    ("word", "value", "told"),
    [
        ("lsn", "0/3000028", ["recovery_target_lsn = '0/3000028'"]),
        ("xid", "731", ["recovery_target_xid = '731'", "recovery_target_inclusive = 'on'"]),
        ("before-xid", "731", ["recovery_target_xid = '731'", "recovery_target_inclusive = 'off'"]),
        ("name", "it's \\ mine", ["recovery_target_name = 'it''s \\\\ mine'"]),
        ("time", "2026-11-20T14:02:07.35Z", ["recovery_target_time = '2026-11-20 14:02:07.350000+00'"]),
    ],
)
def test_it_is_written_behind_what_is_there(tmp_path: Path, word: str, value: str, told: list[str]) -> None:
    """Each way to say it, and that the server begins to serve there."""
    conf = tmp_path / "postgresql.auto.conf"
    conf.write_text("a = 'b'\n")
    until(word, value)(str(tmp_path))
    lines = conf.read_text().splitlines()
    assert lines[0] == "a = 'b'"
    assert [each for each in told if each not in lines] == []
    assert "recovery_target_action = 'promote'" in lines
    assert sum(each.startswith("recovery_target_") for each in lines) == len(told) + 2
    assert word in UNTILS


@pytest.mark.parametrize(
    ("word", "value"),
    [("lsn", "7"), ("xid", "-1"), ("xid", "seven"), ("before-xid", ""), ("name", ""), ("name", "x" * 64),
     ("name", "a\nfsync = off"), ("time", "soon")],
)  # fmt: skip
def test_what_is_no_place(word: str, value: str) -> None:
    """It is said how to write one."""
    with pytest.raises(UsageError) as wrong:
        until(word, value)
    assert wrong.value.hint


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """Nothing outside of the folder is written."""
    (tmp_path / "elsewhere").write_text("")
    os.symlink(tmp_path / "elsewhere", tmp_path / "postgresql.auto.conf")
    with pytest.raises(OSError, match="symbolic"):
        until("xid", "7")(str(tmp_path))
    assert (tmp_path / "elsewhere").read_text() == ""
