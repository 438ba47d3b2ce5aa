"""Passwords stand in files of their own, which only their owner may read: never in service files, arguments or logs."""

from __future__ import annotations

import os
import stat

from knowngood.core.errors import UsageError

_BYTES = 4096


def read_secret(path: str) -> str:
    """What is in a password file. Raises UsageError when others may read it, or it cannot be read."""
    if not os.path.isabs(path):
        raise UsageError(f"the path '{path}' is not absolute", hint="begin it with /")
    try:
        with open(path, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(f"others may read the password in {path}", hint=f"chmod go= {path}")
            return file.read(_BYTES).strip()
    except (OSError, UnicodeDecodeError) as wrong:
        reason = os.strerror(wrong.errno or 0).lower() if isinstance(wrong, OSError) else "it is no text"
        raise UsageError(f"the password in {path} cannot be read: {reason}") from None
