"""What an answer has to be."""

from __future__ import annotations

import pytest

from knowngood.core.expect import expectation_problem, meets


@pytest.mark.parametrize(
    ("expect", "answer", "met"),
    [
        ("", "anything", True),
        ("> 0", "1", True),
        ("> 0", "0", False),
        (">0.5", " 0.75 ", True),
        (">= 3", "3", True),
        ("< 3", "3", False),
        ("<= 3", "x", False),
        ("> 0", "", False),
        ("3", "3.0", True),
        ("= open", "open\n", True),
        ("open", "shut", False),
        ("!= open", "shut", True),
        ("!= 3", "3.0", False),
        ("a > b", "a > b", True),
    ],
)
def test_expectations(expect: str, answer: str, met: bool) -> None:
    """Numbers as numbers, text as text."""
    assert meets(expect, answer) == met


def test_what_cannot_be_meant() -> None:
    """Order is for numbers."""
    assert expectation_problem("> many")
    assert expectation_problem("> 3") is None
    assert expectation_problem("many") is None
