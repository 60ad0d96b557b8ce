from sqlmodel import Session

from billing.ledger import ledger
from billing.ledger.statement import statement
from tests.support.builders import DAY, NOON, SECOND, make_account, make_captured_hold, make_grant, make_hold


def test_a_statement_lists_every_change_with_its_balance_newest_first(session: Session) -> None:
    account = make_account(session)
    make_grant(session, account, 5, reference="goodwill:1", expires_at=NOON + DAY)
    spent = make_captured_hold(session, account, now=NOON + SECOND)
    make_hold(session, account)
    ledger.refund(session, spent.id, now=NOON + 2 * SECOND)
    ledger.expire_due(session, account, NOON + DAY)
    lines = statement(session, account.id, limit=10)
    assert [(line.kind, line.amount, line.balance) for line in lines] == [
        ("expiry", -4, 1),  # The credit of the open hold still counts.
        ("refund", 1, 5),
        ("capture", -1, 4),
        ("grant", 5, 5),
    ]
    assert lines[0].balance == account.available + account.held
    assert (lines[2].hold_id, lines[2].reference, lines[2].at) == (
        spent.id,
        f"capture:{spent.id}",
        NOON + SECOND,
    )


def test_pages_are_contiguous_with_one_running_balance(session: Session) -> None:
    account, other = make_account(session, credits=20), make_account(session, credits=20)
    for _ in range(9):
        make_captured_hold(session, account)
        make_captured_hold(session, other)
    whole = statement(session, account.id, limit=100)
    assert [line.balance for line in whole] == [*range(11, 20), 20]
    pages, before = [], None
    while page := statement(session, account.id, limit=3, before=before):
        assert len(page) <= 3
        pages += page
        before = page[-1].entry_id
    assert pages == whole


def test_an_account_without_entries_has_an_empty_statement(session: Session) -> None:
    make_account(session, credits=1)
    assert statement(session, make_account(session).id, limit=10) == []
    assert statement(session, "acc_none", limit=10) == []
