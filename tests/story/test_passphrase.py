"""A vault under a passphrase: protecting asks for nothing, reading does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from knowngood.testing.trees import Picture, picture
from tests.story.shop import assert_same, build_shop, ruin
from tests.user import Answer, User


@dataclass(frozen=True)
class Tale:
    """What the tests below begin with: two points, the key of the kit, and the picture of the first point."""

    user: User
    shop: Path
    good: Picture
    first: str
    second: str
    key: Path

    def reads(self, *words: str | Path, status: int = 0) -> Answer:
        """A command that needs the private key, with the key of the kit (a passphrase takes long, on purpose)."""
        return self.user.does(*words, "--recovery-key-file", self.key, status=status)


@pytest.fixture(scope="module")
def tale(tmp_path_factory: pytest.TempPathFactory) -> Tale:
    """Made once; every test leaves the points and the shop as they are."""
    folder = tmp_path_factory.mktemp("passphrase")
    user, shop = User(folder), build_shop(folder / "shop")
    (folder / "right").write_text("correct horse battery staple\nand more\n")
    (folder / "wrong").write_text("Tr0ub4dor&3\n")
    kit = user.asks("init", "--vault", user.vault, "--passphrase-file", folder / "right")
    (folder / "kit").write_text(kit["recovery_key"].lower().replace("-", " "))
    good = picture(shop)
    user.does("service", "add", "shop", "--files", shop / "uploads", "--files", shop / "site", "--files", shop)
    user.does("service", "remove", "shop", "--component", "uploads", "--component", "site")
    first = user.protects("shop", "--name", "first")["id"]
    ruin(shop)
    second = user.protects()["id"]
    return Tale(user, shop, good, first, second, folder / "kit")


def test_the_home_cannot_read(tale: Tale) -> None:
    """Only the writer's key is in it. Points are listed from what the home knows by itself."""
    assert [each.name for each in (tale.user.home / "keys").iterdir()] == ["writer.key"]
    assert tale.user.points() == [tale.second, tale.first]


def test_wrong_passphrase(tale: Tale) -> None:
    """Status 5, and what else would open it."""
    answer = tale.user.does("cat", "shop", "site/index.html", "--passphrase-file", tale.user.folder / "wrong", status=5)
    assert answer.raw == b""
    assert "passphrase is wrong" in answer.err
    assert "--recovery-key-file" in answer.next


def test_no_passphrase(tale: Tale) -> None:
    """With nobody to ask, the command says how to give it."""
    answer = tale.user.types("ls", "shop", status=5)
    assert "--passphrase-file" in answer.next
    error = tale.user.does("recover", "shop", "--to", tale.user.folder / "no", "--json", status=5).error
    assert (error["code"], error["exit_status"], error["retry"]) == ("locked", 5, "never")
    assert not (tale.user.folder / "no").exists()


@pytest.mark.parametrize("text", ["", "not a key", "AAAA-BBBB-CCCC"])
def test_a_key_that_is_none(text: str, tale: Tale, tmp_path: Path) -> None:
    """A misread letter is told from a key of another vault."""
    (tmp_path / "key").write_text(text)
    answer = tale.user.does("ls", "shop", "--recovery-key-file", tmp_path / "key", status=2)
    assert answer.next == "compare it with the kit"


def test_key_of_another_vault(tale: Tale, tmp_path: Path) -> None:
    """Well formed, and of no use here."""
    other = User(tmp_path)
    kit = other.asks("init", "--vault", other.vault, "--no-passphrase")
    (tmp_path / "key").write_text(kit["recovery_key"])
    answer = tale.user.does("ls", "shop", "--recovery-key-file", tmp_path / "key", status=5)
    assert "does not belong to this vault" in answer.err


def test_right_passphrase_by_option_and_by_environment(tale: Tale, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first line counts."""
    right = str(tale.user.folder / "right")
    read = tale.user.does("cat", "shop", "site/index.html", "--at", "first", "--passphrase-file", right)
    assert read.raw == b"<h1>Shop</h1>\n"
    environment = tale.user.environment
    monkeypatch.setattr(tale.user, "environment", lambda: {**environment(), "KNOWNGOOD_PASSPHRASE_FILE": right})
    assert tale.user.types("cat", "shop", "site/index.html").raw == b"<h1>hacked</h1>\n"


# ------------------------------------------------------------------------------------------------------------ looking


def test_ls(tale: Tale) -> None:
    """A folder, all below it, one file; links say where they lead, folders end in a slash."""
    top = tale.reads("ls", "shop", "--at", "first").out.splitlines()
    assert [line.rpartition("  ")[2] for line in top] == ["empty/", "site/", "strange/", "uploads/"]
    below = tale.reads("ls", "shop", "-r", "--at", "first").out
    assert "strange/dangling -> /nowhere/at all" in below
    assert "uploads/2026/invoice-19.txt" in below
    assert len(below.splitlines()) == len(tale.good) - 1  # the root does not list itself
    one = tale.reads("ls", "shop", tale.shop / "site" / "run.sh", "--at", "first").out
    assert one.startswith("-rwxr-x---")


def test_ls_json_tells_names_that_are_not_text(tale: Tale) -> None:
    """Their bytes are given in hex."""
    entries = tale.reads("ls", "shop", "strange", "--at", "first", "--json").json["entries"]
    odd = next(each for each in entries if each["path_hex"])
    assert bytes.fromhex(odd["path_hex"]) == b"strange/not utf-8 \xff\xfe"
    link = next(each for each in entries if each["path"] == "strange/current")
    assert (link["type"], link["target"]) == ("symlink", "../site/index.html")


def test_ls_of_what_is_not_there(tale: Tale) -> None:
    """Status 4."""
    tale.reads("ls", "shop", "sites", status=4)
    tale.reads("ls", "shop", "--component", "sites", status=4)


def test_find(tale: Tale) -> None:
    """By name, or by path when the pattern has a slash."""
    by_name = tale.reads("find", "shop", "invoice-0[0-4].txt", "--at", "first", "--json").json["entries"]
    assert [each["path"] for each in by_name] == [f"uploads/2026/invoice-{number:02d}.txt" for number in range(5)]
    by_path = tale.reads("find", "shop", "site/*.html", "--at", "first", "--json").json["entries"]
    assert [each["path"] for each in by_path] == ["site/index.html"]
    assert tale.reads("find", "shop", "invoice*").out == ""


def test_cat(tale: Tale) -> None:
    """The very bytes: of a large file, of one with holes, of one with an odd name."""
    film = tale.reads("cat", "shop", "uploads/film.mp4", "--at", "first").raw
    now = (tale.shop / "uploads" / "film.mp4").read_bytes()
    assert len(film) == len(now)
    assert film != now
    assert film[: 3 << 20] == now[: 3 << 20]
    sparse = tale.reads("cat", "shop", "strange/sparse.img", "--at", "first").raw
    assert len(sparse) == 64 << 20
    assert sparse[: 10 << 20] == (tale.shop / "strange" / "sparse.img").read_bytes()
    assert tale.reads("cat", "shop", "strange/-rf", "--at", "first").raw == b"named -rf"


@pytest.mark.parametrize(("path", "status"), [("site", 2), ("strange/current", 2), ("site/nothing", 4)])
def test_cat_of_what_has_no_bytes(path: str, status: int, tale: Tale) -> None:
    """Folders and links are no files; what is not there is not found."""
    answer = tale.reads("cat", "shop", path, "--at", "first", status=status)
    assert answer.raw == b""
    assert answer.next


def test_diff(tale: Tale) -> None:
    """Without a word about which, the newest point with the one before it."""
    changes = tale.reads("diff", "shop", "--json").json["changes"]
    by_path = {(each["after"] or each["before"])["path"]: each["what"] for each in changes}
    assert by_path["READ_ME_NOW.txt"] == "added"
    assert by_path["uploads/2026/invoice-03.txt"] == "removed"
    assert by_path["uploads/film.mp4"] == "content"  # although its size and time are the same
    assert by_path["site/run.sh"] == "attributes"
    assert "uploads/photo.jpg" not in by_path
    lines = tale.reads("diff", "shop", "--from", tale.first, "--to", tale.second, "--quiet").out.splitlines()
    assert len(lines) == len(changes)
    assert "+ READ_ME_NOW.txt  (20 B)" in lines
    assert tale.reads("diff", "shop", "--from", "first", "--to", "first", "--quiet").out == ""


def test_diff_of_the_first_point(tale: Tale) -> None:
    """There is none before it."""
    assert "knowngood points shop" in tale.reads("diff", "shop", "--to", "first", status=4).next


def test_history(tale: Tale) -> None:
    """A point is named when the path changed, and when it was gone."""
    versions = tale.reads("history", "shop", "site/index.html", "--json").json["versions"]
    assert [each["entry"]["size"] for each in versions] == [14, 16]
    gone = tale.reads("history", "shop", "uploads/2026/invoice-03.txt", "--json").json["versions"]
    assert [each["entry"] and each["entry"]["size"] for each in gone] == [90, None]
    came = tale.reads("history", "shop", "READ_ME_NOW.txt").out.splitlines()
    assert "not there" in came[1]
    assert "20 B" in came[2]
    same = tale.reads("history", "shop", "uploads/photo.jpg", "--json").json["versions"]
    assert [each["point"] for each in same] == [tale.first]
    tale.reads("history", "shop", "never/there", status=4)


# --------------------------------------------------------------------------------------------------------- recovering


def test_recover_elsewhere(tale: Tale, tmp_path: Path) -> None:
    """Into a new folder, a folder below it for the component; or straight into it when one component is named."""
    tale.reads("recover", "shop", "--at", "first", "--to", tmp_path / "all")
    assert_same(tmp_path / "all" / "shop", tale.good)
    tale.reads("recover", "shop", "--at", "first", "--component", "shop", "--to", tmp_path / "one")
    assert_same(tmp_path / "one", tale.good)


def test_recover_paths_and_patterns(tale: Tale, tmp_path: Path) -> None:
    """Exact paths, absolute or below the component; patterns; the folders above come along."""
    words = ("recover", "shop", "--at", "first", "--to", tmp_path, "--path")
    tale.reads(*words, "site/run.sh", "--path", tale.shop / "uploads" / "photo.jpg")
    tale.reads(*words, "invoice-1*.txt")
    now = picture(tmp_path / "shop")
    files = {path for path, seen in now.items() if seen.kind == "file"}
    invoices = {f"uploads/2026/invoice-1{number}.txt".encode() for number in range(10)}
    assert files == {b"site/run.sh", b"uploads/photo.jpg"} | invoices
    for path in files - {b"uploads/photo.jpg"}:  # which has but one of its two names here
        assert now[path] == tale.good[path]


def test_recover_a_path_that_was_not_there(tale: Tale, tmp_path: Path) -> None:
    """Nothing is written for a typing error."""
    answer = tale.reads("recover", "shop", "--to", tmp_path / "out", "--path", "site/idnex.html", status=4)
    assert answer.next
    assert not (tmp_path / "out").exists()


def test_recover_delete_goes_with_whole_components(tale: Tale) -> None:
    """Else a typing error in a path would delete everything but it."""
    answer = tale.reads("recover", "shop", "--delete", "--path", "site", status=2)
    assert answer.next == "leave one of the two out"


def test_recover_into_a_folder_in_use(tale: Tale, tmp_path: Path) -> None:
    """What is extra stays, or goes with --delete; what is the same is left alone."""
    tale.reads("recover", "shop", "--at", "first", "-c", "shop", "--to", tmp_path / "out")
    ruin(tmp_path / "out")
    tale.reads("recover", "shop", "--at", "first", "-c", "shop", "--to", tmp_path / "out")
    assert (tmp_path / "out" / "READ_ME_NOW.txt").exists()
    tale.reads("recover", "shop", "--at", "first", "-c", "shop", "--to", tmp_path / "out", "--delete")
    assert_same(tmp_path / "out", tale.good)


def test_dry_run_writes_nothing(tale: Tale, tmp_path: Path) -> None:
    """Neither in place nor elsewhere; the plan says what would be done."""
    before = picture(tale.shop)
    document = tale.reads("recover", "shop", "--at", "first", "--delete", "--dry-run", "--json").json
    plan = document["plans"][0]
    assert (document["dry_run"], plan["delete"], plan["target"]) == (True, 1, str(tale.shop))
    assert {each["what"] for each in plan["samples"]} >= {"delete", "rewrite", "attributes"}
    assert_same(tale.shop, before)
    tale.reads("recover", "shop", "--to", tmp_path / "out", "--dry-run")
    assert not (tmp_path / "out").exists()
