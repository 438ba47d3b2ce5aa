"""Opens frames with the vault's private key. Content keys are opened once and kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from knowngood.core.errors import Damaged
from knowngood.core.ports import Store
from knowngood.seal.frame import Frame, read_frame
from knowngood.seal.keys import PrivateKey
from knowngood.vault.pack import open_content_key, read_keys

_KEYS_CACHED = 4096


class Opener:
    """The content keys of one vault's packs, by their ids. Safe to use from many threads."""

    def __init__(self, store: Store, private: PrivateKey, vault_id: bytes) -> None:
        self._store = store
        self._private = private
        self._vault_id = vault_id
        self._lock = threading.Lock()
        self._keys: OrderedDict[bytes, AESGCM] = OrderedDict()

    def open(self, frame: Frame, key: str) -> bytes:
        """The payload of a frame of the pack that lies under `key`. Raises Damaged, Locked, Unsupported."""
        return frame.open(self._content_key(frame, key))

    def _content_key(self, frame: Frame, key: str) -> AESGCM:
        wanted = frame.header.key_id
        with self._lock:
            if wanted in self._keys:
                return self._keys[wanted]
        frames = read_keys(lambda offset, length: self._store.get(key, offset, length))
        if wanted not in frames:
            raise Damaged("a frame's content key is missing from its pack")
        opened = open_content_key(read_frame(frames[wanted]), self._private, self._vault_id)
        with self._lock:
            self._keys[wanted] = opened
            while len(self._keys) > _KEYS_CACHED:
                self._keys.popitem(last=False)
        return opened
