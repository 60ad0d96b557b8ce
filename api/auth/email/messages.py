"""The text of every mail."""

from api.auth.email.mailer import MailMessage

_IGNORE = "If you did not ask for this, ignore this mail: nothing happens without the link."


def verify(email: str, link: str) -> MailMessage:
    return MailMessage(
        email,
        "Confirm your address",
        "Welcome to bgeraser.\n\n"
        f"Confirm your address with this link, which works for 24 hours:\n\n{link}\n\n"
        f"Your free credits are there as soon as you have. {_IGNORE}\n",
    )


def address_taken(email: str, login_link: str, reset_link: str) -> MailMessage:
    """The answer to a sign-up with an address that has an account already."""
    return MailMessage(
        email,
        "You have an account already",
        "Somebody, probably you, signed up at bgeraser with this address, which has an account already.\n\n"
        f"Sign in: {login_link}\n\nIf you forgot the password, choose a new one: {reset_link}\n\n"
        "If it was not you, ignore this mail: nothing has changed.\n",
    )


def reset(email: str, link: str) -> MailMessage:
    return MailMessage(
        email,
        "Choose a new password",
        f"Choose a new password with this link, which works once, for an hour:\n\n{link}\n\n{_IGNORE}\n",
    )


def password_changed(email: str, reset_link: str) -> MailMessage:
    return MailMessage(
        email,
        "Your password was changed",
        "The password of your bgeraser account was changed, and every other browser was signed out.\n\n"
        f"If it was not you, choose a new one at once: {reset_link}\n",
    )


def account_deleted(email: str) -> MailMessage:
    return MailMessage(
        email,
        "Your account was deleted",
        "Your bgeraser account was deleted with its pictures, keys and sign-ins. Credits that were left"
        " are gone with it.\n",
    )
