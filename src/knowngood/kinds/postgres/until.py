"""Where a recovery ends: a place in the log that the server itself finds when it starts (recovery_target_*)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from knowngood.core.errors import Damaged, UsageError
from knowngood.core.instants import SECOND, parse_when
from knowngood.kinds.postgres import layout
from knowngood.wire.pglog import lsn_text, parse_lsn

UNTILS = ("lsn", "xid", "before-xid", "name", "time")

_NAME_BYTES = 63


def until(word: str, value: str) -> Callable[[str], None]:
    """What makes the server of a recovered folder end there. Raises UsageError when the value is none."""
    settings = {**_settings(word, value), "recovery_target_action": "promote", "recovery_target_timeline": "latest"}
    lines = [f"{name} = {layout.quoted(each)}" for name, each in settings.items()]
    text = "\n".join(["# Where its recovery ends, as knowngood was told.", *lines, ""])

    def write(folder: str) -> None:
        path = os.path.join(folder, os.fsdecode(layout.AUTO_CONF))
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    return write


def _settings(word: str, value: str) -> Mapping[str, str]:
    if word == "lsn":
        try:
            return {"recovery_target_lsn": lsn_text(parse_lsn(value))}
        except Damaged as wrong:
            raise UsageError(wrong.message, hint="write it as the server does: lsn=0/3000028") from None
    if word in ("xid", "before-xid"):
        if not value.isascii() or not value.isdigit():
            raise UsageError(f"'{value}' is no number of a transaction", hint=f"write {word}=1234")
        inclusive = "on" if word == "xid" else "off"
        return {"recovery_target_xid": value, "recovery_target_inclusive": inclusive}
    if word == "name":
        if not 0 < len(value.encode()) <= _NAME_BYTES or "\n" in value:
            raise UsageError("a restore point has a name of 1 to 63 bytes", hint="pg_create_restore_point gives one")
        return {"recovery_target_name": value}
    seconds, rest = divmod(parse_when(value), SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return {"recovery_target_time": f"{text}.{rest // 1000:06d}+00"}
