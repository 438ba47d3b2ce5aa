"""A key file made anew: what it is made of is proven, and nothing forged gets in."""

from __future__ import annotations

import random

import pytest

from knowngood.core.errors import Damaged, Exists, Locked
from knowngood.core.ids import new_id
from knowngood.seal.keys import PrivateKey
from knowngood.testing.logs import SmallLog, records
from knowngood.testing.vaults import SmallVault
from knowngood.vault.descriptor import read_key_files
from knowngood.vault.layout import KEYS, PAGES, commit_key
from knowngood.vault.record import Commit, Hidden, encode_commit
from knowngood.vault.restore import plan_restore, restore_key_file
from knowngood.vault.unlock import unlock_with_passphrase, writer_key
from knowngood.vault.vault import WriterKey


def _lose_keys(small: SmallVault) -> None:
    for each in list(small.store.list(KEYS)):
        small.store.delete(each.key)


def _forge(small: SmallVault, naming: bytes) -> None:
    """A commit by somebody who has the public key and the store, and not the naming secret."""
    commit = Commit(new_id(), 0, 1, ())
    data = encode_commit(commit, Hidden(naming=naming), small.vault.writer.public, small.vault.id)
    small.store.put(commit_key(commit.session, 0), [data])


def test_from_the_recovery_key_alone(small: SmallVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """As good as the one that was lost."""
    monkeypatch.setattr("knowngood.seal.keys.PassphraseLock.__init__.__defaults__", (1, 1, 64))
    point = small.protect({b"f": b"content"})
    _lose_keys(small)
    plan = plan_restore(small.store, PrivateKey(small.private.recovery_key), None)
    assert (plan.naming, plan.naming_from, plan.shut) == (small.vault.writer.naming, "commits", {})
    restore_key_file(small.store, plan, b"secret")
    private = unlock_with_passphrase(small.store, b"secret")
    assert writer_key(small.store, private) == small.vault.writer
    assert small.recover(point) == {b"f": b"content"}


def test_a_readable_key_file_is_left_alone(small: SmallVault) -> None:
    """It may know more than what is at hand."""
    small.protect({b"f": b"content"})
    with pytest.raises(Exists):
        plan_restore(small.store, small.private, small.vault.writer)


def test_forged_commits_decide_nothing(small: SmallVault) -> None:
    """Neither beside true ones, nor alone where pages contradict them."""
    small.protect({b"f": b"content"})
    _lose_keys(small)
    _forge(small, bytes(32))
    with pytest.raises(Damaged, match="disagree"):
        plan_restore(small.store, small.private, None)
    assert plan_restore(small.store, small.private, small.vault.writer).naming == small.vault.writer.naming


def test_a_secret_that_does_not_fit_the_pages(small: SmallVault) -> None:
    """Whoever says it."""
    small.protect({b"f": b"content"})
    _lose_keys(small)
    wrong = WriterKey(small.vault.id, small.vault.writer.public, bytes(32))
    with pytest.raises(Damaged, match="does not fit"):
        plan_restore(small.store, small.private, wrong)
    assert read_key_files(small.store) == []


def test_an_empty_vault(small: SmallVault) -> None:
    """A home that knows it is enough, and a key alone is not."""
    _lose_keys(small)
    with pytest.raises(Locked, match="nothing in this vault"):
        plan_restore(small.store, small.private, None)
    with pytest.raises(Locked, match="nothing in this vault"):
        plan_restore(small.store, PrivateKey.generate(), small.vault.writer)
    restore_key_file(small.store, plan_restore(small.store, small.private, small.vault.writer), None)
    assert writer_key(small.store, small.private) == small.vault.writer


def test_only_commits_are_left(small: SmallVault) -> None:
    """Nothing to prove the secret with, and nothing that it could harm."""
    small.protect({b"f": b"content"})
    _lose_keys(small)
    for each in list(small.store.list(PAGES)):
        small.store.delete(each.key)
    assert plan_restore(small.store, small.private, None).naming == small.vault.writer.naming


def test_a_log_proves_the_naming_secret_as_well(small: SmallVault, some: random.Random) -> None:
    """Where it is all that there is; and what its segments are sealed to counts like packs."""
    log = SmallLog(small)
    log.write(records(some, 0, 3))
    _lose_keys(small)
    assert plan_restore(small.store, small.private, small.vault.writer).shut == {}
    _forge(small, bytes(32))
    with pytest.raises(Damaged, match="does not fit"):
        plan_restore(small.store, small.private, None)
    rotated = PrivateKey.generate()
    writer = WriterKey(small.vault.id, rotated.public, small.vault.writer.naming)
    assert plan_restore(small.store, rotated, writer).shut == {small.private.public.fingerprint: 1}
