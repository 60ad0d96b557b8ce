"""Calls from REST routes and from the editor are logged."""

from pathlib import Path

import pytest

from api.calls import call_log
from api.calls import service as calls
from api.calls.models import CallRecord
from api.calls.types import CallFailed, CallRequest
from billing.errors import AccountClosed
from billing.identifiers import new_id
from billing.ledger import accounts
from ml.backend import Priority
from ml.catalogue import TOOLS
from ml.errors import UnreadablePicture
from tests.support.apps import LocalApi, local_api
from tests.support.calling import small_picture


def editor_call(account_id: str, picture: bytes) -> CallRequest:
    tool = TOOLS["crop"]
    return CallRequest(
        request_id=new_id("req"),
        account_id=account_id,
        priority=Priority.FREE,
        tool=tool,
        params=tool.params.model_validate({"width": "9"}),
        files={"image": picture},
        base_url="http://test",
    )


def account_of(api: LocalApi) -> str:
    api.new_key("a@example.com")
    with api.services.database.transaction() as session:
        return accounts.find_by_email(session, "a@example.com").id


def rows(api: LocalApi, account_id: str) -> dict[str, CallRecord]:
    api.call(api.services.call_log.write, api.services.database)
    with api.services.database.transaction() as session:
        found = call_log.latest(session, account_id, 10)
        session.expunge_all()
    return {row.request_id: row for row in found}


def test_a_refused_editor_call_is_logged(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        account_id = account_of(api)
        with api.services.database.transaction() as session:
            accounts.close(session, account_id, now=api.clock())
        request = editor_call(account_id, small_picture())
        with pytest.raises(AccountClosed):
            api.call(calls.run, api.services, request)
        row = rows(api, account_id)[request.request_id]
        assert (row.key_id, row.status_code, row.code, row.credits) == (None, 403, "FORBIDDEN", 0)


def test_successes_replays_and_failures_of_the_editor_are_logged(tmp_path: Path) -> None:
    with local_api(tmp_path, has_workers=True) as api:
        account_id = account_of(api)
        picture = small_picture()
        first, again = editor_call(account_id, picture), editor_call(account_id, picture)
        bad = editor_call(account_id, picture[: len(picture) // 2])
        result = api.call(calls.run, api.services, first)
        replay = api.call(calls.run, api.services, again)
        with pytest.raises(CallFailed) as failed:
            api.call(calls.run, api.services, bad)
        assert isinstance(failed.value.error, UnreadablePicture)
        assert failed.value.account_status.credits_remaining == 14
        assert (replay.is_replay, replay.body, replay.data) == (True, result.body, result.data)
        assert (result.account_status.credits_charged, replay.account_status.credits_charged) == (1, 0)
        logged = {name: (row.status_code, row.credits) for name, row in rows(api, account_id).items()}
        assert logged == {
            first.request_id: (200, 1),
            again.request_id: (200, 0),
            bad.request_id: (422, 0),
        }
