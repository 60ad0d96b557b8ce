"""Calls of test keys beside live ones: apart in the rate, in what runs at once, and in the ledger."""

from sqlmodel import select

from api.calls import admission, call_holds
from api.calls.admission import Admitted, Refused
from api.db.database import Database
from api.errors import RateLimited
from billing.errors import BudgetSpent
from billing.ledger import budgets
from billing.ledger.audit import audit
from billing.ledger.models import Account, Entry, Hold
from billing.ledger.plans import PlanName
from tests.support.load import NOON, account_with, admit, admitted, refused, succeed

RATE = 5


def test_test_calls_and_live_calls_do_not_take_each_others_places(database: Database) -> None:
    with database.transaction() as session:
        account_id = account_with(session, credits=3, plan=PlanName.FREE).id
        for number in range(call_holds.TEST_CALLS_AT_ONCE):
            admitted(session, account_id, key=f"test {number}", test_rate=RATE)
        error = refused(session, account_id, key="test too many", test_rate=RATE)
        assert isinstance(error, RateLimited)
        assert "Test keys run 2 calls at once" in str(error)
        lives = [admit(session, account_id, key=f"live {number}") for number in range(3)]
        assert [type(each) for each in lives] == [Admitted, Admitted, Refused]
        account = session.get_one(Account, account_id)
        assert (account.available, account.held) == (1, 2)


def test_test_calls_have_a_rate_of_their_own(database: Database) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=0)
        for number in range(RATE):
            call = admitted(session, account.id, key=f"{number}", test_rate=RATE)
            succeed(session, call)
        error = refused(session, account.id, key="one more", test_rate=RATE)
        assert isinstance(error, RateLimited)
        assert str(error).startswith("Test keys have 5 calls a minute; try again in 12 s.")
        assert admission.rate_of(account, NOON).remaining == 600
        assert admission.rate_of(account, NOON, RATE).remaining == 0
        charged = session.exec(select(Entry.kind).where(Entry.account_id == account.id)).all()
        assert "capture" not in charged
        amounts = session.exec(select(Hold.amount).where(Hold.account_id == account.id)).all()
        assert set(amounts) == {0}
        assert (account.available, account.held) == (0, 0)
        assert audit(session) == []


def test_a_spent_budget_refuses_live_calls_before_and_after_their_files_are_fetched(
    database: Database,
) -> None:
    with database.transaction() as session:
        account = account_with(session, credits=5)
        budgets.create(session, account.id, account.id, 1)
        admitted(session, account.id, key="first", budget_id=account.id)
        assert isinstance(refused(session, account.id, key="second", budget_id=account.id), BudgetSpent)
        try:
            call_holds.require_credit(session, account, NOON, budget_id=account.id, is_test=False)
        except BudgetSpent:
            pass
        else:
            raise AssertionError("a file would be fetched for a call that is refused")
        call_holds.require_credit(session, account, NOON, budget_id=None, is_test=True)
