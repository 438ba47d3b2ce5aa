"""What is left of knowngood in a data folder that becomes production again: nothing."""

from __future__ import annotations

from pathlib import Path

from knowngood.kinds.postgres import layout
from knowngood.kinds.postgres.production import clean

_OWN = "# ALTER SYSTEM\nwork_mem = '7MB'\nprimary_conninfo = 'host=up'\n"


def folder_of(path: Path, **files: str) -> dict[str, str]:
    """Make a data folder; what `clean` leaves of it."""
    auto = _OWN + files.pop("auto", "") + layout.AUTO + "recovery_target_xid = '7'\n"
    for name, text in {layout.AUTO_CONF.decode(): auto, "PG_VERSION": "15\n", **files}.items():
        (path / name).write_text(text)
    clean(str(path))
    return {each.name: each.read_text() for each in path.iterdir()}


def test_what_was_added_goes(tmp_path: Path) -> None:
    """Settings for a recovery, and files that the server keeps elsewhere; what it had set itself stays."""
    settings = layout.settings_text([("work_mem", "4MB")], "postgres")
    ours = {
        "postgresql.conf": settings, "knowngood.conf": settings, "pg_hba.conf": layout.HBA_TEXT, "pg_ident.conf": "",
        "knowngood.txt": "x", "knowngood.json": "{}", "backup_manifest": "{}",
    }  # fmt: skip
    assert folder_of(tmp_path, **ours) == {"PG_VERSION": "15\n", "postgresql.auto.conf": _OWN}


def test_what_the_server_keeps_there_stays(tmp_path: Path) -> None:
    """They are part of its state."""
    own = {"postgresql.conf": "port = 7\n", "pg_hba.conf": "local all all peer\n", "pg_ident.conf": ""}
    assert folder_of(tmp_path, **own) == {"PG_VERSION": "15\n", "postgresql.auto.conf": _OWN, **own}


def test_nobody_waits_for_us(tmp_path: Path) -> None:
    """A base that was taken while commits waited for the vault: nobody may follow yet when it is production again."""
    waits = "synchronous_standby_names = 'knowngood_12ab'\n"
    assert folder_of(tmp_path, auto=waits)["postgresql.auto.conf"] == _OWN
    others = "synchronous_standby_names = 'b'\n"
    assert folder_of(tmp_path, auto=others)["postgresql.auto.conf"] == _OWN + others
