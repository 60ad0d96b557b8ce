"""Which passwords are taken, and how they are kept."""

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


def test_hashes_are_argon2id_with_more_work_than_owasp_asks_for() -> None:
    stored = hashed("seven quiet otters")
    assert stored.startswith("$argon2id$v=19$m=47104,t=2,p=1$")
    assert stored != hashed("seven quiet otters")
    assert verified("seven quiet otters", stored) == (True, None)
    assert verified("Seven quiet otters", stored) == (False, None)


def test_nobody_has_a_password_that_was_never_set() -> None:
    assert verified("nobody has this password", None) == (False, None)
    assert verified("", None) == (False, None)


@pytest.mark.parametrize("stored", ["", "x", "$2b$12$abc", "$argon2id$broken"])
def test_a_broken_hash_is_a_wrong_password(stored: str) -> None:
    assert verified("seven quiet otters", stored)[0] is False


def test_a_weaker_hash_is_made_anew() -> None:
    weak = Argon2Hasher(memory_cost=8_192, time_cost=1, parallelism=1).hash("seven quiet otters")
    is_right, better = verified("seven quiet otters", weak)
    assert is_right
    assert better is not None
    assert verified("seven quiet otters", better) == (True, None)
    assert verified("wrong", weak) == (False, None)


def test_two_keyboards_spellings_of_one_character_are_one_password() -> None:
    assert verified("Cafe\u0301 au lait", hashed("Caf\u00e9 au lait"))[0]


def test_what_is_no_text_can_still_be_hashed() -> None:
    assert verified("lone \ud800 surrogate", hashed("lone \ud800 surrogate"))[0]


@pytest.mark.parametrize("password", ["12345678", "PASSWORD1", "iloveyou", "trustno1", "football"])
def test_the_most_common_passwords_are_refused_in_any_case(password: str) -> None:
    assert "most common" in (passwords.problem_with(password, "ada@example.com") or "")


def test_the_list_of_common_passwords_is_whole() -> None:
    common = passwords._common_passwords()
    assert len(common) == 10_000
    assert all(len(one) >= passwords.LENGTH_MIN for one in common)


@pytest.mark.parametrize(
    "password", ["seven quiet otters", "x7#kQ!2p", "aaaa bbbb cccc", "ünïcödé-pass", "p" * 100 + "qrst"]
)
def test_no_rules_about_digits_and_signs(password: str) -> None:
    assert passwords.problem_with(password, "ada@example.com") is None
