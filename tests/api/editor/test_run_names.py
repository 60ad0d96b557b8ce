"""The pictures that the editor's requests edited."""

from sqlmodel import Session

from api.calls.idempotency import RetryKind
from api.calls.models import Replay, ReplayStatus
from api.db.database import Database
from api.editor import run_names
from api.editor.models import Project
from billing.ledger.models import Account
from tests.support.builders import NOON, make_account, make_grant, make_hold, unique


def add_project(session: Session, account: Account, name: str) -> Project:
    project = Project(
        id=unique("prj").replace(":", "_"),
        account_id=account.id,
        name=name,
        current_step_id="stp_a",
        created_at=NOON,
        used_at=NOON,
        expires_at=NOON,
    )
    session.add(project)
    session.flush()
    return project


def add_call(session: Session, account: Account, key: str) -> str:
    """A call under this key; the id of its request."""
    held = make_hold(session, account)
    session.add(
        Replay(
            id=unique("rpl"),
            account_id=account.id,
            retry_key=f"{RetryKind.KEYED}{key}",
            fingerprint=unique("print"),
            status=ReplayStatus.RUNNING,
            hold_id=held.id,
            created_at=NOON,
            expires_at=NOON,
        )
    )
    session.flush()
    return held.reference.removeprefix("request:")


def test_requests_are_named_by_the_projects_of_their_own_account(database: Database) -> None:
    with database.transaction() as session:
        own, other = make_account(session), make_account(session)
        for account in (own, other):
            make_grant(session, account, 10)
        cat, secret = add_project(session, own, "cat.jpg"), add_project(session, other, "secret.jpg")
        named = add_call(session, own, run_names.idempotency_key(cat.id, "a:b"))
        foreign = add_call(session, own, run_names.idempotency_key(secret.id, "run"))
        deleted = add_call(session, own, run_names.idempotency_key("prj_deleted", "run"))
        callers = add_call(session, own, "a caller's own key")
        requests = {named, foreign, deleted, callers, "req_unknown"}
        assert run_names.picture_names(session, own.id, requests) == {named: "cat.jpg"}
        assert run_names.picture_names(session, other.id, requests) == {}
        assert run_names.picture_names(session, own.id, set()) == {}
