"""Every mail says the same in plain text and in HTML, and its links are whole in both."""

from html import escape

import pytest

from api.auth.email import messages
from api.auth.email.mailer import MailMessage

LINK = "https://pictures.example.com/reset?token=a-b_c&next=/app"
OTHER_LINK = "https://pictures.example.com/login"
MAILS: list[tuple[MailMessage, list[str]]] = [
    (messages.verify("ada@example.com", LINK), [LINK]),
    (messages.address_taken("ada@example.com", OTHER_LINK, LINK), [OTHER_LINK, LINK]),
    (messages.invitation("ada@example.com", "bob@example.com", "viewer", LINK), [LINK]),
    (messages.reset("ada@example.com", LINK), [LINK]),
    (messages.password_changed("ada@example.com", LINK), [LINK]),
    (messages.account_deleted("ada@example.com"), []),
]


@pytest.mark.parametrize(("mail", "links"), MAILS, ids=[mail.subject for mail, _ in MAILS])
def test_both_forms_have_the_subject_and_the_links(mail: MailMessage, links: list[str]) -> None:
    assert mail.to == "ada@example.com"
    assert mail.text.startswith(f"{mail.subject}\n\n")
    assert f"<h1>{mail.subject}</h1>" in mail.html
    for link in links:
        assert f": {link}\n" in mail.text
        assert f'href="{escape(link)}"' in mail.html
    assert mail.html.count("href=") == len(links)


def test_an_inviter_cannot_write_markup_or_lines_into_the_mail() -> None:
    mail = messages.invitation("ada@example.com", "<b>bob</b>\nFree credits: x", "member", LINK)
    assert "<b>" not in mail.html
    assert "\nFree credits" not in mail.text
