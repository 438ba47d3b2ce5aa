"""The table of mounts, as the kernel writes it."""

from __future__ import annotations

from contextlib import closing

from hypothesis import given, strategies as st

from knowngood.linux.mounts import Mount, MountTable, parse, unescaped

LINE = rb"36 35 98:0 /mnt1 /mnt\0402/a\134b rw,noatime master:1 shared:2 - ext3 /dev/root\011x rw,errors=continue"


def test_mounts_are_read() -> None:
    """With blanks and backslashes in their paths, and any number of optional fields."""
    assert parse(LINE) == [Mount(36, rb"/mnt 2/a\b", b"ext3", b"/dev/root\tx")]
    assert parse(LINE.replace(b" master:1 shared:2", b"")) == parse(LINE)
    assert parse(b"\n".join([LINE, b"", b"nonsense", LINE.replace(b" - ", b" "), LINE])) == parse(LINE) * 2


@given(st.binary(max_size=200))
def test_no_table_does_harm(text: bytes) -> None:
    """What cannot be understood is left out."""
    assert len(parse(text)) <= text.count(b" - ")
    assert len(unescaped(text)) <= len(text)


def test_the_table_of_this_process_is_read() -> None:
    """It has a root, and does not change by itself."""
    with closing(MountTable()) as table:
        table.changed()
        assert b"/" in {mount.path for mount in table.read()}
        assert not table.changed()
