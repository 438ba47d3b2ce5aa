"""What files carry beside their content: modes, owners, times, extended attributes, flags."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from typing import Any

from knowngood.core.instants import SECOND, now_ns
from knowngood.core.log import Form, Operation
from knowngood.kinds.files.attributes import FS_IOC_GETFLAGS, flags_of, proc_path
from knowngood.kinds.files.journal.acting import VALID_NS, Acting
from knowngood.kinds.files.journal.entries import Draft
from knowngood.kinds.files.journal.nodes import Node, Opened
from knowngood.kinds.files.syscalls import FS_IOC_SETFLAGS
from knowngood.wire.fuse import replies
from knowngood.wire.fuse.bodies import Control, GetXattr, ListXattr, Named, SetAttr, SetXattr
from knowngood.wire.fuse.opcodes import ACL_KILL_SGID, SetAttrFlag
from knowngood.wire.fuse.requests import Request

_ACCESS_ACL = b"system.posix_acl_access"
_LONG = 8  # what the first two commands are declared to take, and do not
_ASKS = {FS_IOC_GETFLAGS: 4, 0x801C581F: 28}  # and FS_IOC_FSGETXATTR: bytes of the answer
_SETS = {FS_IOC_SETFLAGS: 4, 0x401C5820: 28}  # and FS_IOC_FSSETXATTR
_TIMES = SetAttrFlag.ATIME | SetAttrFlag.MTIME
_OWNER = SetAttrFlag.UID | SetAttrFlag.GID


class Carried:
    """Answers requests about attributes."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting
        self._nodes = acting.nodes

    def get(self, request: Request, _: Any) -> list[bytes]:
        """GETATTR."""
        file = self._nodes.stat(self._nodes[request.node])
        return [replies.attributes_reply(self._acting.attributes(file), VALID_NS)]

    # ------------------------------------------------------------------------------------------------------- SETATTR

    def set(self, request: Request, body: SetAttr) -> list[bytes]:
        """SETATTR: size, mode, owner, times."""
        node, acting = self._nodes[request.node], self._acting
        with acting.change():
            pin = self._nodes.pinned(node)
            path, valid = proc_path(pin.fd), body.valid
            acl = _value(pin, _ACCESS_ACL) if valid & SetAttrFlag.MODE else None
            if valid & SetAttrFlag.SIZE:
                self._truncate(path, body)
            if valid & _OWNER:
                uid = body.uid if valid & SetAttrFlag.UID else -1
                os.chown(path, uid, body.gid if valid & SetAttrFlag.GID else -1)
            if valid & SetAttrFlag.MODE:
                os.chmod(path, stat.S_IMODE(body.mode))
            if valid & _TIMES:
                os.utime(path, ns=self._times(os.fstat(pin.fd), body))
            file = os.fstat(pin.fd)
            told = self._set(node, file, body)
            if acl is not None:  # its mask follows the mode
                told.append(self._xattr(node, file, pin, _ACCESS_ACL, acl))
            acting.tell(*told)
        return [replies.attributes_reply(acting.attributes(file), VALID_NS)]

    def _truncate(self, path: str, body: SetAttr) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, body.size)
            mode = os.fstat(fd).st_mode
            if body.valid & SetAttrFlag.KILL_SUIDGID and mode & (stat.S_ISUID | stat.S_ISGID):
                gone = stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0)
                os.chmod(fd, stat.S_IMODE(mode) & ~gone)
        finally:
            os.close(fd)

    def _times(self, file: os.stat_result, body: SetAttr) -> tuple[int, int]:
        valid, atime, mtime = body.valid, file.st_atime_ns, file.st_mtime_ns
        if valid & SetAttrFlag.ATIME:
            atime = now_ns() if valid & SetAttrFlag.ATIME_NOW else _moment(body.atime, body.atime_nanos)
        if valid & SetAttrFlag.MTIME:
            mtime = now_ns() if valid & SetAttrFlag.MTIME_NOW else _moment(body.mtime, body.mtime_nanos)
        return atime, mtime

    def _set(self, node: Node, file: os.stat_result, body: SetAttr) -> list[Draft | None]:
        valid, acting = body.valid, self._acting
        told: list[Draft | None] = []
        if valid & SetAttrFlag.SIZE:
            told.append(acting.changed(Operation.TRUNCATE, node, file, length=file.st_size))
        if valid & _OWNER:
            told.append(acting.changed(Operation.OWNER, node, file))
        if valid & SetAttrFlag.MODE:
            told.append(acting.changed(Operation.MODE, node, file))
        if valid & _TIMES or not told:
            told.append(acting.changed(Operation.TIMES, node, file))
        return told

    # ------------------------------------------------------------------------------------------- extended attributes

    def get_xattr(self, request: Request, body: GetXattr) -> list[bytes]:
        """GETXATTR."""
        node = self._nodes[request.node]
        with self._nodes.lock:  # so that it is not closed meanwhile
            if node.open:
                return [_sized(os.getxattr(node.open[0], body.name), body.size)]
        pin = self._nodes.pinned(node)
        return [_sized(os.getxattr(proc_path(pin.fd), body.name), body.size)]

    def list_xattrs(self, request: Request, body: ListXattr) -> list[bytes]:
        """LISTXATTR. Those for root are shown to root only, as everywhere."""
        pin = self._nodes.pinned(self._nodes[request.node])
        names = [os.fsencode(each) for each in os.listxattr(proc_path(pin.fd))]
        shown = [each for each in names if not request.uid or not each.startswith(b"trusted.")]
        return [_sized(b"".join(each + b"\0" for each in shown), body.size)]

    def set_xattr(self, request: Request, body: SetXattr) -> list[bytes]:
        """SETXATTR; an ACL changes the mode as well."""
        node, acting = self._nodes[request.node], self._acting
        with acting.change():
            pin = self._nodes.pinned(node)
            before = _value(pin, body.name)
            os.setxattr(proc_path(pin.fd), body.name, body.value, body.flags)
            if body.more & ACL_KILL_SGID:
                mode = stat.S_IMODE(os.fstat(pin.fd).st_mode)
                os.chmod(proc_path(pin.fd), mode & ~stat.S_ISGID)
            self._tell_xattr(node, pin, body.name, before)
        return []

    def remove_xattr(self, request: Request, body: Named) -> list[bytes]:
        """REMOVEXATTR."""
        node, acting = self._nodes[request.node], self._acting
        with acting.change():
            pin = self._nodes.pinned(node)
            before = _value(pin, body.name)
            os.removexattr(proc_path(pin.fd), body.name)
            self._tell_xattr(node, pin, body.name, before)
        return []

    def _tell_xattr(self, node: Node, pin: Opened, name: bytes, before: bytes | None) -> None:
        acting, file = self._acting, os.fstat(pin.fd)
        acting.tell(self._xattr(node, file, pin, name, before) or acting.changed(Operation.MODE, node, file))

    def _xattr(self, node: Node, file: os.stat_result, pin: Opened, name: bytes, before: bytes | None) -> Draft | None:
        """What an attribute became; None when it is as it was."""
        after = _value(pin, name)
        if after == before:
            return None
        if after is None:
            return self._acting.changed(Operation.XATTR, node, file, second=name)
        told = {"form": Form.BYTES, "length": len(after), "data": after}
        return self._acting.changed(Operation.XATTR, node, file, second=name, **told)

    # ------------------------------------------------------------------------------------------------------- flags

    def control(self, request: Request, body: Control) -> list[bytes]:
        """IOCTL: file flags, which lsattr(1) shows and chattr(1) sets."""
        node, acting = self._nodes[request.node], self._acting
        size = _ASKS.get(body.command)
        if size is not None and body.out_size >= size:
            answer = bytearray(max(size, _LONG))
            fcntl.ioctl(body.handle, body.command, answer)
            return [replies.control(0, bytes(answer[:size]))]
        size = _SETS.get(body.command)
        if size is None or len(body.data) < size:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        with acting.change():
            fcntl.ioctl(body.handle, body.command, body.data[:size].ljust(_LONG, b"\0"))
            value = flags_of(body.handle)
            acting.tell(acting.changed(Operation.FLAGS, node, os.fstat(body.handle), value=value))
        return [replies.control(0)]


def _moment(seconds: int, nanos: int) -> int:
    """Seconds are signed, whatever the protocol's struct says."""
    signed = seconds - (1 << 64) if seconds >> 63 else seconds
    return signed * SECOND + nanos


def _value(pin: Opened, name: bytes) -> bytes | None:
    with suppress(OSError):
        return os.getxattr(proc_path(pin.fd), name)
    return None


def _sized(value: bytes, size: int) -> bytes:
    """A value, or its length when that was asked for."""
    if not size:
        return replies.length(len(value))
    if len(value) > size:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
    return value
