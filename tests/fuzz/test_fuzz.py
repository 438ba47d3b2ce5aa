"""Every parser of bytes from outside, fed with strange input: it raises what it says, or takes it, and that is all.

FUZZ_SECONDS says how long each of them is fed (`make proof-fuzz`); otherwise it is 150 inputs, the same every time.
Inputs that once did harm lie under `found/` and are fed first.
"""

from __future__ import annotations

import os
import random
import time
import zlib
from collections.abc import Iterator

import pytest

from tests.fuzz.host_targets import host_targets
from tests.fuzz.mutate import mutated
from tests.fuzz.target import FOUND, Target, traced, until
from tests.fuzz.vault_targets import vault_targets
from tests.fuzz.wire_targets import WIRE

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
FEWEST = 150
TARGETS = [*WIRE, *vault_targets(), *host_targets()]


@pytest.fixture(autouse=True)
def _measured() -> Iterator[None]:
    with traced():
        yield


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_what_was_found_is_found_no_more(target: Target) -> None:
    """And what is valid is taken."""
    for data in target.found():
        target.feed(data)
    assert any(target.feed(sample) for sample in target.samples)


@pytest.mark.timeout(max(300, 3 * SECONDS))
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_strange_input(target: Target) -> None:
    """No error but the documented ones, no hang, and no more memory than the input is worth."""
    seed = time.time_ns() if SECONDS else zlib.crc32(target.name.encode())
    some = random.Random(seed)
    for _ in until(SECONDS, FEWEST):
        data = mutated(target.samples, some)
        target.feed(data)
        if target.mend:
            target.feed(target.mend(data))


def test_what_was_found_belongs_to_a_parser() -> None:
    """Renamed ones take theirs along."""
    folders = {path.name for path in FOUND.iterdir() if path.is_dir()} if FOUND.exists() else set[str]()
    assert folders <= {target.name for target in TARGETS}
