"""The text of every mail."""

from api.auth.email.mailer import MailMessage

_IGNORE = "If you did not request this, you can ignore this email."


def verify(email: str, link: str) -> MailMessage:
    return MailMessage(
        email,
        "Confirm your email address",
        "Welcome to bgeraser.\n\n"
        f"Confirm your email address with this link, which is valid for 24 hours:\n\n{link}\n\n"
        f"You receive your free credits as soon as the address is confirmed. {_IGNORE}\n",
    )


def address_taken(email: str, login_link: str, reset_link: str) -> MailMessage:
    """The answer to a sign-up with an address that has an account already."""
    return MailMessage(
        email,
        "You already have an account",
        "Someone, probably you, tried to sign up for bgeraser with this address, which already has an"
        " account.\n\n"
        f"Sign in: {login_link}\n\nIf you forgot your password, choose a new one: {reset_link}\n\n"
        "If it was not you, you can ignore this email: your account has not changed.\n",
    )


def invitation(email: str, inviter: str, role: str, link: str) -> MailMessage:
    return MailMessage(
        email,
        "Invitation to a bgeraser account",
        f"{inviter} invites you to their bgeraser account, as a {role}.\n\n"
        f"Accept with this link, which is valid for 7 days and can be used once:\n\n{link}\n\n"
        "Log in with this address first, or sign up with it. If you do not know the sender, you can ignore"
        " this email.\n",
    )


def reset(email: str, link: str) -> MailMessage:
    return MailMessage(
        email,
        "Choose a new password",
        f"Choose a new password with this link, which is valid for one hour and can be used once:"
        f"\n\n{link}\n\n{_IGNORE}\n",
    )


def password_changed(email: str, reset_link: str) -> MailMessage:
    return MailMessage(
        email,
        "Your password was changed",
        "The password of your bgeraser account was changed, and all other browsers were signed out.\n\n"
        f"If it was not you, choose a new password immediately: {reset_link}\n",
    )


def account_deleted(email: str) -> MailMessage:
    return MailMessage(
        email,
        "Your account was deleted",
        "Your bgeraser account was deleted, including its images, API keys, sessions and remaining"
        " credits.\n",
    )
