"""Whether somebody has said that the recovery kit is kept elsewhere: until then, people are reminded of it."""

from __future__ import annotations

from contextlib import suppress

from knowngood.control.files import read_bounded, write_durably
from knowngood.control.home import Home
from knowngood.core.errors import KnowngoodError

_LONGEST = 256


def kit_is_kept(home: Home, vault_id: bytes) -> bool:
    """Of this very vault; a new one has another kit."""
    with suppress(KnowngoodError):
        return read_bounded(home.kit_kept, _LONGEST) == vault_id.hex().encode()
    return False


def note_kit_is_kept(home: Home, vault_id: bytes) -> None:
    """Somebody says so."""
    write_durably(home.kit_kept, vault_id.hex().encode())
