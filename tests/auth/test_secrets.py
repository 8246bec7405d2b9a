from __future__ import annotations

import hashlib
import time

import pytest

from cardume.auth.secrets import (
    hash_key,
    hash_password,
    key_matches,
    new_key,
    verify_password,
)


def test_a_password() -> None:
    stored = hash_password("tropical fish")
    assert stored.startswith("scrypt$14$8$5$")
    assert "tropical" not in stored
    assert verify_password("tropical fish", stored)
    assert not verify_password("tropical fisH", stored)
    assert not verify_password("", stored)


def test_the_salt_differs() -> None:
    assert hash_password("a") != hash_password("a")


def test_both_spellings_of_an_accent() -> None:
    assert verify_password("se\u0301same", hash_password("s\u00e9same"))


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_a_password_that_is_none(password: str) -> None:
    with pytest.raises(ValueError, match="1024"):
        hash_password(password)


def test_nothing_is_cut_off() -> None:
    stored = hash_password("x" * 1024)
    assert verify_password("x" * 1024, stored)
    assert not verify_password("x" * 1025, stored)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "scrypt$14$8$5$AAAA",
        "scrypt$14$8$5$AAAA$",
        "scrypt$14$8$5$AAAA$AAAA",
        "scrypt$14$8$5$!!!!$" + "A" * 43 + "=",
        "scrypt$40$8$5$AAAA$" + "A" * 43 + "=",
        "scrypt$14$9999$5$AAAA$" + "A" * 43 + "=",
        "scrypt$0$0$0$AAAA$" + "A" * 43 + "=",
        "bcrypt$14$8$5$AAAA$" + "A" * 43 + "=",
        "scrypt$x$8$5$AAAA$" + "A" * 43 + "=",
        "scrypt$14$8$5$é$é",
    ],
)
def test_a_stored_text_that_is_none(stored: str | None) -> None:
    assert not verify_password("x", stored)


def test_an_unknown_user_costs_what_a_known_one_costs() -> None:
    stored = hash_password("x")

    def least(stored: str | None) -> float:
        spans = []
        for _ in range(3):
            started = time.process_time()
            verify_password("y", stored)
            spans.append(time.process_time() - started)
        return min(spans)

    assert 0.5 < least(None) / least(stored) < 2


def test_keys() -> None:
    keys = {new_key() for _ in range(500)}
    assert len(keys) == 500
    assert all(len(key) == 43 and key[0].isalnum() for key in keys)


def test_a_stored_key() -> None:
    key = new_key()
    stored = hash_key(key)
    assert stored == hashlib.sha256(key.encode()).hexdigest()
    assert key_matches(key, stored)
    for other in ("", key[:-1], key + "x", "é", "\ud800", stored):
        assert not key_matches(other, stored)
    assert not key_matches(key, "")
    assert not key_matches(key, "é")
