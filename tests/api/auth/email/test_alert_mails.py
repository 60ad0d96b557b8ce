"""What the mails about alerts say, and that none of it is believed."""

import re
from typing import Any

import pytest

from api.alerts.models import AlertKind
from api.auth.email import alert_mails
from api.auth.email.mailer import MailMessage
from tests.support.alert_rows import PAYMENT

PUBLIC = "https://pictures.example.com"
CREDITS = {
    "plan": "standard",
    "credits": {
        "available": 99,
        "held": 1,
        "renewsAt": "2026-12-22T12:00:00Z",
        "packCredits": 1_200,
        "packCreditsExpireAt": None,
    },
}
NONE_LEFT = {
    "plan": "free",
    "credits": {**CREDITS["credits"], "available": 0, "held": 0, "packCredits": 0, "renewsAt": None},  # type: ignore[dict-item]
}
KEY = {
    "keyId": "key_1",
    "name": "CI",
    "firstCharacters": "bge_live_Ab3d",
    "endsAt": "2026-12-01T08:05:00Z",
    "reason": "rotated",
}
SIGN_IN = {"browser": "Firefox on Linux", "address": "192.0.2.7", "signedInAt": "2026-11-22T12:00:00Z"}
EXAMPLES: dict[AlertKind, dict[str, Any]] = {
    AlertKind.CREDITS_LOW: CREDITS,
    AlertKind.CREDITS_EXHAUSTED: NONE_LEFT,
    AlertKind.PAYMENT_FAILED: PAYMENT,
    AlertKind.KEY_ENDING: KEY,
    AlertKind.SIGN_IN: SIGN_IN,
}


def compose(kind: AlertKind, facts: dict[str, Any] | None = None) -> MailMessage:
    return alert_mails.compose(
        kind,
        facts or EXAMPLES[kind],
        "ada@example.com",
        public_url=PUBLIC,
        message_id="<alr_1@pictures.example.com>",
        unsubscribe_token=None if kind.is_about_security else "token",
    )


@pytest.mark.parametrize(
    ("kind", "subject", "words"),
    [
        (
            AlertKind.CREDITS_LOW,
            "100 credits are left in your bgeraser account",
            ["Of packs: 1,200", "22 December 2026, 12:00 UTC"],
        ),
        (AlertKind.CREDITS_EXHAUSTED, "Your bgeraser account has no credits left", ["Plan: Free", "402"]),
        (
            AlertKind.PAYMENT_FAILED,
            "The payment for your bgeraser Standard plan failed",
            ["Plan ends: 29 November 2026, 12:00 UTC"],
        ),
        (
            AlertKind.KEY_ENDING,
            "The API key “CI” ends on 1 December 2026",
            ["bge_live_Ab3d…", "1 December 2026, 08:05 UTC", "replaced by another key"],
        ),
        (
            AlertKind.SIGN_IN,
            "A new browser signed in to your bgeraser account",
            ["Firefox on Linux", "192.0.2.7", "change your password"],
        ),
    ],
)
def test_each_kind_says_what_happened_in_both_forms(kind: AlertKind, subject: str, words: list[str]) -> None:
    mail = compose(kind)
    assert mail.subject == subject
    bare = re.sub(r"<[^>]+>", " ", mail.html)
    for word in words:
        assert word in mail.text
        assert word.partition(": ")[2] in bare or word in bare


@pytest.mark.parametrize("kind", list(AlertKind))
def test_every_link_begins_with_the_public_address(kind: AlertKind) -> None:
    mail = compose(kind)
    links = re.findall(r"https?://\S+", mail.text) + re.findall(r'href="([^"]+)"', mail.html)
    assert len(links) >= 4
    assert all(link.startswith(f"{PUBLIC}/") for link in links)
    assert f"{PUBLIC}/settings#alerts" in links


@pytest.mark.parametrize("kind", list(AlertKind))
def test_all_but_security_can_be_switched_off_from_the_mail(kind: AlertKind) -> None:
    mail = compose(kind)
    expected = "" if kind is AlertKind.SIGN_IN else f"{PUBLIC}/unsubscribe?token=token"
    assert mail.unsubscribe_url == expected
    assert ("unsubscribe" in mail.html) == ("unsubscribe" in mail.text) == bool(expected)


def test_a_chosen_expiry_is_called_that() -> None:
    mail = compose(AlertKind.KEY_ENDING, {**KEY, "reason": "expires"})
    assert "chosen for it" in mail.text
    assert "replaced" not in mail.text


def test_one_credit_is_one() -> None:
    left = {**CREDITS, "credits": {**CREDITS["credits"], "available": 1, "held": 0}}  # type: ignore[dict-item]
    assert compose(AlertKind.CREDITS_LOW, left).subject == "1 credit is left in your bgeraser account"


def test_the_name_of_a_key_adds_no_header_and_no_markup() -> None:
    name = 'x\r\nBcc: eve@example.com\r\n\r\n<a href="https://evil.example">here</a>'
    mail = compose(AlertKind.KEY_ENDING, {**KEY, "name": name})
    assert "\r" not in mail.subject
    assert "\n" not in mail.subject
    assert '<a href="https://evil.example"' not in mail.html
    assert "\nBcc:" not in mail.text


def test_a_member_is_told_in_which_account_to_look_for_the_key() -> None:
    assert "as a member of somebody else's account" not in compose(AlertKind.KEY_ENDING).text
    text = compose(AlertKind.KEY_ENDING, {**KEY, "isOfAnother": True}).text
    assert "as a member of somebody else's account" in " ".join(text.split())
