"""Triggers that keep the ledger's history immutable, whatever client sends SQL to the database.

One exception: on SQLite, INSERT OR REPLACE by a client other than ours deletes rows without firing them.

Entries cannot be changed or deleted, settled holds cannot be changed, and neither can the identity of a hold
or a grant. Other constraints are declared with the tables in `billing.ledger.models`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class _Guard:
    name: str
    table: str
    event: str  # what is refused: "delete", "update" or "update of <columns>"
    when: str | None  # the condition on the rows; None = all rows
    message: str


_HOLD_IDENTITY = ("id", "account_id", "grant_id", "reference", "amount", "created_at")
_GRANT_IDENTITY = ("id", "account_id", "kind", "reference", "amount", "created_at")


def _changed(columns: tuple[str, ...]) -> str:
    return " or ".join(f"new.{column} <> old.{column}" for column in columns)


_GUARDS = (
    _Guard("entry_never_changes", "entry", "update", None, "an entry never changes"),
    _Guard("entry_never_deleted", "entry", "delete", None, "an entry is never deleted"),
    _Guard("hold_settles_once", "hold", "update", "old.status <> 'open'", "a settled hold never changes"),
    _Guard(
        "hold_identity_never_changes",
        "hold",
        f"update of {', '.join(_HOLD_IDENTITY)}",
        _changed(_HOLD_IDENTITY),
        "what a hold is bound to never changes",
    ),
    _Guard("hold_never_deleted", "hold", "delete", None, "a hold is never deleted"),
    _Guard(
        "credit_grant_identity_never_changes",
        "credit_grant",
        f"update of {', '.join(_GRANT_IDENTITY)}",
        _changed(_GRANT_IDENTITY),
        "what was granted never changes",
    ),
    _Guard("credit_grant_never_deleted", "credit_grant", "delete", None, "a grant is never deleted"),
)
#: Since holds count for budgets (migration 0018). coalesce: a hold without one keeps none.
_BUDGET_GUARD = _Guard(
    "hold_budget_never_changes",
    "hold",
    "update of budget_month_id",
    "coalesce(new.budget_month_id, '') <> coalesce(old.budget_month_id, '')",
    "where a hold counts never changes",
)
# On PostgreSQL, TRUNCATE does not fire triggers for each row.
_NEVER_TRUNCATED = ("entry", "hold", "credit_grant")


def statements(dialect_name: str, *, has_budgets: bool = True) -> list[str]:
    """The SQL statements that create the triggers. The tables must exist.

    `has_budgets`: whether holds have a budget yet, which those of the first migrations have not.
    """
    guards = _guards(has_budgets=has_budgets)
    if dialect_name == "sqlite":
        return [_create_on_sqlite(guard) for guard in guards]
    created = [_create_on_postgresql(guard) for guard in guards]
    created += [
        f"create trigger {table}_never_truncated before truncate on {table}"
        f" for each statement execute function refuse_change('{table} keeps its history')"
        for table in _NEVER_TRUNCATED
    ]
    return [_REFUSE_CHANGE, *created]


def drop_statements(dialect_name: str, *, has_budgets: bool = True) -> list[str]:
    """The SQL that drops the triggers, for a migration that rewrites these tables."""
    guards = _guards(has_budgets=has_budgets)
    if dialect_name == "sqlite":
        return [f"drop trigger {guard.name}" for guard in guards]
    dropped = [f"drop trigger {guard.name} on {guard.table}" for guard in guards]
    dropped += [f"drop trigger {table}_never_truncated on {table}" for table in _NEVER_TRUNCATED]
    return [*dropped, "drop function refuse_change()"]


def _guards(*, has_budgets: bool) -> tuple[_Guard, ...]:
    return (*_GUARDS, _BUDGET_GUARD) if has_budgets else _GUARDS


_REFUSE_CHANGE = """
create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception using message = tg_argv[0], errcode = 'integrity_constraint_violation';
end
$$"""


def _create_on_postgresql(guard: _Guard) -> str:
    when = f" when ({guard.when})" if guard.when else ""
    return (
        f"create trigger {guard.name} before {guard.event} on {guard.table}"
        f" for each row{when} execute function refuse_change('{guard.message}')"
    )


def _create_on_sqlite(guard: _Guard) -> str:
    when = f" when {guard.when}" if guard.when else ""
    return (
        f"create trigger {guard.name} before {guard.event} on {guard.table}"
        f" for each row{when} begin select raise(abort, '{guard.message}'); end"
    )
