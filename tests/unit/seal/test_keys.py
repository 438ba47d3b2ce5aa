"""Keys: sealing to the public half, passphrases, and the recovery key as text."""

from __future__ import annotations

import pytest

from knowngood.core.errors import Damaged, Locked, UsageError
from knowngood.seal.keys import PassphraseLock, PrivateKey, parse_recovery_text, recovery_text

PRIVATE = PrivateKey(bytes(range(32)))
SECRET = b"a secret of 32 bytes, to be sure"


def test_what_is_sealed_opens_for_its_purpose_only() -> None:
    sealed = PRIVATE.public.seal(SECRET, b"one purpose")
    assert PRIVATE.open(sealed, b"one purpose") == SECRET
    with pytest.raises(Damaged):
        PRIVATE.open(sealed, b"another purpose")


def test_another_key_does_not_open_it() -> None:
    sealed = PRIVATE.public.seal(SECRET, b"purpose")
    with pytest.raises(Damaged):
        PrivateKey.generate().open(sealed, b"purpose")


@pytest.mark.parametrize("at", [0, 500, 1087, 1088, 1119, 1120, 1167])
def test_a_flipped_bit_shows(at: int) -> None:
    sealed = bytearray(PRIVATE.public.seal(SECRET, b"purpose"))
    sealed[at] ^= 0x10
    with pytest.raises(Damaged):
        PRIVATE.open(bytes(sealed), b"purpose")


@pytest.mark.parametrize("length", [0, 1, 1119, 1120, 1135])
def test_a_cut_off_sealed_secret_shows(length: int) -> None:
    with pytest.raises(Damaged):
        PRIVATE.open(PRIVATE.public.seal(SECRET, b"purpose")[:length], b"purpose")


def test_sealing_twice_gives_different_bytes() -> None:
    assert PRIVATE.public.seal(SECRET, b"p") != PRIVATE.public.seal(SECRET, b"p")


def test_a_key_pair_follows_from_the_recovery_key() -> None:
    assert PrivateKey(bytes(range(32))).public == PRIVATE.public
    assert PrivateKey(bytes(32)).public != PRIVATE.public
    assert len(PRIVATE.public.raw) == 1184 + 32


def test_previous_keys_are_found_by_their_fingerprint() -> None:
    new, old = PrivateKey(b"n" * 32), PrivateKey(b"o" * 32)
    new.previous = (old,)
    assert new.having(old.public.fingerprint) is old
    assert new.having(new.public.fingerprint) is new
    with pytest.raises(Locked):
        new.having(PRIVATE.public.fingerprint)


# -------------------------------------------------------------------------------------------------------- passphrases


def cheap_lock(secret: bytes, passphrase: bytes) -> PassphraseLock:
    """A lock that opens at once."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    lock = PassphraseLock(bytes(16), b"", iterations=1, lanes=1, memory_kib=8)
    sealed = AESGCM(lock._stretch(passphrase)).encrypt(bytes(12), secret, b"knowngood")
    return PassphraseLock(lock.salt, sealed, iterations=1, lanes=1, memory_kib=8)


def test_a_passphrase_opens_its_lock() -> None:
    lock = cheap_lock(SECRET, b"right")
    assert lock.open(b"right") == SECRET
    with pytest.raises(Locked):
        lock.open(b"wrong")


def test_a_new_lock_takes_real_work_and_a_fresh_salt() -> None:
    lock = PassphraseLock.close(SECRET, b"right")
    assert lock.open(b"right") == SECRET
    assert (lock.iterations, lock.lanes, lock.memory_kib) == (3, 4, 256 * 1024)
    assert lock.salt != PassphraseLock.close(SECRET, b"right").salt


@pytest.mark.parametrize("work", [{"iterations": 65}, {"lanes": 65}, {"memory_kib": (4 << 20) + 1}], ids=str)
def test_a_lock_that_asks_for_absurd_work_is_refused(work: dict[str, int]) -> None:
    with pytest.raises(Damaged):
        PassphraseLock(bytes(16), bytes(48), **work).open(b"passphrase")


# ------------------------------------------------------------------------------------------------------- recovery key


def test_a_recovery_key_survives_being_written_down() -> None:
    text = recovery_text(SECRET)
    assert len(text) == 14 * 4 + 13
    assert parse_recovery_text(text) == SECRET
    assert parse_recovery_text(f"  {text.lower().replace('-', ' ')}\n") == SECRET


def test_digits_that_people_mistake_for_letters_are_forgiven() -> None:
    text = recovery_text(SECRET)
    mistaken = text.replace("O", "0").replace("I", "1").replace("B", "8")
    assert parse_recovery_text(mistaken) == SECRET


@pytest.mark.parametrize("text", ["", "abc", "A" * 56, "ü" * 56, "-" * 80])
def test_what_is_no_recovery_key_is_told(text: str) -> None:
    with pytest.raises(UsageError):
        parse_recovery_text(text)


def test_a_wrong_letter_is_found() -> None:
    text = recovery_text(SECRET)
    for at in range(0, len(text), 5):  # the first letter of every group, the check letters among them
        wrong = "A" if text[at] != "A" else "C"
        with pytest.raises(UsageError):
            parse_recovery_text(text[:at] + wrong + text[at + 1 :])
