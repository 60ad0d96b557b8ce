"""Registration and one-time links, on both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlmodel import Session, select

from api.auth import account_deletion, external_identities, known_devices, registration, sessions, tokens
from api.auth.external_identities import Claim
from api.auth.models import OneTimeToken, Purpose
from api.db.database import Database
from api.errors import Forbidden, NotFound
from billing.errors import AccountClosed
from billing.ledger import accounts, ledger
from billing.ledger.models import Account
from tests.support.auth_rows import FORMER
from tests.support.builders import NOON, SECOND, make_account

ADA = "ada@example.com"
HASH = "$argon2id$…"


def join(session: Session, email: str = ADA, *, is_verified: bool = True) -> str:
    registration.sign_up(session, FORMER, email, HASH, now=NOON, is_verified=is_verified)
    return accounts.find_by_email(session, email).id


def test_concurrent_uses_of_a_link_succeed_once(migrated_database_url: str) -> None:
    database = Database(migrated_database_url)
    with database.transaction() as session:
        joined = registration.sign_up(session, FORMER, ADA, HASH, now=NOON)
    token = joined.token
    assert token is not None

    def use(_: int) -> bool:
        return database.submit(lambda s: registration.verify(s, token, now=NOON)).result() is not None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(16))) == 1
    database.close()


@pytest.mark.parametrize("purpose", Purpose)
def test_links_expire(database: Database, purpose: Purpose) -> None:
    with database.transaction() as session:
        token = tokens.create(session, make_account(session).id, purpose, now=NOON)
        end = NOON + tokens.LIFETIME[purpose]
        assert tokens.peek(session, token, purpose, end - SECOND) is not None
        assert tokens.peek(session, token, purpose, end) is None
        assert tokens.use(session, token, purpose, end) is None
        tokens.delete_expired(session, end, limit=10)
        assert session.exec(select(OneTimeToken)).all() == []


def test_a_link_records_the_browser_that_requested_it(database: Database) -> None:
    with database.transaction() as session:
        token = tokens.create(session, join(session), Purpose.VERIFY, now=NOON, browser_token="mine")
        row = tokens.use(session, token, Purpose.VERIFY, NOON)
        assert row is not None
        assert tokens.is_from_browser(row, "mine")
        assert not tokens.is_from_browser(row, "another")
        assert not tokens.is_from_browser(row, "")
        nobodys = tokens.create(session, row.account_id, Purpose.VERIFY, now=NOON)
        found = tokens.use(session, nobodys, Purpose.VERIFY, NOON)
        assert found is not None
        assert not tokens.is_from_browser(found, "")


def test_signing_up_twice_leaves_the_first_account_unchanged(database: Database) -> None:
    with database.transaction() as session:
        first = registration.sign_up(session, FORMER, ADA, HASH, now=NOON)
        second = registration.sign_up(session, FORMER, "ADA@example.com ", "another hash", now=NOON)
        assert (first.is_new, second.is_new) == (True, False)
        account_id = accounts.find_by_email(session, ADA).id
        assert registration.password_of(session, account_id) == HASH
        assert second.token is not None
        assert tokens.peek(session, second.token, Purpose.RESET, NOON) is not None


def test_a_closed_account_allows_neither_password_reset_nor_sign_up(database: Database) -> None:
    with database.transaction() as session:
        account_id = join(session)
        token = registration.ask_for_reset(session, ADA, now=NOON)
        assert token is not None
        accounts.close(session, account_id, now=NOON)
        assert registration.ask_for_reset(session, ADA, now=NOON) is None
        assert registration.sign_up(session, FORMER, ADA, HASH, now=NOON).token is None
        with pytest.raises(AccountClosed):
            registration.reset(session, token, HASH, now=NOON)
        with pytest.raises(Forbidden):
            external_identities.account_for(session, FORMER, Claim("github", "1", ADA, True), now=NOON)


def test_an_external_identity_creates_one_account_and_needs_a_verified_address(database: Database) -> None:
    claim = Claim("github", "1", "Ada@Example.com", True)
    with database.transaction() as session:
        account_id = external_identities.account_for(session, FORMER, claim, now=NOON)
        assert external_identities.account_for(session, FORMER, claim, now=NOON) == account_id
        account = accounts.lock(session, account_id)
        ledger.refresh(session, account, NOON)
        assert (account.email, account.available) == (ADA, 15)
        unproved = Claim("oidc", "2", "bob@example.com", False)
        for refused in (unproved, Claim("oidc", "2", "", True)):
            with pytest.raises(Forbidden):
                external_identities.account_for(session, FORMER, refused, now=NOON)
        with pytest.raises(NotFound):
            external_identities.unlink(session, account_id, "idt_of_nobody")


def test_deleting_an_account_frees_its_address_and_external_identities(database: Database) -> None:
    claim = Claim("github", "1", ADA, True)
    with database.transaction() as session:
        first = external_identities.account_for(session, FORMER, claim, now=NOON)
        made = sessions.create(session, first, now=NOON)
        account_deletion.delete_account(session, FORMER, first, now=NOON)
        assert sessions.find(session, made.token, NOON) is None
        assert session.get_one(Account, first).email == f"deleted:{first}"
        second = external_identities.account_for(session, FORMER, claim, now=NOON)
        assert second != first
        with pytest.raises(AccountClosed):
            account_deletion.delete_account(session, FORMER, first, now=NOON)


def test_the_operator_account_is_created_once(database: Database) -> None:
    with database.transaction() as session:
        make_account(session)
        for _ in range(2):
            token = registration.operators_token(session, now=NOON)
            used = tokens.use(session, token, Purpose.LOGIN, NOON)
            assert used is not None
            account = session.get_one(Account, used.account_id)
            assert account.email == registration.OPERATOR_EMAIL
            assert account.verified_at == NOON


def test_a_device_cookie_is_valid_for_one_account_and_cannot_be_forged() -> None:
    secret = "s" * 40
    note = known_devices.issue_cookie(secret, ADA)
    assert known_devices.device_id(secret, ADA, note) is not None
    assert known_devices.device_id(secret, "bob@example.com", note) is None
    assert known_devices.device_id("t" * 40, ADA, note) is None
    for forged in ("", ".", "x", note[:-1], f"x{note}", "é.é", "\ud800"):
        assert known_devices.device_id(secret, ADA, forged) is None


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "a\rb"], ids=ascii)
def test_provider_text_that_cannot_be_stored_is_refused(migrated_database_url: str, text: str) -> None:
    database = Database(migrated_database_url)
    with database.transaction() as session:
        with pytest.raises(Forbidden):
            external_identities.account_for(session, FORMER, Claim("github", text, ADA, True), now=NOON)
        with pytest.raises(Forbidden):
            external_identities.account_for(
                session, FORMER, Claim("github", "1", f"{text}@example.com", True), now=NOON
            )
        account_id = join(session)
        with pytest.raises(Forbidden):
            external_identities.link(session, account_id, Claim("github", text, ADA, True), now=NOON)
    database.close()
