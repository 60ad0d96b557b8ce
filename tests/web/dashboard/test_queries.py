from datetime import timedelta

from sqlmodel import Session

from api.calls import call_log
from api.calls.models import CallRecord
from api.db.database import Database
from billing.ledger import ledger
from billing.ledger.models import GrantKind
from billing.ledger.plans import PlanName
from billing.subscriptions.revocation import revoke
from tests.support.builders import NOON, make_account
from tests.support.editor_client import Browser
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import RunningServer
from web.dashboard import queries


def record(session: Session, account_id: str, tool: str) -> None:
    call_log.add(
        session,
        CallRecord(
            request_id=f"req_{tool}",
            account_id=account_id,
            tool=tool,
            day=f"{NOON:%Y-%m-%d}",
            started_at=NOON,
            duration_ms=1,
            status_code=200,
            credits=1,
        ),
    )


def test_calls_of_a_renamed_or_removed_tool_are_shown_under_its_former_name(
    database: Database,
) -> None:
    with database.transaction() as session:
        account_id = make_account(session).id
        record(session, account_id, "crop")
        record(session, account_id, "retired-tool")
        now = NOON + timedelta(hours=1)
        shown = queries.usage_bars(session, account_id, 7, "tool", now)
        assert {(bar.group, bar.credits) for bar in shown if bar.credits} == {
            ("Crop & rotate", 1),
            ("retired-tool", 1),
        }
        assert {row[1] for row in queries.call_rows(session, account_id)} == {
            "Crop & rotate",
            "retired-tool",
        }


def test_the_statement_names_calls_by_their_tool_and_request(database: Database) -> None:
    with database.transaction() as session:
        account = make_account(session)
        ledger.refresh(session, account, NOON)
        held = [
            ledger.hold(
                session, account, reference=f"request:req_{name}", lease_owner="a", lease_seconds=60, now=NOON
            )
            for name in ("crop", "forgotten")
        ]
        for one in held:
            ledger.capture(session, one.id, lease_owner="a", now=NOON)
        ledger.refund(session, held[0].id, now=NOON)
        record(session, account.id, "crop")
        shown = [(row[1], row[2], row[4]) for row in queries.statement_rows(session, account.id)]
    assert shown[:3] == [
        ("Crop & rotate: credit returned", "+1", "req_crop"),
        ("Call", "-1", "req_forgotten"),
        ("Crop & rotate", "-1", "req_crop"),
    ]
    assert shown[3][:2] == ("Credits granted", "+15")


def test_a_run_of_the_editor_is_named_by_its_tool_and_picture(server: RunningServer) -> None:
    customer = server.new_customer()
    with Browser(server, customer) as editor:
        project = editor.open(jpeg_bytes(photo("coffee")), "My cup.jpg")
        editor.run(project, "upscale", {"scale": "2"})
    with server.database.transaction() as session:
        assert queries.call_rows(session, customer.account_id)[0][1:4] == [
            "Enlarge, My cup.jpg",
            "Editor",
            "Done",
        ]
        assert queries.statement_rows(session, customer.account_id)[0][1:3] == ["Enlarge, My cup.jpg", "-1"]


def test_entries_of_packs_are_named_as_such_and_the_summary_tells_what_is_left_of_them(
    database: Database,
) -> None:
    with database.transaction() as session:
        account = make_account(session, plan=PlanName.FREE)
        ends_at = NOON + timedelta(hours=1)
        ledger.grant(
            session,
            account,
            kind=GrantKind.PACK,
            amount=100,
            reference=f"stripe:cs_{account.id}",
            expires_at=ends_at,
            now=NOON,
        )
        revoke(
            session,
            account,
            grant_reference=f"stripe:cs_{account.id}",
            amount=40,
            reference=f"stripe:re_{account.id}",
            now=NOON,
        )
        summary = queries.account_summary(session, account.id, NOON)
        assert (summary.of_packs.available, summary.of_packs.expire_at) == (60, ends_at)
        summary = queries.account_summary(session, account.id, ends_at)
        assert (summary.of_packs.available, summary.of_packs.expire_at) == (0, None)
        labels = [row[1:3] for row in queries.statement_rows(session, account.id)]
    assert ["Credit pack", "+100"] in labels
    assert ["Credits of a pack taken back", "-40"] in labels
    assert ["Unused credits of a pack expired", "-60"] in labels
    assert ["Credits granted", "+15"] in labels
