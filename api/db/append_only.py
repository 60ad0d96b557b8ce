"""Triggers that let rows of a table be inserted only, whatever client sends SQL to the database."""

_EVENTS = ("update", "delete")


def statements(dialect_name: str, table: str) -> list[str]:
    """The SQL statements that create the triggers. The table must exist."""
    message = f"rows of {table} never change"
    if dialect_name == "sqlite":
        return [
            f"create trigger {table}_refuses_{event} before {event} on {table}"
            f" for each row begin select raise(abort, '{message}'); end"
            for event in _EVENTS
        ]
    function = f"refuse_{table}_change"
    return [
        f"create function {function}() returns trigger language plpgsql as $$\n"
        f"begin\n    raise exception using message = '{message}',"
        " errcode = 'integrity_constraint_violation';\nend\n$$",
        *(
            f"create trigger {table}_refuses_{event} before {event} on {table}"
            f" for each row execute function {function}()"
            for event in _EVENTS
        ),
        # TRUNCATE does not fire triggers for each row.
        f"create trigger {table}_refuses_truncate before truncate on {table}"
        f" for each statement execute function {function}()",
    ]


def drop_statements(dialect_name: str, table: str) -> list[str]:
    """The SQL that drops what `statements` created, for a migration that rewrites or drops the table."""
    if dialect_name == "sqlite":
        return [f"drop trigger {table}_refuses_{event}" for event in _EVENTS]
    return [
        *(f"drop trigger {table}_refuses_{event} on {table}" for event in (*_EVENTS, "truncate")),
        f"drop function refuse_{table}_change()",
    ]
