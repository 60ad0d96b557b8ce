"""Speaks to Gradio's queue as the dashboard's page does, or as an attacker would."""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from api.auth import sessions
from billing.timestamps import utc_now
from ml.catalogue import TOOLS
from tests.support.server import Customer, RunningServer

JOIN = "/app/gradio_api/queue/join"
DATA = "/app/gradio_api/queue/data"
#: After the name of a new key: a live one that may use all tools, without a last day and a limit.
NO_LIMITS: tuple[Any, ...] = ("live", sorted(TOOLS), "", "")


def cookies_of(server: RunningServer, customer: Customer) -> dict[str, str]:
    """The cookies of a browser that is signed in to the customer's account."""
    with server.database.transaction() as session:
        made = sessions.create(session, customer.account_id, now=utc_now())
    return {"bgeraser_session": made.token}


@contextmanager
def browser(server: RunningServer, customer: Customer | None, **headers: str) -> Iterator[httpx.Client]:
    """A client with the customer's session; without a customer, a stranger's."""
    cookies = {} if customer is None else cookies_of(server, customer)
    with httpx.Client(base_url=server.address, cookies=cookies, headers=headers, timeout=30) as client:
        yield client


class Dashboard:
    """The events of the dashboard's page, as its own configuration describes them."""

    def __init__(self, client: httpx.Client) -> None:
        text = client.get("/app/dashboard").text
        found = re.search(r"window\.gradio_config = (\{.*?\});</script>", text)
        assert found is not None, text[:500]
        self.config: dict[str, Any] = json.loads(found[1])
        self.session_hash = secrets.token_hex(8)

    def event(self, name: str, *arguments: object) -> dict[str, Any]:
        """The body of the event of this function, with these arguments."""
        one = next(one for one in self.config["dependencies"] if one["api_name"] == name)
        return {
            "data": list(arguments),
            "event_data": None,
            "fn_index": one["id"],
            "trigger_id": one["targets"][0][0],
            "session_hash": self.session_hash,
        }


def results(client: httpx.Client, session_hash: str) -> list[dict[str, Any]]:
    """The completed events of this page, once all have completed."""
    found = []
    with client.stream("GET", DATA, params={"session_hash": session_hash}) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if line.startswith("data: "):
                message = json.loads(line.removeprefix("data: "))
                if message["msg"] == "process_completed":
                    found.append(message)
    return found
