"""Only what was signed here switches off a mail, and only the one it names."""

import pytest

from api.alerts.models import AlertKind
from api.alerts.unsubscribe_tokens import UnsubscribeTokens

SECRET, FORMER = "s" * 32, "f" * 32
TOKENS = UnsubscribeTokens((SECRET, FORMER))
ACCOUNT = "acc_8Fh2kQw0Zr5XcT1mVn9LsB"


@pytest.mark.parametrize("kind", [each for each in AlertKind if not each.is_about_security])
def test_a_token_names_its_account_and_kind(kind: AlertKind) -> None:
    assert TOKENS.read(TOKENS.token(ACCOUNT, kind)) == (ACCOUNT, kind)


def test_a_token_of_the_former_secret_still_works() -> None:
    before = UnsubscribeTokens((FORMER,)).token(ACCOUNT, AlertKind.CREDITS_LOW)
    assert TOKENS.read(before) == (ACCOUNT, AlertKind.CREDITS_LOW)
    assert UnsubscribeTokens((SECRET,)).read(before) is None


def test_no_altered_character_is_accepted() -> None:
    token = TOKENS.token(ACCOUNT, AlertKind.CREDITS_LOW)
    for place in range(len(token)):
        other = "A" if token[place] != "A" else "B"
        assert TOKENS.read(token[:place] + other + token[place + 1 :]) is None
    for strange in ("", ".", "..", token + "=", token[:-1], f" {token}", "é" * 30, "x" * 10_000, "\0"):
        assert TOKENS.read(strange) is None


def test_no_token_switches_off_mails_about_security() -> None:
    assert TOKENS.read(TOKENS.token(ACCOUNT, AlertKind.SIGN_IN)) is None
