"""Statements sent together: on both databases they run, and an error ends the transaction as usual."""

import psycopg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlmodel import Session, col, update

from api.db.database import Database
from api.errors import ServiceUnavailable
from billing.ledger.models import Account
from billing.ledger.pipeline import pipelined
from tests.support.builders import make_account
from tests.support.databases import Postgres


def give(session: Session, account_id: str, credits: int) -> None:
    session.execute(
        update(Account)
        .where(col(Account.id) == account_id)
        .values(available=credits)
        .execution_options(synchronize_session=False)
    )


def test_statements_run_in_order(database: Database) -> None:
    with database.transaction() as session:
        account_id = make_account(session).id
    with database.transaction() as session:
        with pipelined(session):
            give(session, account_id, 3)
            give(session, account_id, 5)
        assert session.get_one(Account, account_id).available == 5


def test_the_error_of_a_statement_is_raised_at_the_latest_when_the_block_ends(database: Database) -> None:
    with database.transaction() as session:
        account_id = make_account(session).id
    has_ended = False

    def overdraw(session: Session) -> None:
        nonlocal has_ended
        with pipelined(session):
            give(session, account_id, 3)
            give(session, account_id, -1)
            give(session, account_id, 4)
        has_ended = True

    assert isinstance(database.submit(overdraw).exception(), IntegrityError)
    assert not has_ended
    with database.transaction() as session:
        assert session.get_one(Account, account_id).available == 0


def test_a_connection_lost_within_the_block_is_an_outage(postgres: Postgres) -> None:
    name = postgres.create_database(template=postgres.migrated_template())
    database = Database(postgres.url(name))
    raised: list[DBAPIError] = []

    def dies(session: Session) -> None:
        account_id = make_account(session).id
        try:
            with pipelined(session):
                give(session, account_id, 3)
                postgres.execute(
                    f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '{name}'"
                )
        except OperationalError as error:
            raised.append(error)
            raise

    # The work is run again on another connection, which is ended too.
    assert isinstance(database.submit(dies).exception(), ServiceUnavailable)
    assert [error.connection_invalidated for error in raised] == [True, True]
    with database.transaction() as session:  # The pool has replaced the connection.
        make_account(session)
    database.close()
    postgres.drop_database(name)


def test_postgres_answers_the_block_once(postgres: Postgres) -> None:
    name = postgres.create_database(template=postgres.migrated_template())
    database = Database(postgres.url(name))
    modes: list[psycopg.pq.PipelineStatus] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(connection, cursor, *_: object) -> None:  # type: ignore[no-untyped-def]
        modes.append(cursor.connection.pgconn.pipeline_status)

    with database.transaction() as session:
        account_id = make_account(session).id
        modes.clear()
        with pipelined(session):
            give(session, account_id, 3)
        give(session, account_id, 4)
    assert modes == [psycopg.pq.PipelineStatus.ON, psycopg.pq.PipelineStatus.OFF]
    database.close()
    postgres.drop_database(name)
