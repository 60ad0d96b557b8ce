"""Servers that end as the kernel ends them when memory runs out."""

from datetime import timedelta

from sqlmodel import col, update

from api.db.models import EngineProcess
from billing.ledger import ledger
from billing.ledger.models import Hold, HoldStatus
from billing.timestamps import utc_now
from tests.support.server import RunningServer


def kill(server: RunningServer) -> None:
    """Its workers end with it."""
    server.process.kill()
    server.process.wait()


def lapse_leases(server: RunningServer) -> None:
    """Let the leases of dead processes lapse at once, instead of waiting for half a minute."""
    past = utc_now() - timedelta(seconds=1)
    with server.database.transaction() as session:
        session.execute(update(EngineProcess).values(lease_until=past))
        of_processes = (col(Hold.status) == HoldStatus.OPEN, col(Hold.lease_owner) != ledger.WAITING)
        session.execute(update(Hold).where(*of_processes).values(lease_until=past))
