"""What every verb is given: the vault, what is known of it, and the kinds. Built once, outside the flow."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from knowngood.core.errors import Unsupported
from knowngood.core.model import ComponentSpec, ServiceSpec
from knowngood.core.ports import Kind
from knowngood.core.progress import Progress
from knowngood.seal.keys import PrivateKey
from knowngood.vault.catalog import Catalog
from knowngood.vault.vault import Vault


@dataclass(frozen=True)
class Parts:
    """The parts a verb works with. `private` raises Locked when the key cannot be had; only reading asks for it.

    `private_here` gives it when it was given or is kept here, and None otherwise: nobody is asked.
    """

    vault: Vault
    catalog: Catalog
    kinds: Callable[[], Mapping[str, Kind]]  # called only when a kind is needed: looking at points needs none
    state_dir: Callable[[bytes], str]  # a timeline's own folder for what its kind remembers
    private: Callable[[], PrivateKey]
    private_here: Callable[[], PrivateKey | None] = lambda: None
    progress: Progress = field(default_factory=Progress)
    host: str = field(default_factory=socket.gethostname)

    def timeline(self, service: ServiceSpec, component: ComponentSpec) -> bytes:
        """The label of a component's timeline."""
        return self.vault.writer.namer.label("timeline", self.host, service.name, component.name, component.kind)

    def kind(self, name: str) -> Kind:
        """The kind of this name. Raises Unsupported."""
        kinds = self.kinds()
        if name not in kinds:
            known = ", ".join(sorted(kinds))
            raise Unsupported(f"this version has no kind '{name}'", hint=f"it has: {known}")
        return kinds[name]
