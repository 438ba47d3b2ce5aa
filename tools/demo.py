"""The main job, on real data, in front of your eyes: protect a service, destroy it, bring it back.

Everything happens in a temporary folder, with the real command line. `make demo` runs it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TERMINAL = sys.stdout.isatty()
KNOWNGOOD = str(Path(sys.executable).with_name("knowngood"))
BOLD, DIM, GREEN, RED, PLAIN = ("\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m") if TERMINAL else ("",) * 5


def say(text: str = "") -> None:
    """A line of the tale."""
    print(text, flush=True)


def chapter(title: str) -> None:
    """A heading."""
    say(f"\n{BOLD}── {title} {'─' * max(2, 74 - len(title))}{PLAIN}")


class Stage:
    """The folder in which it all happens, and the times it took."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shop = root / "srv" / "shop"
        self.environment = {**os.environ, "KNOWNGOOD_HOME": str(root / "home")}
        self.times: list[tuple[str, float]] = []

    def run(self, *words: str, note: str = "", show: int = 30) -> str:
        """Run a command as a user would, show it and the first lines of what it said. Returns all of it."""
        shown = " ".join(f"'{word}'" if " " in word or "*" in word else word for word in words)
        say(f"{GREEN}$ knowngood {shown.replace(str(self.root), '…')}{PLAIN}")
        began = time.perf_counter()
        done = subprocess.run([KNOWNGOOD, *words], env=self.environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        lines = (done.stdout + done.stderr).replace(str(self.root), "…").rstrip().splitlines()
        for line in lines[:show]:
            say(f"  {line}")
        if len(lines) > show:
            say(f"  {DIM}… {len(lines) - show} more lines{PLAIN}")
        if done.returncode:
            raise SystemExit(f"the command ended with status {done.returncode}")
        if note:
            self.times.append((note, seconds))
        return done.stdout

    def ask(self, *words: str) -> dict:
        """Run a command quietly and read its JSON, if it gave any."""
        words = (KNOWNGOOD, *words, "--json")
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        return json.loads(done.stdout or "{}")

    def versions(self, path: str) -> list[dict]:
        """What is known of a file of the shop, oldest first."""
        found = self.ask("history", "shop", path).get("versions", [])
        return [each for each in found if each["cause"] != "absent"]

    def wait_until(self, enough: Callable[[], bool]) -> None:
        """Ask again and again, for a minute."""
        until = time.monotonic() + 60
        while not enough():
            if time.monotonic() > until:
                raise SystemExit("what changed does not reach the vault")
            time.sleep(0.1)

    def follows(self) -> bool:
        """Whether changes of the shop are on their way into the vault."""
        followers = [each for service in self.ask("status").get("services", []) for each in service["followers"]]
        return any(each["behind"] is not None for each in followers)

    @contextmanager
    def keeper(self) -> Iterator[None]:
        """`knowngood up` while the block runs, from when it follows the shop."""
        say(f"{GREEN}$ knowngood up &{PLAIN}")
        keeper = subprocess.Popen([KNOWNGOOD, "up"], env=self.environment, stderr=subprocess.DEVNULL)
        try:
            self.wait_until(self.follows)
            yield
        finally:
            keeper.terminate()
            keeper.wait()


def build_shop(shop: Path) -> None:
    """A small web shop: a site (real source files), uploads (pictures and invoices), a database."""
    shop.mkdir(parents=True)
    source = sysconfig.get_path("stdlib")
    shutil.copytree(source, shop / "site", ignore=shutil.ignore_patterns("site-packages", "test", "__pycache__"))
    dice = random.Random(20261120)
    uploads = shop / "uploads"
    for customer in range(200):
        folder = uploads / f"customer-{customer:03d}"
        folder.mkdir(parents=True)
        for number in range(8):
            (folder / f"invoice-{number}.txt").write_text(f"invoice {customer}-{number}\n" * dice.randrange(20, 400))
        (folder / "photo.jpg").write_bytes(dice.randbytes(dice.randrange(50_000, 600_000)))
    with sqlite3.connect(shop / "orders.db") as database:
        database.execute("create table orders (id integer primary key, customer integer, amount real)")
        rows = [(dice.randrange(200), round(dice.random() * 500, 2)) for _ in range(20_000)]
        database.executemany("insert into orders (customer, amount) values (?, ?)", rows)
    database.close()


def fingerprint(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every path with its type, rights, time and a hash of its content."""
    found: dict[str, tuple[object, ...]] = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(place, name)
            state = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path.relative_to(folder))] = (state.st_mode, state.st_uid, state.st_mtime_ns, content)
    return found


def a_day_of_work(shop: Path) -> None:
    """Some files change, an order comes in."""
    for customer in range(0, 200, 10):
        with open(shop / "uploads" / f"customer-{customer:03d}" / "invoice-0.txt", "a") as file:
            file.write("paid, thank you\n")
    with sqlite3.connect(shop / "orders.db") as database:
        database.execute("insert into orders (customer, amount) values (7, 99.90)")
    database.close()


def disaster(shop: Path) -> None:
    """What people fear: half the files scrambled, a folder gone, the orders deleted, a note left behind."""
    dice = random.Random(13)
    for path in sorted((shop / "uploads").rglob("*.*"))[::2]:
        path.write_bytes(dice.randbytes(path.stat().st_size))
        path.rename(path.with_name(path.name + ".locked"))
    shutil.rmtree(shop / "site" / "json")
    (shop / "site" / "os.py").write_text("import this\n")
    with sqlite3.connect(shop / "orders.db") as database:
        database.execute("delete from orders where id % 2")
    database.close()
    (shop / "READ_ME_NOW.txt").write_text("your files are ours\n")


def main() -> None:
    """The tale."""
    root = Path(tempfile.mkdtemp(prefix="knowngood-demo-"))
    try:
        tell(Stage(root))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def tell(stage: Stage) -> None:
    """All chapters."""
    chapter("A web shop: its site, its uploads, its database")
    build_shop(stage.shop)
    files = sum(len(names) for _, _, names in os.walk(stage.shop))
    say(f"{files} files below …/srv/shop")
    protect_and_work(stage)
    good = fingerprint(stage.shop)
    destroy_and_look(stage)
    recover_and_compare(stage, good)
    no_point_at_hand(stage)
    verdict(fingerprint(stage.shop), good)
    lose_everything(stage, good)
    summary(stage)


def protect_and_work(stage: Stage) -> None:
    """Make a vault, protect, work a while, protect again."""
    chapter("Make a vault, say what the service is, protect it")
    kit = stage.ask("init", "--vault", str(stage.root / "vault"), "--no-passphrase")
    say(f"{GREEN}$ knowngood init --vault …/vault --no-passphrase{PLAIN}")
    say("  recovery key: " + kit["recovery_key"][:14] + "…  (a sheet of paper that brings everything back)")
    (stage.root / "kit").write_text(kit["recovery_key"])
    stage.run("service", "add", "shop", "--files", str(stage.shop))
    stage.run("protect", "shop", note="first protection")
    chapter("Work goes on; only what changed travels")
    a_day_of_work(stage.shop)
    stage.run("protect", "shop", "--name", "evening", note="protection after a day of work")


def destroy_and_look(stage: Stage) -> None:
    """The disaster, protected as well: history is not overwritten."""
    chapter("Disaster")
    disaster(stage.shop)
    say(f"{RED}800 files scrambled and renamed, site/json deleted, os.py overwritten, half of the orders gone{PLAIN}")
    stage.run("protect", "shop", note="protection of the ruins")
    say("The ruins are now a point, too. The points before them are as they were:")
    stage.run("points", "shop")
    stage.run("diff", "shop", "--from", "evening", show=6)


def recover_and_compare(stage: Stage, good: dict[str, tuple[object, ...]]) -> None:
    """One file at once, then the whole service in place."""
    chapter("One file is wanted at once")
    stage.run("recover", "shop", "--at", "evening", "--path", "site/os.py", "--yes", note="one file")
    chapter("Then the whole service, in place: first the plan, then the deed")
    stage.run("recover", "shop", "--at", "evening", "--delete", "--dry-run", show=6)
    stage.run("recover", "shop", "--at", "evening", "--delete", "--yes", note="whole service in place", show=0)
    verdict(fingerprint(stage.shop), good)


def no_point_at_hand(stage: Stage) -> None:
    """What changes between two points is followed: every version is there, and the file that was just deleted."""
    chapter("And between two points? `knowngood up` follows what changes")
    price = stage.shop / "price.txt"
    with stage.keeper():
        for text in ("19.90", "24.90", "0.01", ""):
            known = len(stage.versions("price.txt"))
            price.write_text(text + "\n") if text else price.unlink()
            stage.wait_until(lambda known=known: len(stage.versions("price.txt")) > known)
        say("price.txt was made, changed twice and deleted; nobody made a point:")
        stage.run("history", "shop", "price.txt")
        right = stage.versions("price.txt")[-3]["moment"]
        stage.run("undelete", "shop", "--path", "price.txt", "--yes", note="a file that was just deleted", show=5)
        say("The last price was a mistake. The one before it, by its moment:")
        stage.run("cat", "shop", "price.txt", "--at", right)
    price.unlink()


def verdict(now: dict[str, tuple[object, ...]], good: dict[str, tuple[object, ...]]) -> None:
    """Compare with what it was before the disaster."""
    wrong = [path for path in good.keys() | now.keys() if now.get(path) != good.get(path)]
    if wrong:
        raise SystemExit(f"{len(wrong)} paths differ, such as {sorted(wrong)[:3]}")
    say(f"{BOLD}{GREEN}  {len(good)} paths compared: every byte, right and time is as it was.{PLAIN}")


def lose_everything(stage: Stage, good: dict[str, tuple[object, ...]]) -> None:
    """The machine is gone: only the vault and the sheet of paper are left."""
    chapter("Worse: the machine is gone. Left are the vault and a sheet of paper")
    shutil.rmtree(stage.root / "home")
    shutil.rmtree(stage.shop)
    shutil.rmtree(stage.root / "vault" / "index")
    say("(the home folder, the service and even the vault's index are deleted)")
    stage.run(
        "init",
        "--vault",
        str(stage.root / "vault"),
        "--join",
        "--no-passphrase",
        "--recovery-key-file",
        str(stage.root / "kit"),
    )
    stage.run("vault", "rebuild", note="index and catalog rebuilt from the packs")
    stage.run("service", "adopt", "--all")
    stage.run("recover", "shop", "--at", "evening", "--yes", note="whole service from nothing", show=1)
    verdict(fingerprint(stage.shop), good)
    chapter("Is the vault sound?")
    stage.run("vault", "check", "--read-data", note="every byte of the vault read back")


def summary(stage: Stage) -> None:
    """What took how long."""
    chapter("Times")
    for note, seconds in stage.times:
        say(f"  {note:<44} {seconds:6.2f} s")
    vault = sum(path.stat().st_size for path in (stage.root / "vault").rglob("*") if path.is_file())
    reserve = sum(path.stat().st_size for path in (stage.root / "vault" / "reserve").rglob("*") if path.is_file())
    state = sum(path.stat().st_size for path in stage.shop.rglob("*") if path.is_file())
    say(f"  the service is {state / 2**20:.1f} MiB; all its points take {(vault - reserve) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
