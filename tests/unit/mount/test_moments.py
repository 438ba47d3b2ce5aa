"""Names of moments."""

from __future__ import annotations

import pytest

from knowngood.core.instants import SECOND, parse_when, when_text
from knowngood.doors.mount.moments import Moment, listed, spoken

DAY = 1_790_000_000 * SECOND


def moment(number: int, at: int) -> Moment:
    """One that arrived as the `number`-th."""
    return Moment(bytes([number]) * 16, b"", at, number)


def test_names_sort_as_time_does() -> None:
    """And the last one to arrive is the latest, whatever its clock said."""
    found = listed([moment(3, DAY - SECOND), moment(1, DAY), moment(2, DAY + 90 * SECOND)])
    *dated, latest = found
    assert dated == sorted(dated)
    assert [found[each].received_ns for each in dated] == [3, 1, 2]
    assert latest == b"latest"
    assert found[latest].received_ns == 3
    assert listed([]) == {}


def test_names_are_unique_and_stay() -> None:
    """The first of a second keeps its name when others come."""
    one = listed([moment(1, DAY + 5)])
    three = listed([moment(1, DAY + 5), moment(2, DAY + 7), moment(3, DAY + 7)])
    assert {name: three[name] for name in one if name != b"latest"} == {n: m for n, m in one.items() if n != b"latest"}
    assert sorted(len(name) for name in three) == [6, 19, 29, 38]


@pytest.mark.parametrize("moment_ns", [DAY, DAY + 35 * SECOND // 100])
def test_a_listed_form_means_the_same_moment(moment_ns: int) -> None:
    """Also when nothing is listed under it."""
    name = when_text(moment_ns).replace(" ", "T").replace(":", "-")
    assert parse_when(spoken(name)) == moment_ns // SECOND * SECOND
    assert parse_when(spoken(f"{name}.350000000")) == moment_ns // SECOND * SECOND + 35 * SECOND // 100
    assert parse_when(spoken(name[:16])) <= moment_ns


@pytest.mark.parametrize("words", ["14:02", "yesterday 18:00", "-90s", "latest", "0a1b2c3d", "2026-11-20"])
def test_other_words_stay_as_they_are(words: str) -> None:
    """They are what `--at` takes."""
    assert spoken(words) == words
