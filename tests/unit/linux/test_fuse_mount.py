"""Mounting, and what keeps it from happening; the threads that answer, and what they do with bad answers."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knowngood.core.errors import KnowngoodError, NotFound, Unsupported, UsageError
from knowngood.linux.fuse import mount as mount_module
from knowngood.linux.fuse.mount import Options, mount, prepare_folder
from knowngood.linux.fuse.server import Server
from knowngood.wire.fuse import replies
from knowngood.wire.fuse.bodies import Init
from knowngood.wire.fuse.opcodes import Opcode
from knowngood.wire.fuse.replies import Attributes, Reply
from knowngood.wire.fuse.requests import Request
from tests.leaks import nothing_left_behind
from tests.mounted import SECONDS, is_mounted, needs_fuse

__all__ = ["nothing_left_behind"]

# ------------------------------------------------------------------------------------------------------ the folder


def test_folders_that_do_not_serve(tmp_path: Path) -> None:
    """What is there must not be hidden; and something has to be there."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    prepare_folder(str(tmp_path / "empty"))
    with pytest.raises(NotFound) as missing:
        prepare_folder(str(tmp_path / "missing"))
    assert missing.value.hint == f"make it with: mkdir -p {tmp_path}/missing"
    for name in ("", "file"):
        with pytest.raises(UsageError):
            prepare_folder(str(tmp_path / name))


def test_a_machine_without_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next thing to do is named."""
    monkeypatch.setattr(mount_module, "DEVICE", str(tmp_path / "none"))
    with pytest.raises(Unsupported) as missing:
        mount(str(tmp_path), Options())
    assert "modprobe fuse" in missing.value.hint


# ------------------------------------------------------------------------------------------- for those not root


def _helper(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of the helper's name that does this."""
    program = folder / "fusermount3"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_without_a_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is needed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="needs root"):
        mount_module._helped_mount(str(tmp_path), Options())


def test_a_helper_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says is passed on."""
    _helper(tmp_path, "echo 'not allowed here' >&2; exit 1", monkeypatch)
    with pytest.raises(KnowngoodError, match="not allowed here") as refused:
        mount_module._helped_mount(str(tmp_path), Options(allow_other=True))
    assert "user_allow_other" in refused.value.hint


def test_a_helper_that_passes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no mount."""
    _helper(tmp_path, "exit 0", monkeypatch)
    with pytest.raises(KnowngoodError, match="passed no device"):
        mount_module._helped_mount(str(tmp_path), Options())


# ------------------------------------------------------------------------------------------------------ the server

ROOT = replies.attributes_reply(Attributes(1, 0, 0, 1, 2, 3, stat.S_IFDIR | 0o755, 2, 0, 0, 0), 0)


@contextmanager
def served(folder: Path, handle: Callable[[Request], Reply], failures: list[str]) -> Iterator[threading.Event]:
    """A file system that answers so; the event is set when it has ended."""
    ended = threading.Event()
    mounted = mount(str(folder), Options(max_read=4096))
    server = Server(
        mounted,
        handle,
        wanted=0,
        threads=2,
        max_read=4096,
        failed=lambda request, wrong: failures.append(f"{Opcode(request.opcode).name} {wrong}"),
        ended=ended.set,
    )
    server.start()
    try:
        yield ended
    finally:
        server.stop()


@pytest.mark.root
@needs_fuse
def test_bad_answers_fail_one_request(tmp_path: Path) -> None:
    """Whoever asked gets an error and does not wait; the next one is served."""
    failures: list[str] = []
    answers: list[Callable[[Request], Reply]] = []

    def handle(request: Request) -> Reply:
        if request.opcode != Opcode.GETATTR:
            raise OSError(errno.ENOSYS, "")
        return answers[-1](request)

    def refuse(_: Request) -> Reply:
        raise PermissionError(errno.EACCES, "")

    def stumble(_: Request) -> Reply:
        raise ValueError("a mistake of ours")

    with served(tmp_path, handle, failures) as ended:
        for answer, number in (
            (refuse, errno.EACCES),
            (stumble, errno.EIO),
            (lambda request: replies.reply(request.unique, b"too short"), errno.EIO),
        ):
            answers.append(answer)
            with pytest.raises(OSError, match=r".*") as failed:
                tmp_path.stat()
            assert failed.value.errno == number
        answers.append(lambda request: replies.reply(request.unique, ROOT))
        assert tmp_path.stat().st_mode == stat.S_IFDIR | 0o755
        assert failures == ["GETATTR a mistake of ours"]
        assert not ended.is_set()
        subprocess.run(["umount", tmp_path], check=True)
        assert ended.wait(SECONDS)
    assert not is_mounted(tmp_path)


@pytest.mark.root
@needs_fuse
def test_an_old_kernel_is_refused(tmp_path: Path) -> None:
    """Before anything is agreed on."""
    failures: list[str] = []
    mounted = mount(str(tmp_path), Options())
    server = Server(
        mounted,
        lambda request: replies.reply(request.unique),
        wanted=0,
        threads=1,
        max_read=4096,
        failed=lambda _, wrong: failures.append(str(wrong)),
        ended=lambda: None,
    )
    with pytest.raises(OSError, match="Protocol"):
        server._begin(Request(Opcode.INIT, 1, 0, 0, 0, 0, Init(7, 30, 0, 0)))
    assert failures == ["the kernel's FUSE is older than Linux 5.4"]
    server.start()
    server.stop()
    assert not is_mounted(tmp_path)
