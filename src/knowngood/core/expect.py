"""Expectations: what the answer to a check has to be, in few words: `> 0`, `= open`, `42`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

_COMPARISON = re.compile(r"(>=|<=|!=|=|>|<)\s*(.*)", re.DOTALL)
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def expectation_problem(expect: str) -> str | None:
    """What is wrong with an expectation; None when nothing is."""
    sign, wanted = _parts(expect)
    if sign in _ORDERS and _number(wanted) is None:
        return f"'{expect}' compares with something that is no number"
    return None


def meets(expect: str, answer: str) -> bool:
    """Whether an answer is as expected. Without a sign it has to be equal: as a number where both are, else as text.

    An empty expectation is met by every answer.
    """
    if not expect:
        return True
    sign, wanted = _parts(expect)
    left, right = _number(answer), _number(wanted)
    if sign in _ORDERS:
        return left is not None and right is not None and _ORDERS[sign](left, right)
    same = left == right if left is not None and right is not None else answer.strip() == wanted.strip()
    return same != (sign == "!=")


def _parts(expect: str) -> tuple[str, str]:
    found = _COMPARISON.fullmatch(expect.strip())
    return (found[1], found[2]) if found else ("=", expect.strip())


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
