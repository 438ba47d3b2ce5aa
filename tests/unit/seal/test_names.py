"""Names, labels and derivations: one key per use, and every byte counts."""

from __future__ import annotations

from knowngood.seal.names import Namer, derive

NAMER = Namer.from_secret(bytes(range(32)))


def test_every_use_has_a_key_of_its_own() -> None:
    keys = {NAMER.chunk_key, NAMER.page_key, NAMER.label_key, bytes(range(32))}
    assert len(keys) == 4
    assert derive(b"secret", "one") != derive(b"secret", "two")


def test_content_has_another_name_in_another_vault() -> None:
    other = Namer.from_secret(bytes(32))
    assert NAMER.chunk(b"content") != other.chunk(b"content")
    assert NAMER.label("a") != other.label("a")
    assert NAMER.seed != other.seed


def test_the_seed_fits_63_bits() -> None:
    assert all(0 <= Namer.from_secret(bytes([n]) * 32).seed < 1 << 63 for n in range(64))


def test_the_border_between_references_and_body_counts() -> None:
    ref = bytes(32)
    assert NAMER.page(ref, b"body") != NAMER.page(b"", ref + b"body")
    assert NAMER.page(b"", b"body") != NAMER.chunk(b"body")


def test_the_border_between_words_counts() -> None:
    assert NAMER.label("ab", "c") != NAMER.label("a", "bc")
    assert len(NAMER.label("host", "service")) == 16


def test_words_that_are_no_text_have_labels() -> None:
    assert NAMER.label("\udcff") != NAMER.label("\udcfe")


def test_views_have_the_names_of_their_bytes() -> None:
    assert NAMER.chunk(memoryview(b"xcontentx")[1:-1]) == NAMER.chunk(b"content")


def test_a_namer_does_not_show_its_keys() -> None:
    assert NAMER.chunk_key.hex() not in repr(NAMER)
    assert repr(NAMER.chunk_key) not in repr(NAMER)
