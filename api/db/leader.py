"""Leader election for periodic work: the process that moves the due time forward does the work for all."""

from datetime import datetime, timedelta

from sqlmodel import Session, col, or_, update

from api.db.database import Database
from api.db.models import PeriodicWork
from billing.ledger.postings import insert_unless_taken


async def try_claim(database: Database, name: str, every: timedelta, now: datetime) -> bool:
    """Claim the work if it is due; True if this process must do it.

    No other process does before `now + every`. If this process dies, another one takes over then. A due time
    more than `every` in the future counts as due, so that a clock that ran ahead does not delay the work.
    """

    def is_due(session: Session) -> bool:
        stored = session.get(PeriodicWork, name)
        return stored is None or not now < stored.due_at <= now + every

    def claim(session: Session) -> bool:
        row = PeriodicWork(id=name, due_at=now + every)
        if insert_unless_taken(session, row, unique_column="id") is not None:
            return True
        claimed = session.scalars(
            update(PeriodicWork)
            .where(
                col(PeriodicWork.id) == name,
                or_(col(PeriodicWork.due_at) <= now, col(PeriodicWork.due_at) > now + every),
            )
            .values(due_at=now + every)
            .returning(col(PeriodicWork.id))
            .execution_options(synchronize_session=False)
        ).one_or_none()
        return claimed is not None

    # Every process calls this every few seconds, so write only if the work is due.
    return await database.read(is_due) and await database.run(claim)


async def reschedule(database: Database, name: str, due_at: datetime) -> None:
    """Set the due time of work that this process has claimed, to extend or to end the claim."""

    def move(session: Session) -> None:
        session.execute(
            update(PeriodicWork)
            .where(col(PeriodicWork.id) == name)
            .values(due_at=due_at)
            .execution_options(synchronize_session=False)
        )

    await database.run(move)
