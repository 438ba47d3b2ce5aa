"""Names that come and go: made below, given to who asked for them, and told to the journal."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import Any

from knowngood.core.log import Form, Operation
from knowngood.kinds.files.attributes import flags_of, proc_path
from knowngood.kinds.files.capture.entries import row_of
from knowngood.kinds.files.journal.acting import VALID_NS, Acting, device_of
from knowngood.kinds.files.journal.entries import Draft
from knowngood.kinds.files.journal.nodes import Node, Opened
from knowngood.linux.beneath import EXCHANGE, open_beneath, rename_beneath
from knowngood.wire.fuse import replies
from knowngood.wire.fuse.bodies import Create, Link, MakeDirectory, MakeNode, Named, Rename, Symlink
from knowngood.wire.fuse.opcodes import ROOT_NODE
from knowngood.wire.fuse.requests import Request

_PIN = os.O_PATH | os.O_NOFOLLOW
_FIND = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
_MAKE = _FIND | os.O_CREAT | os.O_EXCL


class Names:
    """Answers requests about names."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting
        self._nodes = acting.nodes
        self._umask = -1  # of this process, if it was set here

    def lookup(self, request: Request, body: Named) -> list[bytes]:
        """What is under a name."""
        above = self._nodes[request.node]
        while True:
            version = above.version
            directory = self._nodes.directory(above)
            try:
                file = os.stat(body.name, dir_fd=directory.fd, follow_symlinks=False)
            except FileNotFoundError:
                return [replies.no_entry(VALID_NS)]
            with self._nodes.lock:
                if above.version == version:
                    return [self._acting.found(self._nodes.meet(above, body.name, file), file)]

    # ---------------------------------------------------------------------------------------------------- what is new

    def create(self, request: Request, body: Create) -> tuple[Node, os.stat_result, int, bool]:
        """A new file, open for reading and writing; or the one that is there: whether it is new comes last."""
        above, name = self._nodes[request.node], body.name
        directory = self._nodes.directory(above)
        with self._acting.change():
            self._mask(body.umask)
            try:
                fd = open_beneath(directory.fd, name, _MAKE, body.mode & 0o7777)
            except FileExistsError:
                if body.flags & os.O_EXCL:
                    raise
                return *self._existing(above, name, open_beneath(directory.fd, name, _FIND), body), False
            try:
                file = self._own(fd, directory, request)
            except BaseException:
                os.close(fd)
                raise
            return *self._new(above, name, fd, file, fd=fd), fd, True

    def _existing(self, above: Node, name: bytes, fd: int, body: Create) -> tuple[Node, os.stat_result, int]:
        file = os.fstat(fd)
        node = self._nodes.meet(above, name, file)
        if body.flags & os.O_TRUNC and file.st_size:
            os.ftruncate(fd, 0)
            file = os.fstat(fd)
            self._acting.tell(self._acting.changed(Operation.TRUNCATE, node, file))
        return node, file, fd

    def make_node(self, request: Request, body: MakeNode) -> list[bytes]:
        """MKNOD: a file, a pipe, a socket or a device."""
        above = self._nodes[request.node]
        directory = self._nodes.directory(above)
        with self._acting.change():
            self._mask(body.umask)
            os.mknod(body.name, body.mode, device_of(body.rdev), dir_fd=directory.fd)
            return self._made(request, above, body.name, directory)

    def make_directory(self, request: Request, body: MakeDirectory) -> list[bytes]:
        """MKDIR."""
        above = self._nodes[request.node]
        directory = self._nodes.directory(above)
        with self._acting.change():
            self._mask(body.umask)
            os.mkdir(body.name, body.mode & 0o7777, dir_fd=directory.fd)
            return self._made(request, above, body.name, directory)

    def symlink(self, request: Request, body: Symlink) -> list[bytes]:
        """SYMLINK."""
        above = self._nodes[request.node]
        directory = self._nodes.directory(above)
        with self._acting.change():
            os.symlink(body.target, body.name, dir_fd=directory.fd)
            return self._made(request, above, body.name, directory, body.target)

    def _made(self, request: Request, above: Node, name: bytes, directory: Opened, target: bytes = b"") -> list[bytes]:
        pin = Opened(open_beneath(directory.fd, name, _PIN))
        file = self._own(pin.fd, directory, request)
        return [self._acting.found(*self._new(above, name, pin.fd, file, target))]

    def _own(self, pin: int, directory: Opened, request: Request) -> os.stat_result:
        """Give it to who asked for it; to the directory's group where that is inherited."""
        file, gid = os.fstat(pin), request.gid
        if file.st_gid != gid and os.fstat(directory.fd).st_mode & stat.S_ISGID:
            gid = file.st_gid
        if (file.st_uid, file.st_gid) == (request.uid, gid):
            return file
        os.chown(proc_path(pin), request.uid, gid)
        now = os.fstat(pin)
        if now.st_mode != file.st_mode and not stat.S_ISLNK(file.st_mode):
            os.chmod(proc_path(pin), stat.S_IMODE(file.st_mode))  # a change of owner takes some bits away
            now = os.fstat(pin)
        return now

    def _mask(self, umask: int) -> None:
        """Take on the umask of who asks: the file system below knows where a default ACL counts instead. It is one for
        all threads; things are made one after the other."""
        if umask != self._umask:
            os.umask(umask)
            self._umask = umask

    def _new(
        self, above: Node, name: bytes, pin: int, file: os.stat_result, target: bytes = b"", fd: int = -1
    ) -> tuple[Node, os.stat_result]:
        acting = self._acting
        above.version += 1
        node = self._nodes.meet(above, name, file)
        key = self._nodes.key_in(above, name)
        special = stat.S_ISCHR(file.st_mode) or stat.S_ISBLK(file.st_mode)
        form = Form.BYTES if target else Form.NONE
        value = file.st_rdev if special else 0
        told = {"form": form, "length": len(target), "value": value, "data": target}
        created = acting.changed(Operation.CREATE, node, file, **told)
        carried = acting.carried(pin if fd < 0 else fd, key, file, opened=fd >= 0)
        flags = self._flags(pin, fd, file) if key is not None else 0
        if flags:
            carried.append(acting.changed(Operation.FLAGS, node, file, value=flags))
        acting.tell(created, *carried, acting.touched(above), acting.tagged(above, name))
        return node, file

    @staticmethod
    def _flags(pin: int, fd: int, file: os.stat_result) -> int:
        """File flags that something new got from its directory."""
        if not (stat.S_ISREG(file.st_mode) or stat.S_ISDIR(file.st_mode)):
            return 0
        with suppress(OSError):
            if fd >= 0:
                return flags_of(fd)
            fd = os.open(proc_path(pin), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return flags_of(fd)
            finally:
                os.close(fd)
        return 0

    def link(self, request: Request, body: Link) -> list[bytes]:
        """LINK: one more name."""
        above, node, acting = self._nodes[request.node], self._nodes[body.node], self._acting
        directory = self._nodes.directory(above)
        with acting.change():
            old = self._nodes.key(node)
            pin = self._nodes.pinned(node)
            os.link(proc_path(pin.fd), body.name, dst_dir_fd=directory.fd, follow_symlinks=True)
            file = os.fstat(pin.fd)
            above.version += 1
            node = self._nodes.meet(above, body.name, file)
            node.ctime_ns = file.st_ctime_ns
            key = self._nodes.key_in(above, body.name)
            if old is None and key is not None:
                told = acting.vague(key)
            else:
                told = acting.entry(Operation.LINK, key, second=old or b"", row=row_of(file))
            acting.tell(told, acting.touched(above), acting.tagged(above, body.name))
            return [acting.found(node, file)]

    # --------------------------------------------------------------------------------------------------- what goes

    def unlink(self, request: Request, body: Named) -> list[bytes]:
        """UNLINK: a name goes."""
        above, acting = self._nodes[request.node], self._acting
        directory = self._nodes.directory(above)
        with acting.change():
            file = os.stat(body.name, dir_fd=directory.fd, follow_symlinks=False)
            key = self._nodes.key_in(above, body.name)
            os.unlink(body.name, dir_fd=directory.fd)
            told = [acting.entry(Operation.UNLINK, key, value=file.st_mode), *self._unnamed(above, body.name, file)]
            acting.tell(*told, acting.touched(above), acting.tagged(above, body.name))
        return []

    def remove_directory(self, request: Request, body: Named) -> list[bytes]:
        """RMDIR."""
        above, acting = self._nodes[request.node], self._acting
        directory = self._nodes.directory(above)
        with acting.change():
            key = self._nodes.key_in(above, body.name)
            node = self._nodes.named(above, body.name)
            os.rmdir(body.name, dir_fd=directory.fd)
            self._nodes.unbind(above, body.name)
            if node is not None:
                self._nodes.bury(node)
            gone = acting.entry(Operation.UNLINK, key, value=stat.S_IFDIR)
            acting.tell(acting.vague(key) if node is not None and node.outside else gone, acting.touched(above))
        return []

    def _unnamed(self, above: Node, name: bytes, file: os.stat_result) -> list[Draft | None]:
        """A name of a file has gone: what it means for those that it has left."""
        node = self._nodes.unbind(above, name)
        if node is None:
            return []
        if file.st_nlink <= 1:
            self._nodes.bury(node)
            return []
        with suppress(OSError):
            return [self._acting.changed(Operation.TIMES, node, self._nodes.stat(node))]
        return []

    def rename(self, request: Request, body: Rename) -> list[bytes]:
        """RENAME2: also over what is there, or in exchange for it."""
        above, below, acting, nodes = self._nodes[request.node], self._nodes[body.directory], self._acting, self._nodes
        source, target = nodes.directory(above), nodes.directory(below)
        with acting.change():
            old, new = nodes.key_in(above, body.name), nodes.key_in(below, body.new_name)
            there = None
            with suppress(FileNotFoundError):
                there = os.stat(body.new_name, dir_fd=target.fd, follow_symlinks=False)
            rename_beneath(source.fd, body.name, target.fd, body.new_name, body.flags)
            told: list[Draft | None] = []
            if body.flags & EXCHANGE:
                one, other = nodes.unbind(above, body.name), nodes.unbind(below, body.new_name)
                nodes.bind(above, body.name, other)
                nodes.bind(below, body.new_name, one)
            else:
                if there is not None:
                    told = self._replaced(below, body.new_name, there)
                one = nodes.unbind(above, body.name)
                nodes.bind(below, body.new_name, one)
            told = [*self._moved(old, new, body, target), *told]
            if body.flags & EXCHANGE and old is not None and new is not None:
                other_file = os.stat(body.name, dir_fd=source.fd, follow_symlinks=False)
                told.append(acting.entry(Operation.TIMES, old, row=row_of(other_file)))
            told += [acting.touched(above), acting.touched(below) if below is not above else None]
            acting.tell(*told, acting.tagged(above, body.name), acting.tagged(below, body.new_name))
        return []

    def _replaced(self, above: Node, name: bytes, file: os.stat_result) -> list[Draft | None]:
        if stat.S_ISDIR(file.st_mode):
            node = self._nodes.unbind(above, name)
            if node is not None:
                self._nodes.bury(node)
            return []
        return self._unnamed(above, name, file)

    def _moved(self, old: bytes | None, new: bytes | None, body: Rename, target: Opened) -> list[Draft | None]:
        acting = self._acting
        if old is None or new is None:  # to or from what does not belong to the component
            return [acting.vague(old), acting.vague(new)]
        file = os.stat(body.new_name, dir_fd=target.fd, follow_symlinks=False)
        node = self._nodes.named(self._nodes[body.directory], body.new_name)
        if node is not None:
            node.ctime_ns = file.st_ctime_ns
        value = 1 if body.flags & EXCHANGE else 0
        return [acting.entry(Operation.RENAME, old, second=new, row=row_of(file), value=value)]

    def read_link(self, request: Request, _: Any) -> list[bytes]:
        """READLINK."""
        directory, name = self._nodes.place(self._nodes[request.node])
        return [os.readlink(name, dir_fd=directory.fd)]

    def forget(self, request: Request, body: Any) -> list[bytes]:
        """FORGET."""
        self._nodes.forget(request.node, body.lookups)
        return []

    def batch_forget(self, _: Request, body: Any) -> list[bytes]:
        """BATCH_FORGET."""
        for number, lookups in body.nodes:
            if number != ROOT_NODE:
                self._nodes.forget(number, lookups)
        return []
