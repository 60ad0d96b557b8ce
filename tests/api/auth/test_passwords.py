"""Password rules and hashing."""

import asyncio

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from api.auth import passwords
from api.auth.passwords import Hashing


def verified(password: str, stored: str | None) -> tuple[bool, str | None]:
    async def ask() -> tuple[bool, str | None]:
        hashing = Hashing()
        try:
            return await hashing.verify(password, stored)
        finally:
            hashing.close()

    return asyncio.run(ask())


def hashed(password: str) -> str:
    async def ask() -> str:
        hashing = Hashing()
        try:
            return await hashing.hash(password)
        finally:
            hashing.close()

    return asyncio.run(ask())


def test_hashes_are_argon2id_and_exceed_the_owasp_minimum() -> None:
    stored = hashed("seven quiet otters")
    assert stored.startswith("$argon2id$v=19$m=47104,t=2,p=1$")
    assert stored != hashed("seven quiet otters")
    assert verified("seven quiet otters", stored) == (True, None)
    assert verified("Seven quiet otters", stored) == (False, None)


def test_no_password_verifies_against_an_account_without_one() -> None:
    assert verified("nobody has this password", None) == (False, None)
    assert verified("", None) == (False, None)


@pytest.mark.parametrize("stored", ["", "x", "$2b$12$abc", "$argon2id$broken"])
def test_a_malformed_hash_verifies_no_password(stored: str) -> None:
    assert verified("seven quiet otters", stored)[0] is False


def test_a_weaker_hash_is_upgraded() -> None:
    weak = Argon2Hasher(memory_cost=8_192, time_cost=1, parallelism=1).hash("seven quiet otters")
    is_right, better = verified("seven quiet otters", weak)
    assert is_right
    assert better is not None
    assert verified("seven quiet otters", better) == (True, None)
    assert verified("wrong", weak) == (False, None)


def test_unicode_normalization_forms_are_the_same_password() -> None:
    assert verified("Cafe\u0301 au lait", hashed("Caf\u00e9 au lait"))[0]


def test_lone_surrogates_can_be_hashed() -> None:
    assert verified("lone \ud800 surrogate", hashed("lone \ud800 surrogate"))[0]


@pytest.mark.parametrize("password", ["12345678", "PASSWORD1", "iloveyou", "trustno1", "football"])
def test_the_most_common_passwords_are_refused_in_any_case(password: str) -> None:
    assert "most common" in (passwords.problem_with(password, "ada@example.com") or "")


def test_the_list_of_common_passwords_is_complete() -> None:
    common = passwords._common_passwords()
    assert len(common) == 10_000
    assert all(len(one) >= passwords.LENGTH_MIN for one in common)


@pytest.mark.parametrize(
    "password", ["seven quiet otters", "x7#kQ!2p", "aaaa bbbb cccc", "ünïcödé-pass", "p" * 100 + "qrst"]
)
def test_digits_and_symbols_are_not_required(password: str) -> None:
    assert passwords.problem_with(password, "ada@example.com") is None
