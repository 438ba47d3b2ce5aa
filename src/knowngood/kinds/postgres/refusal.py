"""What a PostgreSQL server refuses, and what to do about it."""

from __future__ import annotations

from knowngood.core.errors import Busy, KnowngoodError, UsageError
from knowngood.databases.feed import Away
from knowngood.kinds.postgres.address import Address

NO_RIGHT = "42501"
NO_FILE = "58P01"
NO_OBJECT = "42704"
WRONG_STATE = "55000"
TAKEN = "42710"
IN_USE = "55006"
TOO_MANY = "53400"


class Refused(UsageError):
    """The server refuses a statement; `state` is its SQLSTATE ("PostgreSQL Error Codes")."""

    def __init__(self, address: Address, state: str, said: str) -> None:
        super().__init__(f"PostgreSQL at {address.text} refuses: {said}", hint=_hint(address, state, said))
        self.state = state
        self.said = said


def _hint(address: Address, state: str, said: str) -> str:
    user = quoted(address.user)
    if state == NO_RIGHT and "synchronous_standby_names" in said:
        return f"allow it: GRANT SET, ALTER SYSTEM ON PARAMETER synchronous_standby_names TO {user}"
    if state == NO_RIGHT and "pg_reload_conf" in said:
        return f"allow it: GRANT EXECUTE ON FUNCTION pg_reload_conf() TO {user}"
    if state == NO_RIGHT:
        return f"allow it: ALTER ROLE {user} REPLICATION"
    if "max_wal_senders" in said or "max_replication_slots" in said:
        name = "max_wal_senders" if "max_wal_senders" in said else "max_replication_slots"
        return f"ALTER SYSTEM SET {name} = 10; then restart the server"
    if "wal_level" in said:
        return "ALTER SYSTEM SET wal_level = replica; then restart the server"
    if state == TOO_MANY:
        return "raise max_replication_slots, or max_wal_senders, and restart the server"
    return ""


def no_connection(address: Address, reason: str, *, replication: bool) -> KnowngoodError:
    """Why there is no connection, from what libpq says."""
    lines = [line.strip() for line in reason.strip().splitlines() if line.strip()] or ["no reason was given"]
    fatal = next((each for each in reversed(lines) if "FATAL:" in each), lines[-1])  # DETAIL may come behind it
    said = fatal.split("FATAL:")[-1].strip()
    user, where = quoted(address.user), address.text
    if "no pg_hba.conf entry" in reason:
        word = "replication" if replication else address.database or "postgres"
        hint = f"add to its pg_hba.conf, and reload: host {word} {address.user} OUR-ADDRESS/32 scram-sha-256"
        return UsageError(f"PostgreSQL at {where} does not let us in: {said}", hint=hint)
    if "no password supplied" in reason or "authentication failed" in reason:
        hint = "write the password into ~/.pgpass, or into a file: password-file: /etc/knowngood/postgres.secret"
        return UsageError(f"PostgreSQL at {where} does not let us in: {said}", hint=hint)
    if "replication" in reason.lower() and ("permission denied" in said or "must be superuser" in said):
        return UsageError(
            f"PostgreSQL at {where} does not let us follow it: {said}", hint=f"allow it: ALTER ROLE {user} REPLICATION"
        )
    if "does not exist" in said:
        hint = f"CREATE ROLE {user} LOGIN REPLICATION" if "role" in said else "name one that exists in the dsn: dbname="
        return UsageError(f"PostgreSQL at {where} does not let us in: {said}", hint=hint)
    if "too many" in said or "remaining connection slots" in said or "max_wal_senders" in said:
        return Busy(
            f"PostgreSQL at {where} takes no more connections: {said}", hint="raise max_connections, max_wal_senders"
        )
    return Away(f"PostgreSQL at {where} cannot be reached: {said}")


def quoted(name: str) -> str:
    """A name as it stands in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as it stands in SQL and in the replication protocol's commands."""
    return "'" + text.replace("'", "''") + "'"
