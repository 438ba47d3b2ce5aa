"""Changes to services as plans: `--dry-run` prints one, the real run carries out the same object."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from knowngood.control.documents import MAX_BYTES, parse_document
from knowngood.control.editing import revised
from knowngood.control.files import read_bounded
from knowngood.control.forms import read_service
from knowngood.control.home import Home
from knowngood.control.services import (
    get_service,
    remove_service,
    save_service,
    service_path,
    service_text,
    service_tree,
    warnings_about,
)
from knowngood.core.errors import Busy, KnowngoodError, NotFound
from knowngood.core.model import ServiceSpec
from knowngood.core.sizes import span_short


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that changes. `item` is where it stands, such as `policy.keep.hourly`; None where there is none."""

    item: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """What is to be done to one service's file."""

    name: str
    before: ServiceSpec | None  # None: there is none, or its file cannot be read
    after: ServiceSpec | None  # None: the file is taken away
    old_text: str | None
    new_text: str

    @property
    def action(self) -> str:
        """`create`, `change`, `remove` or `none`."""
        if self.after is None:
            return "remove"
        if self.old_text is None:
            return "create"
        return "none" if self.old_text == self.new_text else "change"

    def differences(self) -> list[Difference]:
        """What changes, value by value."""
        old, new = dict(_flat(self.before)), dict(_flat(self.after))
        return [
            Difference(item, old.get(item), new.get(item))
            for item in [*old, *(each for each in new if each not in old)]
            if old.get(item) != new.get(item)
        ]

    def warnings(self) -> list[str]:
        """What may not be meant: doubtful definitions, and promises that become smaller."""
        if self.after is None:
            return []
        return warnings_about(self.after) + self._smaller()

    def _smaller(self) -> list[str]:
        if self.before is None or self.after is None:
            return []
        old, new = self.before.policy, self.after.policy
        pairs = zip(old.keep.rungs(), new.keep.rungs(), strict=True)
        weaker = []
        if old.rpo and (new.rpo > old.rpo or not new.rpo):
            promised = span_short(new.rpo) if new.rpo else "nothing is promised"
            weaker.append(f"'rpo' becomes weaker: {span_short(old.rpo)} → {promised}; more can be lost")
        return weaker + [
            f"'{name}' becomes shorter: {span_short(before)} → {span_short(after)}; points that only it keeps expire"
            for (name, before), (_, after) in pairs
            if after < before
        ]

    def carry_out(self, home: Home) -> str | None:
        """Do it, under the lock of the home. Returns where the file is, or is kept now; None if nothing was to do.

        Raises Busy when the file was changed since the plan was made.
        """
        path = service_path(home, self.name)
        if _text(path) != self.old_text:
            raise Busy(f"{path} was changed by somebody else just now", hint="look at it, then run the command again")
        if self.after is None:
            return remove_service(home, self.name)
        if self.action == "none":
            return None
        return save_service(home, self.after, text=self.new_text)


def _text(path: str) -> str | None:
    try:
        return read_bounded(path, MAX_BYTES).decode("utf-8-sig", "replace")
    except NotFound:
        return None


def _present(home: Home, name: str) -> tuple[ServiceSpec | None, str | None]:
    path = service_path(home, name)
    text = _text(path)
    if text is not None:
        with contextlib.suppress(KnowngoodError):
            return read_service(parse_document(text.encode(), path, "yaml")), text
    return None, text


def plan_change(home: Home, after: ServiceSpec, *, text: str | None = None) -> ServiceChange:
    """Plan to make a service what `after` says. `text`, its file as somebody wrote it, is then kept as it is."""
    before, old_text = _present(home, after.name)
    if text is None:
        text = service_text(after)
        if before is not None and old_text is not None:
            text = old_text if before == after else revised(old_text, after)
    return ServiceChange(after.name, before, after, old_text, text)


def plan_removal(home: Home, name: str) -> ServiceChange:
    """Plan to take a service away. Raises NotFound."""
    before, old_text = _present(home, name)
    if old_text is None:
        get_service(home, name)  # says what may have been meant
    return ServiceChange(name, before, None, old_text, "")


def _flat(spec: ServiceSpec | None) -> Iterator[tuple[str, Any]]:
    if spec is not None:
        yield from _leaves(service_tree(spec), "")


def _leaves(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield above + key, value
