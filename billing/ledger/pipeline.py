"""Statements that are sent to PostgreSQL together, without waiting for the answer to each."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session


@contextmanager
def pipelined(session: Session) -> Iterator[None]:
    """Run the statements of the block in one round trip on PostgreSQL; on SQLite, one after the other.

    They must return no rows, and how many rows they changed is not known. When the block ends, all of them
    have been run; it raises the first one's error, as SQLAlchemy would have.
    """
    connection = session.connection()
    if connection.dialect.name != "postgresql":
        yield
        return
    import psycopg

    driver_connection = connection.connection.driver_connection
    assert isinstance(driver_connection, psycopg.Connection)
    try:
        with driver_connection.pipeline():
            yield
    except psycopg.Error as error:  # SQLAlchemy sees only what is raised while a statement is sent.
        # A connection that ends while its answers are read may be left in pipeline mode.
        is_lost = driver_connection.broken or driver_connection.pgconn.pipeline_status != 0
        raise _translated(connection, error, is_lost=is_lost) from error


def _translated(connection: Connection, error: Exception, *, is_lost: bool) -> DBAPIError:
    if is_lost:
        connection.invalidate(error)
    assert connection.dialect.dbapi is not None
    translated = DBAPIError.instance(
        None,
        None,
        error,
        connection.dialect.dbapi.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=connection.dialect,
    )
    assert isinstance(translated, DBAPIError)
    return translated
