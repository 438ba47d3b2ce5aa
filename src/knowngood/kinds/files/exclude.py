"""What stays out of a checkpoint: names and paths by pattern, caches by their tag, and our own vaults.

The patterns are those of `.gitignore`, without its `!`: one without a slash matches a name at any depth; one with a
slash is anchored at the component's root; `*`, `?` and `[…]` stay within a name; `**` spans directories; a slash at
the end means directories only. What is left out takes everything below it along.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable

from knowngood.core.errors import UsageError
from knowngood.core.sizes import KIB
from knowngood.vault.layout import DESCRIPTOR

CACHE_TAG = b"CACHEDIR.TAG"
_CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"  # https://bford.info/cachedir/
_VAULT_FILE = DESCRIPTOR.encode()
_VAULT_MAGIC = b'"knowngood vault"'
_PEEK = 4 * KIB
_HINT = "write patterns such as '*.tmp', 'cache/', '/var/tmp' or 'projects/**/build/'"


class Exclusions:
    """The patterns of one component, compiled. False when there are none."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises UsageError for a pattern that cannot be meant."""
        groups: dict[tuple[bool, bool], list[bytes]] = {}
        for text in patterns:
            pattern = os.fsencode(text)
            core = pattern.strip(b"/")
            if not core or pattern.startswith(b"!"):
                raise UsageError(f"'{text}' is not a pattern for exclude", hint=_HINT)
            anchored = b"/" in pattern.rstrip(b"/")
            groups.setdefault((anchored, pattern.endswith(b"/")), []).append(_expression(core.split(b"/")))
        self._names = _any_of(groups.get((False, False)))
        self._folder_names = _any_of(groups.get((False, True)))
        self._paths = _any_of(groups.get((True, False)))
        self._folder_paths = _any_of(groups.get((True, True)))
        self._any = bool(groups)
        self._anchored = bool(self._paths or self._folder_paths)

    def __bool__(self) -> bool:
        return self._any

    def match(self, above: bytes, name: bytes, is_directory: bool) -> bool:
        """Whether an entry is left out. `above` is its directory's path below the root, ended by `/` unless empty."""
        if self._names and self._names.fullmatch(name):
            return True
        if is_directory and self._folder_names and self._folder_names.fullmatch(name):
            return True
        if not self._anchored:
            return False
        path = above + name
        if self._paths and self._paths.fullmatch(path):
            return True
        return bool(is_directory and self._folder_paths and self._folder_paths.fullmatch(path))


def _any_of(expressions: list[bytes] | None) -> re.Pattern[bytes] | None:
    return re.compile(b"|".join(b"(?:%s)" % each for each in expressions), re.DOTALL) if expressions else None


def _expression(parts: list[bytes]) -> bytes:
    """The components of a pattern → a regular expression for the whole path."""
    found = b""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == b"**":
            found += b".+" if last else b"(?:[^/]+/)*"
        else:
            found += _component(part) + (b"" if last else b"/")
    return found


def _component(glob: bytes) -> bytes:
    found, at = b"", 0
    while at < len(glob):
        here = glob[at : at + 1]
        at += 1
        if here == b"*":
            found += b"[^/]*"
        elif here == b"?":
            found += b"[^/]"
        elif here == b"\\" and at < len(glob):
            found += re.escape(glob[at : at + 1])
            at += 1
        elif here == b"[" and (end := glob.find(b"]", at + 1 + (glob[at : at + 1] in b"!^"))) > 0:
            found += _set(glob[at:end])
            at = end + 1
        else:
            found += re.escape(here)
    return found


def _set(body: bytes) -> bytes:
    negated = body[:1] in (b"!", b"^")
    inside = re.sub(rb"([\\\[\]^&~|])", rb"\\\1", body[1:] if negated else body)
    expression = b"(?!/)[%s%s]" % (b"^" if negated else b"", inside)
    try:
        re.compile(expression)
    except re.error as wrong:
        raise UsageError(f"'[{os.fsdecode(body)}]' is not a set of characters: {wrong}", hint=_HINT) from None
    return expression


def is_cache(directory: int) -> bool:
    """Whether an open directory is tagged as a cache, by the standard's signature and not by the name alone."""
    return _peek(directory, CACHE_TAG).startswith(_CACHE_SIGNATURE)


def is_vault(directory: int) -> bool:
    """Whether an open directory is a vault of ours: protecting one inside itself would never end."""
    return _VAULT_MAGIC in _peek(directory, _VAULT_FILE)


def _peek(directory: int, name: bytes) -> bytes:
    """The beginning of a regular file; b"" when there is none, or it cannot be read."""
    if not os.access(name, os.F_OK, dir_fd=directory):  # far cheaper than an open that raises
        return b""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError:
        return b""
    try:
        return os.read(fd, _PEEK) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(fd)
