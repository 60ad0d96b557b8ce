"""Leader election for periodic work: the process that moves the due time forward does it for all."""

from datetime import datetime, timedelta

from sqlmodel import Session, col, or_, update

from api.db.database import Database
from api.db.models import PeriodicWork
from billing.ledger.postings import insert_unless_taken


async def try_claim(database: Database, name: str, every: timedelta, now: datetime) -> bool:
    """Whether the work is due and this process is to do it; no other process does before `now + every`.

    If this process dies, another one takes over only then. A due time more than `every` away counts as
    passed, so a clock that ran far ahead delays nothing.
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

    # Asked every few seconds by every process, so writing waits until there is reason to.
    return await database.read(is_due) and await database.run(claim)


async def reschedule(database: Database, name: str, due_at: datetime) -> None:
    """Move the due time of work that this process has claimed: to keep the claim, or to end it."""

    def move(session: Session) -> None:
        session.execute(
            update(PeriodicWork)
            .where(col(PeriodicWork.id) == name)
            .values(due_at=due_at)
            .execution_options(synchronize_session=False)
        )

    await database.run(move)
