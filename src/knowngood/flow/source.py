"""Pages and chunks for those who read points: one that is missing is damage, and no path that was not found."""

from __future__ import annotations

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged, NotFound
from knowngood.core.ids import Name
from knowngood.core.ports import PageSource
from knowngood.flow.parts import Parts
from knowngood.vault.session import Session


class Source:
    """A page source (port) of what points refer to. Raises Damaged, Locked."""

    def __init__(self, inner: PageSource) -> None:
        self._inner = inner

    def page(self, name: Name) -> tuple[bytes, bytes]:
        """References and body of a page."""
        try:
            return self._inner.page(name)
        except NotFound as wrong:
            raise Damaged(wrong.message, hint=wrong.hint) from None

    def chunk(self, name: Name) -> Buffer:
        """Content of a chunk."""
        try:
            return self._inner.chunk(name)
        except NotFound as wrong:
            raise Damaged(wrong.message, hint=wrong.hint) from None


def source(parts: Parts, session: Session) -> Source:
    """What a session in the vault can read. Raises Locked."""
    return Source(parts.vault.reader(session, parts.private()))
