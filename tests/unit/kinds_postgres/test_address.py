"""Where a server is, as people write it, and what must not stand there."""

from __future__ import annotations

from pathlib import Path

import pytest

from knowngood.core.errors import UsageError
from knowngood.core.model import ComponentSpec
from knowngood.kinds.postgres.address import address_of


def component(dsn: str, **options: str) -> ComponentSpec:
    """One, with these options."""
    return ComponentSpec(name="db", kind="postgres", options={"dsn": dsn, **options})


def test_words_and_urls() -> None:
    """Both ways of libpq."""
    found = address_of(component("host=/run/postgresql dbname=shop user=backup"))
    assert (found.text, found.database, found.user) == ("/run/postgresql:5432", "shop", "backup")
    assert address_of(component("postgresql://backup@db.example:5433/shop")).text == "db.example:5433"


@pytest.mark.parametrize(
    "dsn", ["host=x password=secret", "postgresql://u:secret@x/d", "nonsense", "host=x replication=true", "host"]
)
def test_what_must_not_stand_there(dsn: str) -> None:
    """A password above all; and the error does not repeat it."""
    with pytest.raises(UsageError) as wrong:
        address_of(component(dsn))
    assert wrong.value.hint
    assert "secret" not in wrong.value.message + wrong.value.hint


def test_a_password_comes_from_its_file(tmp_path: Path) -> None:
    """Which others may not read."""
    secret = tmp_path / "secret"
    secret.write_text("it's\n")
    secret.chmod(0o600)
    found = address_of(component("host=x", **{"password-file": str(secret)}))
    assert "it\\'s" in found.connection().decode()
    assert "it's" not in repr(found)
    secret.chmod(0o644)
    with pytest.raises(UsageError, match="others may read"):
        found.connection()
