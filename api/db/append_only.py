"""Triggers that let rows of a table be inserted only, whatever client sends SQL to the database."""

_EVENTS = ("update", "delete")


def statements(dialect_name: str, table: str, same_row: str = "id = new.id") -> list[str]:
    """The SQL statements that create the triggers. The table must exist.

    `same_row` is the condition under which a unique constraint refuses `new`, in SQL.
    """
    message = f"rows of {table} never change"
    if dialect_name == "sqlite":
        exists = f"exists (select 1 from {table} where {same_row})"  # noqa: S608 (names of ours)
        refusal = f"begin select raise(abort, '{message}'); end"
        return [
            *(
                f"create trigger {table}_refuses_{event} before {event} on {table} for each row {refusal}"
                for event in _EVENTS
            ),
            # INSERT OR REPLACE deletes a row without firing its triggers, unless the client asks for that.
            f"create trigger {table}_refuses_replace before insert on {table} for each row when {exists}"
            f" {refusal}",
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
        return [f"drop trigger {table}_refuses_{event}" for event in (*_EVENTS, "replace")]
    return [
        *(f"drop trigger {table}_refuses_{event} on {table}" for event in (*_EVENTS, "truncate")),
        f"drop function refuse_{table}_change()",
    ]
