from datetime import timedelta

from sqlmodel import Session

from api.calls import call_log
from api.calls.models import CallRecord
from api.db.database import Database
from billing.ledger import ledger
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
