"""Services of the account pages, open for as long as the application runs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from fastapi import Request
from sqlmodel import Session

from api.alerts import preferences
from api.auth.email.mailer import Mailer, MailMessage, mailer_of
from api.auth.passwords import Hashing
from api.batches import service as batches
from api.jobs import service as jobs
from api.settings import Settings
from api.webhooks import endpoints
from web.auth.providers import Provider, providers_of

#: Transfers a guest's data to the account that has just signed in, in the transaction of the login. Called
#: with the guest's session id, the account's id and the current time.
GuestTransfer = Callable[[Session, str, str, datetime], object]
#: Called in the transaction that deletes an account, before it is closed.
BeforeDeletion = Callable[[Session, str, datetime], object]


@dataclass(frozen=True)
class AuthServices:
    secret: str
    hashing: Hashing
    mailer: Mailer | None
    #: In development without mail, pages show the links that would be mailed, and addresses count as
    #: confirmed.
    shows_links: bool
    providers: dict[str, Provider]
    guest_transfers: list[GuestTransfer] = field(default_factory=list)
    before_deletion: list[BeforeDeletion] = field(
        default_factory=lambda: [
            batches.delete_all,
            jobs.delete_all,
            endpoints.delete_all,
            preferences.delete_all,
        ]
    )

    @classmethod
    def of(cls, settings: Settings) -> "AuthServices":
        """Raises ValueError for an invalid mail server address."""
        mailer = mailer_of(settings)
        return cls(
            secret=settings.signing_secret,
            hashing=Hashing(),
            mailer=mailer,
            shows_links=mailer is None and settings.is_development,
            providers=providers_of(settings),
        )

    @property
    def allows_sign_up(self) -> bool:
        """Whether addresses can be confirmed, which a password account requires."""
        return self.mailer is not None or self.shows_links

    def send(self, message: MailMessage) -> MailMessage | None:
        """Mail the message. Returns it if the page has to show it instead."""
        if self.mailer is not None:
            self.mailer.send(message)
            return None
        return message if self.shows_links else None

    def close(self) -> None:
        self.hashing.close()
        if self.mailer is not None:
            self.mailer.close()


def auth_services_of(request: Request) -> AuthServices:
    auth: AuthServices = request.app.state.auth
    return auth
