"""What the pages of signing in work with, open as long as the application is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from fastapi import Request
from sqlmodel import Session

from api.auth.email.mailer import Mailer, MailMessage
from api.auth.passwords import Hashing
from api.http.dependencies import public_base_url
from api.settings import Settings
from web.auth.providers import Provider, providers_of

#: Carries what a guest made over to the account that has just signed in, in the transaction of the login:
#: called with the guest's session id, the account's id and the moment.
CarryOver = Callable[[Session, str, str, datetime], object]
#: What an account's end means elsewhere; called in the transaction that deletes it, before it is closed.
BeforeDeletion = Callable[[Session, str, datetime], object]


@dataclass(frozen=True)
class AuthServices:
    secret: str
    hashing: Hashing
    post: Mailer | None
    #: Without mail, in development: pages show the links that would be mailed, and addresses count as proved.
    shows_links: bool
    providers: dict[str, Provider]
    carry_over: list[CarryOver] = field(default_factory=list)
    before_deletion: list[BeforeDeletion] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Settings) -> "AuthServices":
        """Raises ValueError for a mail server's address that cannot be used."""
        post = None
        if settings.smtp_url is not None:
            host = urlsplit(settings.public_url or "").hostname or "localhost"
            sender = settings.mail_from or f"bgeraser@{host}"
            post = Mailer(settings.smtp_url.get_secret_value(), sender)
        return cls(
            secret=settings.signing_secret,
            hashing=Hashing(),
            post=post,
            shows_links=post is None and settings.is_development,
            providers=providers_of(settings),
        )

    @property
    def takes_sign_ups(self) -> bool:
        """Whether an address can be proved, so that a password for it means something."""
        return self.post is not None or self.shows_links

    def send(self, letter: MailMessage) -> MailMessage | None:
        """Mails the letter; gives it back where the page has to show it instead."""
        if self.post is not None:
            self.post.send(letter)
            return None
        return letter if self.shows_links else None

    def close(self) -> None:
        self.hashing.close()
        if self.post is not None:
            self.post.close()


def auth_services_of(request: Request) -> AuthServices:
    people: AuthServices = request.app.state.people
    return people


def address_of_site(request: Request) -> str:
    """What links in mails begin with. Outside development it is set, so no `Host` header gets into a mail."""
    return public_base_url(request)
