"""The folder that is recovered: a data folder of PostgreSQL that starts by itself, and what knowngood adds to it."""

from __future__ import annotations

MANIFEST = b"backup_manifest"
AUTO_CONF = b"postgresql.auto.conf"
TABLESPACES = b"pg_tblspc/"
LOG = b"pg_wal/"
SIGNAL = b"recovery.signal"
CONF = b"postgresql.conf"
HBA = b"pg_hba.conf"
IDENT = b"pg_ident.conf"
SETTINGS = b"knowngood.conf"
README = b"knowngood.txt"

AUTO = """
# Added by knowngood, for the recovery of this folder; the last lines of this file win. Remove them, or ALTER SYSTEM
# RESET each, before the server takes the place of the one it was recovered from.
restore_command = 'false'
hot_standby = off
archive_mode = off
primary_conninfo = ''
primary_slot_name = ''
synchronous_standby_names = ''
allow_in_place_tablespaces = on
"""
"""Nothing of the former server's surroundings is touched: neither its archive, nor its standbys, nor its disks."""

HBA_TEXT = """# Written by knowngood: the server that this folder was recovered from keeps its file elsewhere.
local all all peer
"""

README_TEXT = """This is the data folder of a PostgreSQL {version} server, recovered by knowngood.

It starts as it is, as the user who owns it, and goes on where its log ends:

    /usr/lib/postgresql/{version}/bin/pg_ctl -D FOLDER -o "-p 5433 -k /tmp" start

It begins a new timeline then; nothing reaches the server that it was recovered from. `knowngood recover` without --to
puts it in that server's place; by hand, remove first what knowngood added at the end of postgresql.auto.conf.
knowngood.conf has the settings that the server had; where it kept its postgresql.conf elsewhere, that file is a copy of
them. Tablespaces are folders in pg_tblspc.
"""

FIRST_LINES = (HBA_TEXT.splitlines(keepends=True)[0], "# Settings of the server, noted by knowngood.\n")
"""How files begin that are ours."""

_COPIED = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "max_pred_locks_per_transaction",
    "shared_preload_libraries",
    "shared_buffers",
    "work_mem",
    "maintenance_work_mem",
    "max_wal_size",
    "min_wal_size",
    "checkpoint_timeout",
    "wal_level",
    "timezone",
    "datestyle",
    "default_text_search_config",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
)

SETTINGS_QUERY = f"""
select name, current_setting(name) from pg_settings
where name in ({", ".join(f"'{name.lower()}'" for name in _COPIED)}) or lower(name) in ('timezone', 'datestyle')
order by name
"""

SUPERUSER = "knowngood.superuser"
"""The account that was made with the server: whoever asks a throw-away server is that one."""


def settings_text(settings: list[tuple[str, str]], superuser: str) -> str:
    """The settings of a server, as a file that it reads."""
    lines = [f"{name} = {quoted(value)}" for name, value in settings]
    return "\n".join([FIRST_LINES[1].strip(), *lines, f"{SUPERUSER} = {quoted(superuser)}", ""])


def superuser_of(settings: str) -> str:
    """The account that `settings_text` wrote."""
    for line in settings.splitlines():
        name, _, value = line.partition(" = ")
        if name == SUPERUSER:
            return value[1:-1].replace("''", "'")
    return "postgres"


def quoted(value: str) -> str:
    """A value as it stands in a file of settings."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
