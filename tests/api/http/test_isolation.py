"""Accounts are isolated: every route is tried with the ids and keys of another account.

The list of routes comes from the application; one that is new fails here until it says how it is tried.
"""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import select

from billing.ledger import ledger
from billing.ledger.models import Account
from ml.catalogue import TOOLS
from tests.support.apps import LocalApi, local_api
from tests.support.builders import make_grant
from tests.support.calling import code_of, small_picture

_numbers = itertools.count(1)


class House:
    """An owner with a stored picture, and a stranger with a key of their own."""

    def __init__(self, api: LocalApi) -> None:
        self.api = api
        number = next(_numbers)
        self.owner_email = f"owner{number}@example.com"
        self.stranger_email = f"stranger{number}@example.com"
        self.owner_key = api.new_key(self.owner_email)
        self.stranger_key = api.new_key(self.stranger_email)
        stored = self.request("POST", "/api/images", self.owner_key, files={"image": small_picture()})
        self.image_id: str = stored.json()["data"]["imageId"]
        self.image_url: str = stored.json()["data"]["imageUrl"]

    def request(
        self, method: str, path: str, key: str | None, prefer: str = "", **options: Any
    ) -> httpx.Response:
        headers = {"Prefer": prefer, **({"X-Api-Key": key} if key else {})}
        return self.api.request(method, path, headers=headers, **options)


def refused(response: httpx.Response, *allowed: tuple[int, str]) -> None:
    assert (response.status_code, code_of(response)) in allowed


#: Required parameters of a tool, by its path: they are validated before any image.
NEEDED = {
    "/api/tools/magic-select": {"auto": "true"},
    "/api/tools/generative-expand": {"left": "10"},
    "/api/tools/brush": {"op": "erase"},
}


def tool_with_a_strangers_picture(house: House, method: str, path: str) -> None:
    form = NEEDED.get(path, {})
    response = house.request(method, path, house.stranger_key, data={"image_id": house.image_id, **form})
    refused(response, (404, "NOT_FOUND"))
    unknown = house.request(method, path, house.stranger_key, data={"image_id": "img_" + "0" * 22, **form})
    assert unknown.json()["error"] == response.json()["error"]  # no telling whose it is


def unknown_tool(house: House, method: str, path: str) -> None:
    refused(house.request(method, path.replace("{tool}", "none"), house.stranger_key), (404, "NOT_FOUND"))


def upload_is_the_callers_own(house: House, method: str, path: str) -> None:
    stored = house.request(method, path, house.stranger_key, files={"image": small_picture()})
    image_id = stored.json()["data"]["imageId"]
    refused(house.request("DELETE", f"/api/images/{image_id}", house.owner_key), (404, "NOT_FOUND"))


def fetching_needs_the_signature_of_this_picture(house: House, method: str, path: str) -> None:
    own = house.request("POST", "/api/images", house.stranger_key, files={"image": small_picture()})
    query = own.json()["data"]["imageUrl"].partition("?")[2]
    place = path.replace("{image_id}", house.image_id)
    for key in (house.stranger_key, house.owner_key, None):
        assert house.request(method, place, key).status_code == 403
        assert house.request(method, f"{place}?{query}", key).status_code == 403


def deleting_a_strangers_picture(house: House, method: str, path: str) -> None:
    place = path.replace("{image_id}", house.image_id)
    refused(house.request(method, place, house.stranger_key), (404, "NOT_FOUND"))
    refused(house.request(method, place, None), (401, "INVALID_API_KEY"))
    assert house.api.request("GET", house.image_url.removeprefix("http://test")).status_code == 200


def account_is_the_keys_own(house: House, method: str, path: str) -> None:
    answer = house.request(method, path, house.stranger_key)
    assert answer.status_code == 200
    if method == "GET":
        assert answer.json()["data"]["email"] == house.stranger_email
    assert house.request(method, path, None).status_code == 401


def tells_nothing_of_accounts(house: House, method: str, path: str) -> None:
    answer = house.request(method, path, None)
    assert house.owner_email.encode() not in answer.content
    assert house.image_id.encode() not in answer.content


def takes_no_orders_from_strangers(house: House, method: str, path: str) -> None:
    """Closed without a secret, which this house has not; tests of the webhook try what is signed."""
    refused(house.request(method, path, house.stranger_key, content=b"{}"), (404, "NOT_FOUND"))


def jobs_are_the_keys_own(house: House, method: str, path: str) -> None:
    accepted = house.request(
        "POST", "/api/tools/crop", house.owner_key, data={"image_id": house.image_id}, prefer="respond-async"
    )
    job_id = accepted.json()["data"]["jobId"]
    if "{job_id}" not in path:
        answer = house.request(method, path, house.stranger_key)
        assert answer.status_code == 200
        assert job_id.encode() not in answer.content
    else:
        place = path.replace("{job_id}", job_id)
        strange = house.request(method, place, house.stranger_key)
        unknown = house.request(method, path.replace("{job_id}", "job_" + "0" * 22), house.stranger_key)
        assert (strange.status_code, unknown.status_code) == (404, 404)
        if method != "HEAD":
            assert strange.json()["error"] == unknown.json()["error"]  # no telling whose it is
        assert (
            house.request("GET", f"/api/jobs/{job_id}", house.owner_key).json()["data"]["status"] == "queued"
        )
    assert house.request(method, path.replace("{job_id}", job_id), None).status_code == 401


def webhooks_are_the_keys_own(house: House, method: str, path: str) -> None:
    """Another account's webhook is answered as an unknown one."""
    created = house.request(
        "POST", "/api/webhooks", house.owner_key, json={"url": "https://shop.example.com/"}
    )
    webhook_id = created.json()["data"]["webhookId"]
    place, unknown_place = (
        path.replace("{webhook_id}", each).replace("{delivery_id}", "whd_" + "0" * 22)
        for each in (webhook_id, "whe_" + "0" * 22)
    )
    assert house.request(method, place, None).status_code == 401
    body = {"url": "https://other.example.com/"} if (method, path) == ("POST", "/api/webhooks") else None
    strange = house.request(method, place, house.stranger_key, json=body)
    if "{webhook_id}" not in path:
        assert strange.status_code == 200
        assert webhook_id.encode() not in strange.content
        return
    unknown = house.request(method, unknown_place, house.stranger_key)
    assert (strange.status_code, unknown.status_code) == (404, 404)
    if method != "HEAD":
        assert strange.json()["error"] == unknown.json()["error"]  # no telling whose it is
    kept = house.request("GET", f"/api/webhooks/{webhook_id}", house.owner_key)
    assert kept.json()["data"]["url"] == "https://shop.example.com/"


def batches_are_the_keys_own(house: House, method: str, path: str) -> None:
    form = {"image_ids": json.dumps([house.image_id]), "tool": "crop"}
    if method == "POST" and path == "/api/batches":
        strange = house.request(method, path, house.stranger_key, json=form)
        unknown = house.request(
            method, path, house.stranger_key, json={**form, "image_ids": ["img_" + "0" * 22]}
        )
        refused(strange, (404, "NOT_FOUND"))
        assert strange.json()["error"] == unknown.json()["error"]  # no telling whose it is
        assert house.request(method, path, None, json=form).status_code == 401
        return
    accepted = house.request("POST", "/api/batches", house.owner_key, json=form)
    batch_id = accepted.json()["data"]["batchId"]
    place = path.replace("{batch_id}", batch_id)
    strange = house.request(method, place, house.stranger_key)
    if place == path:
        assert strange.status_code == 200
        assert batch_id.encode() not in strange.content
    else:
        unknown = house.request(method, path.replace("{batch_id}", "batch_" + "0" * 22), house.stranger_key)
        assert (strange.status_code, unknown.status_code) == (404, 404)
        if method != "HEAD":
            assert strange.json()["error"] == unknown.json()["error"]
        own = house.request("GET", f"/api/batches/{batch_id}", house.owner_key).json()["data"]
        assert own["status"] == "queued"
    assert house.request(method, place, None).status_code == 401


def usage_is_the_keys_own(house: House, method: str, path: str) -> None:
    answer = house.request(method, path, house.stranger_key)
    assert answer.status_code == 200
    if method == "GET":
        assert answer.json()["data"] == []
    assert house.request(method, path, None).status_code == 401


def images_come_with_the_call(house: House, method: str, path: str) -> None:
    """Another account's image cannot be named: an id is an unknown field, and its URL needs its signature."""
    answer = house.request(method, path, house.stranger_key, data={"image_id": house.image_id})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "missing_source")
    assert house.request(method, path, None).status_code == 403


def credits_are_the_keys_own(house: House, method: str, path: str) -> None:
    with house.api.services.database.transaction() as session:
        account = session.exec(select(Account).where(Account.email == house.owner_email)).one()
        ledger.refresh(session, account, house.api.clock())
        make_grant(session, account, 7, now=house.api.clock())
    if method == "GET":
        totals = [
            house.request(method, path, key).json()["data"]["attributes"]["credits"]["total"]
            for key in (house.owner_key, house.stranger_key)
        ]
        assert totals == [22, 15]
    assert house.request(method, path, None).status_code == 403


def agents_need_a_key(house: House, method: str, path: str) -> None:
    """The protocol needs a running server; tests of it name another account's image."""
    refused(house.request(method, path, None, json={}), (401, "INVALID_API_KEY"))
    refused(house.request(method, path, house.stranger_key[:-1], json={}), (401, "INVALID_API_KEY"))


#: Pages without an account, which are tried with the whole application in tests/web.
PUBLIC_PAGES = (
    "/",
    "/docs",
    "/docs/agents",
    "/llms.txt",
    "/openapi",
    "/openapi/{name}",
    "/favicon.ico",
    "/app",
)

#: The editor's, which know sessions only; two visitors are kept apart in tests/web/editor.
_PROJECT = "/editor/projects/{project_id}"
_BATCH = "/editor/batches/{batch_id}"
EDITOR_READS = (
    "/editor/session",
    "/editor/projects",
    _PROJECT,
    f"{_PROJECT}/runs/{{run_id}}",
    f"{_PROJECT}/steps/{{step_id}}/file",
    f"{_PROJECT}/steps/{{step_id}}/thumbnail",
    f"{_PROJECT}/cutouts/{{image_id}}",
    f"{_PROJECT}/photos/{{image_id}}",
    "/editor/backgrounds",
    "/editor/backgrounds/{image_id}",
    "/editor/scenes/{file_name}",
    "/editor/batches",
    _BATCH,
    f"{_BATCH}/items",
    f"{_BATCH}/items/{{position}}/thumbnail",
    f"{_BATCH}/results.zip",
    f"{_BATCH}/manifest.csv",
)
EDITOR_CHANGES = (
    ("POST", "/editor/keys"),
    ("POST", "/editor/backgrounds"),
    ("POST", "/editor/projects"),
    ("DELETE", _PROJECT),
    ("PUT", f"{_PROJECT}/current"),
    ("POST", f"{_PROJECT}/runs"),
    ("DELETE", f"{_PROJECT}/runs"),
    ("DELETE", f"{_PROJECT}/runs/{{run_id}}"),
    ("POST", f"{_PROJECT}/overlay"),
    ("POST", f"{_PROJECT}/encoding"),
    ("POST", f"{_PROJECT}/expectation"),
    ("POST", f"{_PROJECT}/looks"),
    ("POST", f"{_PROJECT}/steps/{{step_id}}/rendering"),
    ("PUT", "/editor/brand-colors"),
    ("POST", "/editor/batches"),
    ("POST", "/editor/batches/images"),
    ("POST", "/editor/batches/quote"),
    ("POST", f"{_BATCH}/items/{{position}}/project"),
    ("POST", f"{_BATCH}/pause"),
    ("POST", f"{_BATCH}/resume"),
    ("POST", f"{_BATCH}/retry"),
    ("POST", f"{_BATCH}/cancel"),
    ("DELETE", _BATCH),
)

#: Those of signing in, likewise; tests/web/auth keeps two visitors apart, route by route.
PEOPLE_READS = (
    "/login",
    "/login/once",
    "/signup",
    "/verify",
    "/reset",
    "/reset/new",
    "/oauth/{provider}",
    "/oauth/{provider}/callback",
    "/settings",
    "/settings/delete",
    "/settings/statement.csv",
    "/unsubscribe",
    "/invitation",
)
PEOPLE_CHANGES = (
    "/login",
    "/logout",
    "/signup",
    "/verify",
    "/verify/resend",
    "/reset",
    "/reset/new",
    "/settings/password",
    "/settings/sessions/end",
    "/settings/sessions/end-others",
    "/settings/identities/remove",
    "/settings/alerts",
    "/settings/delete",
    "/unsubscribe",
    "/settings/members/invite",
    "/settings/members/send-again",
    "/settings/members/withdraw",
    "/settings/members/role",
    "/settings/members/remove",
    "/invitation",
    "/accounts/choose",
    "/accounts/leave",
)

#: Those of plans; tests/web/plans keeps two visitors apart.
PLAN_READS = (
    "/plans",
    "/plans/invoices",
    "/plans/success",
    "/plans/cancelled",
    "/plans/return",
    "/packs/success",
)
PLAN_CHANGES = ("/plans/portal", "/plans/{plan}/checkout", "/packs/{credits_}/checkout")

#: The operator's panel; tests/web/admin tries each with every kind of visitor.
_PANEL_ACCOUNT = "/app/admin/accounts/{account_id}"
PANEL_READS = ("/app/admin", "/app/admin/accounts", _PANEL_ACCOUNT, "/app/admin/log", "/app/admin/log.csv")
PANEL_CHANGES = tuple(
    f"{_PANEL_ACCOUNT}/{act}"
    for act in (
        "grant-credits",
        "take-back-credits",
        "change-plan",
        "suspend",
        "restore",
        "end-sessions",
        "revoke-keys",
        "refund-call",
        "revoke-operator",
    )
)

TRIALS: dict[tuple[str, str], Callable[[House, str, str], None]] = {
    **{("POST", f"/api/tools/{name}"): tool_with_a_strangers_picture for name in TOOLS},
    ("POST", "/api/tools/{tool}"): unknown_tool,
    ("POST", "/api/images"): upload_is_the_callers_own,
    ("GET", "/api/images/{image_id}"): fetching_needs_the_signature_of_this_picture,
    ("HEAD", "/api/images/{image_id}"): fetching_needs_the_signature_of_this_picture,
    ("DELETE", "/api/images/{image_id}"): deleting_a_strangers_picture,
    ("POST", "/mcp"): agents_need_a_key,
    ("POST", "/v1.0/removebg"): images_come_with_the_call,
    ("GET", "/v1.0/account"): credits_are_the_keys_own,
    ("HEAD", "/v1.0/account"): credits_are_the_keys_own,
    ("POST", "/stripe/webhook"): takes_no_orders_from_strangers,
    **{
        (method, path): jobs_are_the_keys_own
        for path in ("/api/jobs", "/api/jobs/{job_id}", "/api/jobs/{job_id}/events")
        for method in ("GET", "HEAD")
    },
    ("DELETE", "/api/jobs/{job_id}"): jobs_are_the_keys_own,
    **{
        (method, path): webhooks_are_the_keys_own
        for path, methods in {
            "/api/webhooks": ("GET", "HEAD", "POST"),
            "/api/webhooks/{webhook_id}": ("GET", "HEAD", "POST", "DELETE"),
            "/api/webhooks/{webhook_id}/deliveries": ("GET", "HEAD"),
            "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": ("POST",),
            "/api/webhooks/{webhook_id}/rotate": ("POST",),
            "/api/webhooks/{webhook_id}/test": ("POST",),
        }.items()
        for method in methods
    },
    **{
        (method, f"/api/batches{path}"): batches_are_the_keys_own
        for path in (
            "",
            "/{batch_id}",
            "/{batch_id}/items",
            "/{batch_id}/results.zip",
            "/{batch_id}/manifest.csv",
        )
        for method in ("GET", "HEAD")
    },
    **{
        ("POST", f"/api/batches{path}"): batches_are_the_keys_own
        for path in ("", "/{batch_id}/pause", "/{batch_id}/resume", "/{batch_id}/retry")
    },
    ("DELETE", "/api/batches/{batch_id}"): batches_are_the_keys_own,
    ("GET", "/api/account"): account_is_the_keys_own,
    ("HEAD", "/api/account"): account_is_the_keys_own,
    ("GET", "/api/usage"): usage_is_the_keys_own,
    ("HEAD", "/api/usage"): usage_is_the_keys_own,
    **{
        (method, path): tells_nothing_of_accounts
        for method in ("GET", "HEAD")
        for path in (
            *PUBLIC_PAGES,
            *EDITOR_READS,
            *PEOPLE_READS,
            *PLAN_READS,
            *PANEL_READS,
            "/api/tools",
            "/healthz",
            "/readyz",
            "/metrics",
            "/openapi.json",
        )
    },
    **dict.fromkeys(EDITOR_CHANGES, tells_nothing_of_accounts),
    **{
        ("POST", path): tells_nothing_of_accounts for path in (*PEOPLE_CHANGES, *PLAN_CHANGES, *PANEL_CHANGES)
    },
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalApi]:
    with local_api(tmp_path_factory.mktemp("api")) as opened:
        yield opened


@pytest.fixture
def house(api: LocalApi) -> House:
    """Two new accounts of the module's API."""
    return House(api)


#: Prints each method and path of the whole application. In a process of its own: it sets up logging.
LIST_ROUTES = """
import json, pathlib, sys
from api.settings import Settings
from web.app import create_app
app = create_app(Settings(_env_file=None, data_dir=pathlib.Path(sys.argv[1])))
routes = [route for route in app.routes if hasattr(route, "methods")]
print(json.dumps([(method, route.path) for route in routes for method in route.methods]))
"""


def test_every_route_declares_how_it_isolates_accounts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIST_ROUTES, str(tmp_path)], capture_output=True, text=True, check=True
    )
    declared = {(method, path) for method, path in json.loads(done.stdout)}
    assert declared == set(TRIALS)


@pytest.mark.parametrize(("method", "path"), TRIALS, ids=str)
def test_a_route_isolates_accounts(house: House, method: str, path: str) -> None:
    TRIALS[method, path](house, method, path)


KEYLESS = (
    takes_no_orders_from_strangers,
    tells_nothing_of_accounts,
    fetching_needs_the_signature_of_this_picture,
)


@pytest.mark.parametrize(("method", "path"), [place for place in TRIALS if TRIALS[place] not in KEYLESS])
def test_an_invalid_key_is_refused_by_every_route_that_takes_one(
    house: House, method: str, path: str
) -> None:
    place = path.replace("{image_id}", house.image_id).replace("{tool}", "crop")
    house.api.clock.move(minutes=1)  # An address may only send so many invalid keys a minute.
    expected = 403 if path.startswith("/v1.0/") else 401  # remove.bg's clients know 403
    assert house.request(method, place, "bge_live_" + "x" * 38).status_code == expected
