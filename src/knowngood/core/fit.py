"""Whether a component is described as its kind asks for."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from knowngood.core.model import ComponentSpec
from knowngood.core.traits import KindTraits


@dataclass(frozen=True, slots=True)
class Misfit:
    """What does not fit: in words, the key where it stands in a service file, and the fix."""

    problem: str
    key: str
    fix: str


def misfits(component: ComponentSpec, traits: KindTraits) -> Iterator[Misfit]:
    """What of a component does not fit its kind."""
    kind = traits.name
    known = {each.name: each for each in traits.options}
    for name in component.options.keys() - known.keys():
        keys = ["kind", *(["path"] if traits.located else []), "capture", *known]
        fix = did_you_mean(name, known) or f"keys that can stand here: {', '.join(keys)}"
        yield Misfit(f"a component of kind '{kind}' has no '{name}'", name, fix)
    for name, option in known.items():
        if option.required and name not in component.options:
            yield Misfit(
                f"'{name}' of component '{component.name}' is missing", "kind", f"add '{name}: {option.example}'"
            )
    if traits.located and not component.path:
        yield Misfit(f"'path' of component '{component.name}' is missing", "kind", "add 'path: /…'")
    if not traits.located and component.path:
        yield Misfit(f"a component of kind '{kind}' has no path", "path", "remove it")
    if component.capture not in ("auto", *traits.capture):
        levels = f"levels: {', '.join(('auto', *traits.capture))}"
        yield Misfit(f"kind '{kind}' is not captured at level '{component.capture}'", "capture", levels)


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`did you mean 'shop'?`, or nothing when no known word is near."""
    meant = word.lower().replace("_", "-")
    near = difflib.get_close_matches(meant, known, n=3, cutoff=0.6)
    near.sort(key=lambda each: sorted(each) != sorted(meant))  # letters that changed places come first
    return f"did you mean '{near[0]}'?" if near else ""
