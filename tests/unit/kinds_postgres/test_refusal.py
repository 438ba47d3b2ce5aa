"""What a server says when it does not let us in, and what to do about it."""

from __future__ import annotations

import pytest

from knowngood.core.errors import UsageError
from knowngood.kinds.postgres.address import Address
from knowngood.kinds.postgres.refusal import no_connection

_BEFORE = 'connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: FATAL:  '


@pytest.mark.parametrize(
    "said",
    [
        "must be superuser or replication role to start walsender",  # 15
        # from 16 on
        "permission denied to start WAL sender\nDETAIL:  Only roles with the REPLICATION attribute may start one.",
    ],
)
def test_an_account_that_may_not_follow(said: str) -> None:
    """Every version has words of its own; the fix is the same."""
    found = no_connection(Address((("user", "shop"),)), _BEFORE + said + "\n", replication=True)
    assert isinstance(found, UsageError)
    assert found.hint == 'allow it: ALTER ROLE "shop" REPLICATION'
    assert said.split("\n", maxsplit=1)[0] in found.message
