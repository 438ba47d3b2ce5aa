"""A vault that is away: what is known of it is enough to name and to seal, and nothing can be put there or read."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged, KnowngoodError, StoreFailed
from knowngood.core.ports import ObjectStat
from knowngood.core.traits import StoreTraits
from knowngood.vault.descriptor import decode_descriptor
from knowngood.vault.vault import Vault, WriterKey


class AbsentStore:
    """A store (port Store) that is not there: whatever is asked of it, it says why, and touches nothing."""

    traits = StoreTraits(local=False)

    def __init__(self, why: KnowngoodError) -> None:
        self._why = why

    def _away(self) -> StoreFailed:
        return StoreFailed(self._why.message, hint=self._why.hint)

    def put(self, key: str, parts: Sequence[Buffer]) -> None:  # noqa: ARG002 - the port's
        """Raises StoreFailed, as all of them."""
        raise self._away()

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:  # noqa: ARG002
        """It is away."""
        raise self._away()

    def view(self, key: str) -> bytes | mmap.mmap:  # noqa: ARG002
        """It is away."""
        raise self._away()

    def stat(self, key: str) -> ObjectStat:  # noqa: ARG002
        """It is away."""
        raise self._away()

    def list(self, prefix: str, *, settled: bool = False) -> Iterator[ObjectStat]:  # noqa: ARG002
        """It is away."""
        raise self._away()

    def delete(self, *keys: str) -> None:  # noqa: ARG002
        """It is away."""
        raise self._away()

    def free_bytes(self) -> int | None:
        """It is away."""
        raise self._away()

    def sweep(self) -> int:
        """It is away."""
        raise self._away()


def absent_vault(descriptor: bytes, writer: WriterKey, why: KnowngoodError) -> Vault:
    """A vault by what was remembered of it: its descriptor as it was stored. Raises Damaged, Unsupported."""
    known = decode_descriptor(descriptor)
    if known.vault_id != writer.vault_id:
        raise Damaged("what is remembered of the vault is of another one")
    return Vault(AbsentStore(why), known, writer)
