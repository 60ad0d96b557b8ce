"""Acts of operators: each done once and exactly, logged with it, refused where it would do harm."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlmodel import Session, select

from api.auth import api_keys, sessions
from api.db.database import Database
from api.errors import ApiError, InvalidParameter, NotFound
from api.operators import acts, audit_log
from api.operators.acts import ActDone, ActRequest
from api.operators.audit_log import Actor, LogFilter
from api.operators.models import Act, AuditEntry
from billing.errors import AccountClosed
from billing.identifiers import new_id
from billing.ledger import accounts, ledger
from billing.ledger.audit import audit
from billing.ledger.models import Account, Entry, EntryKind, GrantKind, Hold
from billing.ledger.plans import PlanName
from tests.support.builders import NOON, OWNER, make_grant, make_hold
from tests.support.load import account_with
from tests.support.operator_rows import make_operator

CLICKS = 8


class Desk:
    """An operator and a customer with credits that never end."""

    def __init__(self, database: Database, credits: int = 10) -> None:
        self.database = database
        with database.transaction() as session:
            self.operator_id = make_operator(session, account_with(session, 0), NOON).id
            self.customer_id = account_with(session, credits).id

    def request(self, form_token: str | None = None, account_id: str | None = None) -> ActRequest:
        actor = Actor(self.operator_id, new_id("req"), "192.0.2.7")
        return ActRequest(actor, account_id or self.customer_id, " for a test ", NOON, form_token)

    def do(self, act: Callable[..., ActDone], account_id: str | None = None, **options: object) -> ActDone:
        with self.database.transaction() as session:
            return act(session, self.request(account_id=account_id), **options)

    def customer(self) -> Account:
        with self.database.transaction() as session:
            return session.get_one(Account, self.customer_id)

    def captured_call(self) -> str:
        """The id of a request whose credit was spent."""
        call_id = new_id("req")
        with self.database.transaction() as session:
            account = accounts.lock(session, self.customer_id)
            held = make_hold(session, account, reference=f"request:{call_id}")
            ledger.capture(session, held.id, lease_owner=OWNER, now=NOON)
        return call_id

    def entries(self) -> Counter[str]:
        with self.database.transaction() as session:
            return Counter(session.exec(select(Entry.kind).where(Entry.account_id == self.customer_id)))

    def log(self) -> list[Act]:
        """The acts on the customer, newest first."""
        with self.database.transaction() as session:
            lines = audit_log.page(session, LogFilter(account_id=self.customer_id), 100)
            return [line.act for line in lines]

    def is_exact(self) -> bool:
        with self.database.transaction() as session:
            return audit(session) == []

    def click_at_once(self, click: Callable[[Session, int], object]) -> Counter[str]:
        """The outcomes of many clicks at the same time, each in a transaction of its own thread."""
        outcomes: list[str] = []
        barrier = threading.Barrier(CLICKS)

        def run(number: int) -> None:
            barrier.wait()
            outcomes.append(outcome_of(self.database, click, number))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(CLICKS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Counter(outcomes)


def outcome_of(database: Database, click: Callable[[Session, int], object], number: int) -> str:
    try:
        done = database.submit(lambda session: click(session, number)).result()
    except Exception as error:
        return type(error).__name__
    return "repeated" if isinstance(done, ActDone) and done.is_repeated else "done"


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def test_granted_credits_are_logged_with_what_they_were_before(desk: Desk) -> None:
    end = NOON + timedelta(days=30)
    desk.do(acts.grant_credits, amount=100, expires_at=end)
    assert desk.customer().available == 110
    with desk.database.transaction() as session:
        (line,) = audit_log.page(session, LogFilter(account_id=desk.customer_id), 10)
        entry = line.entry
    assert (line.act, entry.reason, entry.address) == (Act.GRANT_CREDITS, "for a test", "192.0.2.7")
    assert (entry.operator_id, entry.created_at) == (desk.operator_id, NOON)
    assert entry.request_id.startswith("req_")
    assert line.before == {"available": 10, "held": 0}
    assert line.after["available"] == 110
    assert (line.after["granted"], line.after["expiresAt"]) == (100, "2026-02-14T12:00:00Z")
    assert desk.is_exact()


@pytest.mark.parametrize("amount", [0, 1_000_001])
def test_an_impossible_amount_is_refused_and_not_logged(desk: Desk, amount: int) -> None:
    for act in (acts.take_back_credits, acts.grant_credits):
        options = {"expires_at": None} if act is acts.grant_credits else {}
        with pytest.raises(InvalidParameter):
            desk.do(act, amount=amount, **options)
    assert desk.log() == []
    assert desk.customer().available == 10


@pytest.mark.parametrize("reason", ["", "  x ", "a" * 501, "two\nlines", "nul\0"])
def test_an_act_without_a_proper_reason_is_refused(desk: Desk, reason: str) -> None:
    request = ActRequest(Actor(desk.operator_id), desk.customer_id, reason, NOON)
    with pytest.raises(InvalidParameter) as raised, desk.database.transaction() as session:
        acts.suspend(session, request)
    assert raised.value.param == "reason"
    assert desk.customer().suspended_at is None


def test_no_more_is_taken_back_than_is_available_and_holds_stay(desk: Desk) -> None:
    with desk.database.transaction() as session:
        held = make_hold(session, accounts.lock(session, desk.customer_id))
    done = desk.do(acts.take_back_credits, amount=50)
    assert (done.after["taken"], done.after["asked"]) == (9, 50)
    customer = desk.customer()
    assert (customer.available, customer.held) == (0, 1)
    with pytest.raises(InvalidParameter, match="1 are held"):
        desk.do(acts.take_back_credits, amount=1)
    with desk.database.transaction() as session:
        ledger.release(session, held.id, now=NOON)
    assert desk.customer().available == 1
    assert desk.do(acts.take_back_credits, amount=1).after["available"] == 0
    assert desk.log() == [Act.TAKE_BACK_CREDITS] * 2
    assert desk.is_exact()


def test_credits_of_packs_are_taken_back_last(desk: Desk) -> None:
    with desk.database.transaction() as session:
        account = accounts.lock(session, desk.customer_id)
        ledger.grant(
            session,
            account,
            kind=GrantKind.PACK,
            amount=5,
            reference=new_id("pack"),
            expires_at=NOON + timedelta(days=1),
            now=NOON,
        )
        make_grant(session, account, 5, expires_at=NOON + timedelta(days=60))
    desk.do(acts.take_back_credits, amount=15)
    with desk.database.transaction() as session:
        left = session.exec(
            select(Entry.grant_id).where(
                Entry.account_id == desk.customer_id, Entry.kind == EntryKind.REVOCATION
            )
        ).all()
    assert len(left) == 2
    assert desk.customer().available == 5
    assert desk.is_exact()


def test_a_call_is_refunded_once_and_only_if_it_was_charged(desk: Desk) -> None:
    call_id = desk.captured_call()
    done = desk.do(acts.refund_call, call_id=call_id)
    assert done.before["available"] == 9
    assert (done.after["available"], done.after["refunded"]) == (10, 1)
    with pytest.raises(InvalidParameter, match="before"):
        desk.do(acts.refund_call, call_id=call_id)
    with desk.database.transaction() as session:
        running = make_hold(session, accounts.lock(session, desk.customer_id), reference="request:req_runs")
    with pytest.raises(InvalidParameter, match="not charged"):
        desk.do(acts.refund_call, call_id="req_runs")
    with desk.database.transaction() as session:
        ledger.release(session, running.id, now=NOON)
    with pytest.raises(InvalidParameter, match="not charged"):
        desk.do(acts.refund_call, call_id="req_runs")
    assert desk.entries()[EntryKind.REFUND] == 1
    assert desk.log() == [Act.REFUND_CALL]
    assert desk.is_exact()


def test_a_call_of_another_account_is_not_refunded(desk: Desk) -> None:
    call_id = desk.captured_call()
    with desk.database.transaction() as session:
        other = account_with(session, 5)
    with pytest.raises(InvalidParameter, match="no charged call"):
        desk.do(acts.refund_call, other.id, call_id=call_id)
    assert desk.entries()[EntryKind.REFUND] == 0


CLICKED: dict[str, Callable[[Session, ActRequest, str], ActDone]] = {
    "grant": lambda session, request, _: acts.grant_credits(session, request, amount=3, expires_at=None),
    "take back": lambda session, request, _: acts.take_back_credits(session, request, amount=3),
    "refund": lambda session, request, call_id: acts.refund_call(session, request, call_id=call_id),
}


@pytest.mark.parametrize("name", CLICKED)
def test_a_form_that_is_sent_many_times_at_once_acts_once(desk: Desk, name: str) -> None:
    call_id = desk.captured_call()
    before = desk.customer().available
    outcomes = desk.click_at_once(lambda session, _: CLICKED[name](session, desk.request("form-1"), call_id))
    assert outcomes == {"done": 1, "repeated": CLICKS - 1}
    assert desk.customer().available == before + {"grant": 3, "take back": -3, "refund": 1}[name]
    assert len(desk.log()) == 1
    assert desk.is_exact()


def test_forms_of_different_operators_do_not_count_as_one(desk: Desk) -> None:
    with desk.database.transaction() as session:
        operators = [make_operator(session, account_with(session, 0), NOON).id for _ in range(CLICKS)]

    def click(session: Session, number: int) -> ActDone:
        request = ActRequest(Actor(operators[number]), desk.customer_id, "for a test", NOON, "form-1")
        return acts.grant_credits(session, request, amount=2, expires_at=None)

    assert desk.click_at_once(click) == {"done": CLICKS}
    assert desk.customer().available == 10 + 2 * CLICKS
    assert len(desk.log()) == CLICKS
    assert desk.is_exact()


def test_of_many_refunds_of_one_call_by_different_forms_one_succeeds(desk: Desk) -> None:
    call_id = desk.captured_call()
    outcomes = desk.click_at_once(
        lambda session, number: acts.refund_call(session, desk.request(f"form-{number}"), call_id=call_id)
    )
    assert outcomes == {"done": 1, "InvalidParameter": CLICKS - 1}
    assert desk.customer().available == 10
    assert desk.entries()[EntryKind.REFUND] == 1
    assert desk.is_exact()


def test_many_who_take_back_at_once_never_take_more_than_there_is(desk: Desk) -> None:
    outcomes = desk.click_at_once(
        lambda session, number: acts.take_back_credits(session, desk.request(f"form-{number}"), amount=3)
    )
    assert outcomes == {"done": 4, "InvalidParameter": CLICKS - 4}
    assert desk.customer().available == 0
    assert desk.is_exact()


@pytest.mark.parametrize("round_", range(6))
def test_a_refund_that_races_with_the_capture_of_its_call_is_exact(desk: Desk, round_: int) -> None:
    """Either the call was charged first and its credit comes back, or there was nothing to refund yet."""
    with desk.database.transaction() as session:
        held = make_hold(session, accounts.lock(session, desk.customer_id), reference="request:req_race")

    def click(session: Session, number: int) -> object:
        if number == round_:
            return ledger.capture(session, held.id, lease_owner=OWNER, now=NOON)
        return acts.refund_call(session, desk.request(f"form-{number}"), call_id="req_race")

    outcomes = desk.click_at_once(click)
    refunds = desk.entries()[EntryKind.REFUND]
    assert outcomes == Counter(done=1 + refunds, InvalidParameter=CLICKS - 1 - refunds)
    assert refunds in (0, 1)
    assert len(desk.log()) == refunds
    customer = desk.customer()
    assert (customer.available, customer.held) == (9 + refunds, 0)
    with desk.database.transaction() as session:
        assert session.get_one(Hold, held.id).status == "captured"
    assert desk.is_exact()


def test_an_act_that_fails_at_its_end_leaves_neither_change_nor_entry(desk: Desk) -> None:
    def act_and_die(session: Session) -> None:
        acts.grant_credits(session, desk.request(), amount=5, expires_at=None)
        raise RuntimeError("the process died before its commit")

    with pytest.raises(RuntimeError):
        desk.database.submit(act_and_die).result()
    assert desk.customer().available == 10
    assert desk.log() == []


def test_the_plan_set_by_an_operator_gives_its_limits_and_can_be_released(desk: Desk) -> None:
    desk.do(acts.change_plan, plan=PlanName.FREE)
    assert (desk.customer().plan, desk.customer().operator_plan) == ("free", "free")
    with pytest.raises(InvalidParameter):
        desk.do(acts.change_plan, plan=PlanName.FREE)
    done = desk.do(acts.change_plan, plan=None)
    assert done.after == {"plan": "business", "setByOperator": False}
    assert desk.log() == [Act.CHANGE_PLAN] * 2


def test_suspending_and_restoring(desk: Desk) -> None:
    desk.do(acts.suspend)
    assert desk.customer().suspended_at == NOON
    with pytest.raises(InvalidParameter):
        desk.do(acts.suspend)
    desk.do(acts.grant_credits, amount=1, expires_at=None)  # operators still act on it
    desk.do(acts.restore)
    with pytest.raises(InvalidParameter):
        desk.do(acts.restore)
    assert desk.customer().suspended_at is None
    assert desk.log() == [Act.RESTORE, Act.GRANT_CREDITS, Act.SUSPEND]


def test_operators_cannot_suspend_themselves_or_take_away_their_own_mark(desk: Desk) -> None:
    for act in (acts.suspend, acts.revoke_operator):
        with pytest.raises(InvalidParameter, match="your own"):
            desk.do(act, desk.operator_id)
    with desk.database.transaction() as session:
        assert acts.is_operator(session.get_one(Account, desk.operator_id))


@pytest.mark.parametrize("act", [acts.suspend, acts.revoke_operator])
def test_operators_who_disarm_each_other_at_once_leave_one_of_them(
    desk: Desk, act: Callable[[Session, ActRequest], ActDone]
) -> None:
    with desk.database.transaction() as session:
        other_id = make_operator(session, account_with(session, 0), NOON).id
    pair = (desk.operator_id, other_id)

    def click(session: Session, number: int) -> ActDone:
        who, whom = pair if number % 2 else pair[::-1]
        return act(session, ActRequest(Actor(who), whom, "for a test", NOON))

    outcomes = desk.click_at_once(click)
    assert outcomes["done"] == 1, outcomes
    with desk.database.transaction() as session:
        assert sum(acts.is_operator(session.get_one(Account, each)) for each in pair) == 1


def test_who_is_no_operator_acts_no_more(desk: Desk) -> None:
    with desk.database.transaction() as session:
        acts.revoke_operator(session, ActRequest(Actor(), desk.operator_id, "for a test", NOON))
    with pytest.raises(NotFound):
        desk.do(acts.grant_credits, amount=5, expires_at=None)
    assert desk.customer().available == 10


def test_sessions_and_keys_end(desk: Desk) -> None:
    with desk.database.transaction() as session:
        for _ in range(2):
            sessions.create(session, desk.customer_id, now=NOON)
            api_keys.create(session, desk.customer_id, "n", NOON)
        kept, other = api_keys.usable(session, desk.customer_id, NOON)
    desk.do(acts.revoke_keys, key_id=other.id)
    with pytest.raises(InvalidParameter):
        desk.do(acts.revoke_keys, key_id=other.id)
    assert desk.do(acts.revoke_keys, key_id=None).after == {"keys": 0, "revoked": [kept.id]}
    assert desk.do(acts.end_sessions, but=None).before == {"sessions": 2}
    with desk.database.transaction() as session:
        assert sessions.listed(session, desk.customer_id, NOON) == []
        assert api_keys.usable(session, desk.customer_id, NOON) == []


def test_a_key_of_another_account_is_not_revoked(desk: Desk) -> None:
    with desk.database.transaction() as session:
        own, _ = api_keys.create(session, desk.operator_id, "n", NOON)
        api_keys.create(session, desk.customer_id, "n", NOON)
    with pytest.raises(InvalidParameter):
        desk.do(acts.revoke_keys, key_id=own.id)
    with desk.database.transaction() as session:
        assert len(api_keys.usable(session, desk.operator_id, NOON)) == 1


def test_nothing_is_done_to_a_deleted_account(desk: Desk) -> None:
    with desk.database.transaction() as session:
        accounts.close(session, desk.customer_id, now=NOON)
    with pytest.raises(AccountClosed):
        desk.do(acts.grant_credits, amount=1, expires_at=None)
    with pytest.raises(AccountClosed):
        desk.do(acts.suspend)


def test_a_suspended_account_gets_no_operators_mark(desk: Desk) -> None:
    desk.do(acts.suspend)
    with pytest.raises(ApiError):
        desk.do(acts.grant_operator)
    with desk.database.transaction() as session:
        assert session.exec(select(AuditEntry).where(AuditEntry.act == Act.GRANT_OPERATOR)).all()
        assert session.get_one(Account, desk.customer_id).operator_since is None
