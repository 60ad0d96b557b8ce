"""Password rules and argon2id hashes.

Passwords are checked for length and against a list of common ones; rules about digits and symbols lead to
worse choices. Hashing deliberately takes time and 46 MiB, so it runs in a few threads of its own with a
bounded queue and never blocks the event loop.
"""

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from api.errors import ServiceUnavailable

LENGTH_MIN, LENGTH_MAX = 8, 128
_THREADS = 2
_WAITING_MAX = 64  # about four seconds of work
_COMMON = Path(__file__).with_name("common_passwords.txt")
#: Above OWASP's minimum (46 MiB with one pass, or 19 MiB with two). Weaker hashes are replaced at login.
_HASHER = Argon2Hasher(memory_cost=47_104, time_cost=2, parallelism=1)


class Hashing:
    """The hashing threads of one process. Both methods raise ServiceUnavailable when the queue is full."""

    def __init__(self, threads: int = _THREADS, waiting_max: int = _WAITING_MAX) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._waiting = 0
        self._waiting_max = waiting_max

    async def hash(self, password: str) -> str:
        """The hash of a password, to be stored."""
        hashed = await self._run(_hash, password)
        assert isinstance(hashed, str)
        return hashed

    async def verify(self, password: str, stored: str | None) -> tuple[bool, str | None]:
        """Whether `password` matches `stored`; and a new hash, if `stored` has weaker parameters.

        Without a stored hash it takes as long and returns False, so that timing does not reveal accounts.
        """
        if len(password) > LENGTH_MAX:
            password = ""  # It cannot match, so do not spend time on hashing it.
        answer = await self._run(_verify, password, stored)
        assert isinstance(answer, tuple)
        return answer

    def close(self) -> None:
        self._pool.shutdown()

    async def _run(self, work: object, *arguments: object) -> object:
        if self._waiting >= self._waiting_max:
            raise ServiceUnavailable("Too many people are signing in at this moment. Please try again.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)  # type: ignore[arg-type]
        finally:
            self._waiting -= 1


def problem_with(password: str, email: str) -> str | None:
    """Why `password` is not acceptable for the account of `email`, as a sentence; None if it is."""
    if len(password) < LENGTH_MIN:
        return f"The password needs at least {LENGTH_MIN} characters."
    if len(password) > LENGTH_MAX:
        return f"The password can have at most {LENGTH_MAX} characters."
    plain = password.casefold()
    if plain in _common_passwords():
        return "This is one of the most common passwords, which are tried first. Choose another one."
    if plain in {email.casefold(), email.partition("@")[0].casefold()} or "bgeraser" in plain:
        return "The password is too close to your address or to our name. Choose another one."
    if len(set(plain)) < 4:
        return "The password repeats too few characters. Choose another one."
    return None


def _hash(password: str) -> str:
    return _HASHER.hash(_normalise(password))


def _verify(password: str, stored: str | None) -> tuple[bool, str | None]:
    text = _normalise(password)
    try:
        is_right = _HASHER.verify(text, stored or _dummy_hash())
    except UnknownHashError:
        is_right = False
    if stored is None or not is_right:
        return False, None
    return True, _HASHER.hash(text) if _HASHER.check_needs_rehash(stored) else None


@cache
def _dummy_hash() -> str:
    return _HASHER.hash("a password that no account has")


def _normalise(password: str) -> bytes:
    """Normalise to NFKC, because keyboards encode the same characters differently."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


@cache
def _common_passwords() -> frozenset[str]:
    lines = _COMMON.read_text(encoding="ascii").splitlines()
    return frozenset(line for line in lines if not line.startswith("# "))
