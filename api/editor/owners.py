"""Owners of projects: an account, or a guest, who is identified by a session only.

Every image needs an account. Guests' images belong to one common account without sign-in and credits; the
project identifies the guest. Signing in transfers the guest's projects and images to the account.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select, update

from api.calls.types import priority_of
from api.calls.unbilled_admission import Claimant
from api.editor.layers import image_ids_of
from api.editor.models import Project, Step
from api.images.models import Image
from api.networks import network_of
from api.services import Services
from billing.errors import AccountExists, UnknownAccount
from billing.ledger import accounts
from billing.ledger.models import Account
from billing.ledger.plans import PLANS, PlanName
from ml.backend import Priority

#: No mail reaches this domain (RFC 2606), so the address cannot be verified.
GUESTS_EMAIL = "guests@bgeraser.invalid"


@dataclass(frozen=True)
class ProjectOwner:
    """`account_id` owns the images; `session_id` identifies a guest, None for an account.

    It is "" for a guest without a session, who does not own anything yet.
    """

    account_id: str
    session_id: str | None = None
    plan: PlanName = PlanName.FREE
    #: The member of the account who works in it; None: its owner, or a guest.
    person_id: str | None = None

    @property
    def is_guest(self) -> bool:
        return self.session_id is not None

    @property
    def priority(self) -> Priority:
        if self.is_guest:
            return Priority.GUEST
        return priority_of(self.plan)

    @property
    def concurrent_calls(self) -> int:
        """How many calls the plan allows at once."""
        return PLANS[self.plan].concurrent_calls

    @property
    def name(self) -> str:
        """A unique key for limits per owner."""
        return self.session_id or self.account_id

    def claimant(self, address: str) -> Claimant:
        """The claimant for unbilled work requested from the network address `address`."""
        network = network_of(address)
        if self.session_id == "":
            return _guest_claimant(network)
        return Claimant(self.name, network, self.priority)

    def owns(self) -> ColumnElement[bool]:
        """The condition that selects its `Project` rows."""
        mine = col(Project.account_id) == self.account_id
        return mine & (
            col(Project.session_id).is_(None)
            if self.session_id is None
            else col(Project.session_id) == self.session_id
        )


async def owner_of(
    services: Services, account_id: str | None, session_id: str, person_id: str | None = None
) -> ProjectOwner:
    """The owner behind a visitor's session. `person_id`: the account's member. Raises `UnknownAccount`."""
    if account_id is None:
        return ProjectOwner(await _guests_account(services), session_id)
    account = await services.database.read(lambda session: session.get(Account, account_id))
    if account is None:
        raise UnknownAccount(f"no account {account_id}")
    return ProjectOwner(account_id, None, PlanName(account.plan), person_id)


async def claimant_of_image(services: Services, image: Image, address: str) -> Claimant:
    """The claimant of a preview that the network address `address` requests by the image's signed URL.

    A signed URL does not identify a session, so a guest is identified by the network only.
    """
    network = network_of(address)

    def find_account(session: Session) -> Claimant:
        account = session.get(Account, image.account_id)
        if account is None or account.email == GUESTS_EMAIL:
            return _guest_claimant(network)
        return Claimant(account.id, network, priority_of(PlanName(account.plan)))

    return await services.database.read(find_account)


def adopt(session: Session, session_id: str, account_id: str, now: datetime) -> None:
    """Transfer a guest's projects and their images to `account_id`.

    Call it in the transaction of the login. The images then count towards the account's storage.
    """
    of_guest = select(Project.id).where(Project.session_id == session_id, col(Project.expires_at) > now)
    project_ids = list(session.exec(of_guest))
    image_ids = list(session.execute(image_ids_of(col(Step.project_id).in_(project_ids))).scalars())
    owned = {"account_id": account_id}
    session.execute(update(Image).where(col(Image.id).in_(image_ids)).values(owned))
    session.execute(
        update(Project).where(col(Project.id).in_(project_ids)).values({**owned, "session_id": None})
    )


def _guest_claimant(network: str) -> Claimant:
    """The claimant for guests without a session: all of one network together."""
    return Claimant(f"guests at {network}", network, Priority.GUEST)


async def _guests_account(services: Services) -> str:
    def find(session: Session) -> str | None:
        account = session.exec(select(Account).where(Account.email == GUESTS_EMAIL)).one_or_none()
        return None if account is None else account.id

    def make(session: Session) -> str:
        try:
            return accounts.create(session, email=GUESTS_EMAIL, now=services.clock()).id
        except AccountExists:  # another process created it
            return accounts.find_by_email(session, GUESTS_EMAIL).id

    account_id = await services.database.read(find)
    return account_id if account_id is not None else await services.database.run(make)
