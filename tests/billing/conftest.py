from collections.abc import Iterator

import pytest
from sqlmodel import Session

from api.db.database import Database
from billing.ledger.audit import audit


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """One transaction for the whole test, on SQLite and on PostgreSQL; whatever it did, the books balance."""
    with database.transaction() as opened:
        yield opened
    with database.transaction() as opened:
        assert audit(opened) == []
