"""The mails about signing up, logging in and invitations."""

from api.auth.email.letters import Letter, Link, as_html, as_text, one_line
from api.auth.email.mailer import MailMessage

_IGNORE = "If you did not request this, you can ignore this email."


def verify(email: str, link: str) -> MailMessage:
    return _mail(
        email,
        Letter(
            "Confirm your email address",
            (
                "Welcome to bgeraser. Confirm your email address with this link, which is valid for 24 hours."
                " You receive your free credits as soon as the address is confirmed.",
                _IGNORE,
            ),
            Link("Confirm the address", link),
        ),
    )


def address_taken(email: str, login_link: str, reset_link: str) -> MailMessage:
    """The answer to a sign-up with an address that has an account already."""
    return _mail(
        email,
        Letter(
            "You already have an account",
            (
                "Someone, probably you, tried to sign up for bgeraser with this address, which already has an"
                " account.",
                "If it was not you, you can ignore this email: your account has not changed.",
            ),
            Link("Sign in", login_link),
            footer=(("If you forgot your password,", Link("choose a new one", reset_link)),),
        ),
    )


def invitation(email: str, inviter: str, role: str, link: str) -> MailMessage:
    return _mail(
        email,
        Letter(
            "Invitation to a bgeraser account",
            (
                f"{one_line(inviter)} invites you to their bgeraser account, as a {role}. The link is valid"
                " for 7 days and can be used once.",
                "Log in with this address first, or sign up with it. If you do not know the sender, you can"
                " ignore this email.",
            ),
            Link("Accept the invitation", link),
        ),
    )


def reset(email: str, link: str) -> MailMessage:
    return _mail(
        email,
        Letter(
            "Choose a new password",
            ("This link is valid for one hour and can be used once.", _IGNORE),
            Link("Choose a new password", link),
        ),
    )


def password_changed(email: str, reset_link: str) -> MailMessage:
    return _mail(
        email,
        Letter(
            "Your password was changed",
            (
                "The password of your bgeraser account was changed, and all other browsers were signed out.",
                "If it was not you, choose a new password immediately.",
            ),
            Link("Choose a new password", reset_link),
        ),
    )


def account_deleted(email: str) -> MailMessage:
    return _mail(
        email,
        Letter(
            "Your account was deleted",
            (
                "Your bgeraser account was deleted, including its images, API keys, sessions and remaining"
                " credits.",
            ),
        ),
    )


def _mail(email: str, letter: Letter) -> MailMessage:
    return MailMessage(email, letter.title, as_text(letter), as_html(letter))
