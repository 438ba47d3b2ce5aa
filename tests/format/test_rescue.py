"""rescue.py on vaults that were just made: real trees, keys, mistakes, and what it is allowed to import."""

from __future__ import annotations

import ast
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.model import ComponentSpec, Point
from knowngood.core.ports import CaptureContext
from knowngood.core.progress import Progress
from knowngood.kinds.files.kind import FilesKind
from knowngood.seal.keys import recovery_text
from knowngood.testing.logs import SmallLog, records
from knowngood.testing.trees import differences, picture
from knowngood.tree.block import Content
from knowngood.vault import fold as folding
from tests.format.reference import input_bytes
from tests.format.rescuing import FILE, RESCUE, Bench, rescue
from tests.format.shapes import Shape
from tests.house.files import parsed

# ------------------------------------------------------------------------------------------------------- whole trees


def real_tree(top: Path) -> None:
    """A folder with one of everything."""
    (top / "a" / "b").mkdir(parents=True)
    (top / "big").write_bytes(input_bytes(3 << 20) + bytes(1 << 20))
    (top / "a" / "tiny").write_bytes(b"tiny")
    (top / "a" / "empty").touch()
    (top / "a" / "b" / "some").write_bytes(input_bytes(100_000))
    os.link(top / "a" / "b" / "some", top / "linked")
    os.symlink("a/b/some", top / "symlink")
    os.mkfifo(top / "pipe", 0o640)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(top / "socket"))
    with (top / "sparse").open("wb") as file:
        file.truncate(9 << 20)
        for at in (1 << 20, 5 << 20):
            file.seek(at)
            file.write(input_bytes(300_000))
    (top / "hole").touch()
    os.truncate(top / "hole", 3 << 20)
    with open(os.fsencode(top) + b"/no text \xff", "wb") as file:
        file.write(b"content")
    os.chmod(top / "a", 0o2751)
    os.utime(top / "a" / "b", ns=(1, 1_234_567_890_123_456_789))
    if os.geteuid() == 0:
        os.mknod(top / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.chown(top / "a" / "tiny", 1234, 5678)


def capture(bench: Bench, top: Path) -> Point:
    """A point of a real folder, as the program makes it."""
    small, state = bench.small, bench.folder / "state"
    state.mkdir()
    with small.vault.session("protect") as session:
        with small.vault.ingest(session, Progress()) as sink:
            context = CaptureContext(sink, str(state), frozenset(), Progress(), os.urandom(16))
            captured = FilesKind().checkpoint(ComponentSpec(name="c", kind="files", path=str(top)), context)
            sink.flush()
        assert captured.problems == []
        return small.commit(session, captured.root)


def test_a_real_folder_comes_back_exactly(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.folder)
    top = bench.folder / "top"
    real_tree(top)
    before = picture(top)
    point = capture(bench, top)
    done = bench.restore(point)
    assert (done.status, done.lost) == (0, [])
    assert differences(before, picture(bench.to / "c")) == []


def test_neither_index_nor_epochs_nor_sessions_are_needed(bench: Bench) -> None:
    point = bench.shapes(Shape(b"f", FILE, b"content", Content.CHUNK))
    for folder in ("index", "sessions", "epochs"):
        shutil.rmtree(bench.vault / folder, ignore_errors=True)
    assert bench.restore(point).status == 0
    assert (bench.to / "c" / "f").read_bytes() == b"content"


def test_latest_is_the_newest_that_has_not_expired(bench: Bench) -> None:
    bench.shapes(Shape(b"f", FILE, b"old", Content.CHUNK))
    new = bench.shapes(Shape(b"f", FILE, b"new", Content.CHUNK))
    assert bench.rescue("restore", "latest", "--to", bench.to).status == 0
    assert (bench.to / "c" / "f").read_bytes() == b"new"
    bench.small.expire(new, undo_ns=1 << 62)
    other = bench.folder / "other"
    assert bench.rescue("restore", "latest", "--to", other).status == 0
    assert (other / "c" / "f").read_bytes() == b"old"
    bench.small.undo(new)
    third = bench.folder / "third"
    assert bench.rescue("restore", "latest", "--to", third).status == 0
    assert (third / "c" / "f").read_bytes() == b"new"


def test_it_is_a_program_of_its_own(bench: Bench) -> None:
    """Run as the documentation says, with nothing of the project on the path."""
    point = bench.shapes(Shape(b"f", FILE, b"content", Content.CHUNK))
    command = [sys.executable, "-I", str(RESCUE), str(bench.vault), "--recovery-key-file", str(bench.key)]
    done = subprocess.run([*command, "list"], check=True, capture_output=True, text=True, cwd="/")
    assert done.stdout.startswith(point.id.hex())
    assert done.stderr == ""


def test_it_imports_nothing_of_the_project() -> None:
    found = {
        name.partition(".")[0]
        for node in ast.walk(parsed(RESCUE))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        + ([each.name for each in node.names] if isinstance(node, ast.Import) else [])
    }
    assert found - sys.stdlib_module_names <= {"backports", "blake3", "compression", "cryptography"}


# --------------------------------------------------------------------------------------------------------------- logs


def test_a_log_is_told_of_and_not_in_the_way(tmp_path: Path) -> None:
    """Points are restored beside it, and its segments are no loss."""
    bench = Bench(tmp_path)
    log = SmallLog(bench.small)
    log.write(records(random.Random(1), 0, 9, log.land([b"chunk"])))
    log.thin(0, 3)
    point = bench.shapes(Shape(b".", FILE, b"content", Content.INLINE))
    done = bench.restore(point)
    assert done.status == 0
    assert done.err.startswith("note: 1 segments of logs")
    assert (bench.to / "c").read_bytes() == b"content"
    assert bench.rescue("list").status == 0


def test_a_folded_log(tmp_path: Path) -> None:
    """It is told of as well."""
    bench = Bench(tmp_path)
    log = SmallLog(bench.small)
    for number in range(6):
        log.write(records(random.Random(number), 2 * number, 2, log.land([b"chunk"])))
    with patch.object(folding, "FOLD_FROM", 3):
        assert folding.fold(bench.small.vault, bench.small.catalog, Progress()).deleted == 5
    point = bench.shapes(Shape(b".", FILE, b"content", Content.INLINE))
    assert bench.restore(point).err.startswith("note: 2 segments of logs")


# -------------------------------------------------------------------------------------------------- keys and mistakes


def test_the_wrong_key_opens_nothing(bench: Bench) -> None:
    bench.shapes(Shape(b"f", FILE, b"content", Content.CHUNK))
    bench.key.write_text(recovery_text(bytes(32)) + "\n")
    done = bench.rescue("list")
    assert (done.status, done.out.strip()) == (3, "")
    assert "another key" in done.err
    bench.key.write_text("NOT A KEY\n")
    assert bench.rescue("list").status == 1
    assert rescue(bench.vault, "--passphrase-file", bench.key, "list").status == 1


@pytest.mark.parametrize("words", [["restore", "ffff"], ["restore", ""], ["destroy"], []], ids=str)
def test_mistakes_are_told(bench: Bench, words: list[str]) -> None:
    bench.shapes(Shape(b"f", FILE, b"1", Content.CHUNK))
    bench.shapes(Shape(b"f", FILE, b"2", Content.CHUNK))
    assert bench.rescue(*words).status in (1, 2)


def test_what_is_there_is_never_written_over(bench: Bench) -> None:
    point = bench.shapes(Shape(b"f", FILE, b"content", Content.CHUNK))
    (bench.to / "c").mkdir(parents=True)
    (bench.to / "c" / "f").write_bytes(b"mine")
    assert bench.restore(point).status == 1
    assert (bench.to / "c" / "f").read_bytes() == b"mine"


def test_one_component_can_be_chosen(bench: Bench) -> None:
    point = bench.shapes(Shape(b"f", FILE, b"content", Content.CHUNK), component="files")
    words = ("restore", point.id.hex(), "--to", bench.to, "--component")
    assert bench.rescue(*words, "others").status == 1
    assert bench.rescue(*words, "files").status == 0
    assert (bench.to / "files" / "f").read_bytes() == b"content"


def test_without_root_owners_stay_and_setuid_goes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Owners take root; a program that runs as its owner must not become one that runs as somebody else."""
    shape = Shape(b"suid", FILE | 0o6001, b"content", Content.CHUNK, xattrs=((b"trusted.secret", b"x"),))
    point = bench.shapes(shape)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = bench.restore(point)
    assert (done.status, done.lost) == (0, [])
    restored = os.stat(bench.to / "c" / "suid")
    assert stat.S_IMODE(restored.st_mode) == 0o645
    assert restored.st_uid == os.getuid()
    assert os.listxattr(bench.to / "c" / "suid") == []
