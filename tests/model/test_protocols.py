"""The models of the protocols, looked through within small bounds; and each rule broken once."""

from __future__ import annotations

import re

import pytest

from tests.house.files import ROOT
from tests.model.machine import BROKEN, FOLDER, SHORT, Broken, Model, look_through

spins = pytest.mark.needs("spin", "gcc")
MODELS = [path.read_text() for path in sorted(FOLDER.glob("*.pml"))]


@spins
@pytest.mark.parametrize("model", SHORT, ids=str)
def test_no_order_of_steps_loses_anything(model: Model) -> None:
    """Every state within the bounds."""
    seen = look_through(model)
    assert not seen.error
    assert seen.whole
    assert seen.states > 10_000


@spins
@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_broken_rule_is_noticed(broken: Broken) -> None:
    """Otherwise the model would say nothing about that rule."""
    assert look_through(broken.model, broken.number).error


@pytest.mark.parametrize("text", MODELS)
def test_what_a_model_names_is_there(text: str) -> None:
    """Invariants in docs/format.md, functions and classes in the code of the vault."""
    document = (ROOT / "docs" / "format.md").read_text()
    assert all(f"**{name}**" in document for name in set(re.findall(r"INV-\d+", text)))
    code = "".join(path.read_text() for path in (ROOT / "src/knowngood/vault").glob("*.py"))
    named = re.findall(r"[A-Z]\w+\.(_?[a-z]\w+)|\w+\.py, (_?[a-z]\w+)", text)
    assert len(named) > 5
    assert [name for pair in named for name in pair if name and not re.search(rf"def {name}\b", code)] == []


def test_every_rule_that_a_model_can_break_is_listed() -> None:
    """In both directions."""
    for path in FOLDER.glob("*.pml"):
        there = {int(number) for number in re.findall(r"BROKEN [!=]= (\d+)", path.read_text())}
        assert there == {each.number for each in BROKEN if each.model.name == path.stem}
