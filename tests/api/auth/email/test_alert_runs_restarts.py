"""Mails while a server ends: none twice if it is stopped, and one at least if it is killed."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from api.alerts.models import Alert, MailStatus
from billing.timestamps import utc_now
from tests.support.alert_rows import make_alert
from tests.support.mailbox import Mailbox, running_mailbox
from tests.support.server import RunningServer, ServerFactory, free_port
from tests.support.waiting import wait_until


class SlowMailbox:
    """Takes each mail, but answers only when it is told to."""

    def __init__(self, box: Mailbox) -> None:
        self.box = box
        self.has_mail = threading.Event()
        self.may_answer = threading.Event()
        self._keep = box.handle_DATA
        box.handle_DATA = self._handle  # type: ignore[method-assign]

    async def _handle(self, server: Any, session: Any, envelope: Any) -> str:
        answer = await self._keep(server, session, envelope)
        self.has_mail.set()
        await asyncio.to_thread(self.may_answer.wait, 60)
        return answer


def settings_of(box: Mailbox, port: int) -> dict[str, str]:
    return {
        "BGERASER_SMTP_URL": box.url,
        "BGERASER_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BGERASER_WORKERS": "1",
    }


def add_alert(server: RunningServer) -> str:
    customer = server.new_customer()
    with server.database.transaction() as session:
        return make_alert(session, customer.account_id, utc_now()).id


def is_sent(server: RunningServer) -> bool:
    with server.database.transaction() as session:
        return {row.mail_status for row in session.exec(select(Alert))} == {MailStatus.SENT}


@pytest.mark.long
def test_a_server_that_is_stopped_waits_for_the_mail_servers_answer(
    tmp_path: Path, server_factory: ServerFactory
) -> None:
    with running_mailbox() as box:
        slow, port = SlowMailbox(box), free_port()
        with server_factory(tmp_path, settings_of(box, port), port) as server:
            alert_id = add_alert(server)
            assert slow.has_mail.wait(60)
            threading.Timer(2.0, slow.may_answer.set).start()
            server.stop()
            assert is_sent(server)
        assert alert_id in box.next()["Message-ID"]
        with server_factory(tmp_path, settings_of(box, port), port) as again:
            second = add_alert(again)
            assert second in box.next()["Message-ID"]
            wait_until(lambda: is_sent(again))
        assert box.is_empty()


@pytest.mark.long
def test_a_server_that_is_killed_sends_again_under_the_same_message_id(
    tmp_path: Path, server_factory: ServerFactory
) -> None:
    """The mail server took the mail, but the answer was lost: nobody knows, so it is sent again."""
    with running_mailbox() as box:
        slow, port = SlowMailbox(box), free_port()
        with server_factory(tmp_path, settings_of(box, port), port) as server:
            add_alert(server)
            assert slow.has_mail.wait(60)
            server.process.kill()
            server.process.wait()
        slow.may_answer.set()
        with server_factory(tmp_path, settings_of(box, port), port) as again:
            wait_until(lambda: is_sent(again))
        first, second = box.next(), box.next()
        assert first["Message-ID"] == second["Message-ID"]
        assert box.is_empty()
