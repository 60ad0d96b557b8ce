"""A team in a real browser: invited by mail, working with the account's credits, removed on two servers."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Page, expect
from sqlmodel import select

from api.calls.models import CallRecord
from api.memberships.models import Role
from billing.timestamps import utc_now
from tests.browser.conftest import PHONE, NewPage
from tests.browser.test_dashboard import PATIENCE_MS, crop, make_key, open_tab
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.browser.editing import Editor
from tests.support.browser.visitors import sign_in
from tests.support.mailbox import Mailbox, running_mailbox
from tests.support.member_rows import make_member
from tests.support.ml.photos import jpeg_bytes, photo
from tests.support.server import Customer, RunningServer, ServerFactory, free_port

#: Where to leave pictures of the pages, for looking at them.
SHOTS = os.environ.get("BGERASER_TEST_SHOTS")


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, server_factory: ServerFactory, mailbox: Mailbox
) -> Iterator[list[RunningServer]]:
    """Two processes that serve the same data, and send mail."""
    data = tmp_path_factory.mktemp("team")
    ports = free_port(), free_port()
    one, other = (
        {
            "BGERASER_WORKERS": "1",
            "BGERASER_SMTP_URL": mailbox.url,
            "BGERASER_PUBLIC_URL": f"http://127.0.0.1:{port}",
        }
        for port in ports
    )
    with server_factory(data, one, ports[0]) as first, server_factory(data, other, ports[1]) as second:
        yield [first, second]
        assert first.drifts() == []


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def choose_account(page: Page, email: str) -> None:
    """By the switch in the page's header."""
    page.locator(".switch summary").click()
    page.locator(".switch").get_by_role("button", name=email).click()
    page.wait_for_url("**/app/dashboard")


def test_a_member_is_invited_works_and_is_removed(
    page: Page, new_page: NewPage, servers: list[RunningServer], mailbox: Mailbox
) -> None:
    server = servers[0]
    owner, person = server.new_customer(credits=20), server.new_customer(credits=0)
    sign_in(page, server, owner)
    page.goto(f"{server.address}/settings")
    page.get_by_label("Email address").fill(person.email)
    page.get_by_role("button", name="Invite").click()
    expect(page.get_by_text("The invitation was sent")).to_be_visible()
    expect(page.get_by_text("invited as a member")).to_be_visible()
    assert_accessible(page)
    shoot(page, "settings-invited")

    theirs = new_page(expect_errors=True)
    sign_in(theirs, server, person)
    theirs.goto(mailbox.link("invitation"))
    expect(theirs.get_by_text(owner.email)).to_be_visible()
    assert_accessible(theirs)
    shoot(theirs, "invitation")
    theirs.get_by_role("button", name="Accept").click()
    theirs.wait_for_url("**/app/")

    # The picture is made with the account's credits, and is the account's.
    before = server.balance(owner)
    editor = Editor(theirs, server, is_open=True)
    editor.open("cat.jpg", jpeg_bytes(photo("chelsea")[:80, :80]))
    editor.choose("upscale")
    editor.apply("Enlarge")
    assert server.balance(owner) == (before[0] - 1, 0)
    with server.database.transaction() as session:
        made = session.exec(select(CallRecord).where(CallRecord.person_id == person.account_id)).one()
        assert (made.account_id, made.credits, made.key_id) == (owner.account_id, 1, None)
    theirs.locator(".account-button").click()
    expect(theirs.locator(".account-menu")).to_contain_text(f"In the account of {owner.email}, as a member.")
    expect(theirs.locator(".account-menu").get_by_role("link", name="Plans")).to_have_count(0)
    assert_accessible(theirs)
    shoot(theirs, "editor-menu")

    theirs.goto(f"{server.address}/app/dashboard")
    expect(theirs.locator("#cards")).to_contain_text("You work in the account of", timeout=PATIENCE_MS)
    for tab in ("Webhooks", "Statement"):
        expect(theirs.get_by_role("tab", name=tab, exact=True)).to_have_count(0)
    expect(theirs.locator("#usage-by-key")).to_contain_text(f"Editor, {person.email}")
    key = make_key(theirs, "of the member")
    shoot(theirs, "dashboard-member")
    row = theirs.locator(".key", has_text="of the member")
    expect(row).to_contain_text(f"by {person.email}")
    owners_row = theirs.locator(".key").filter(has_not_text="of the member").first
    expect(owners_row.get_by_role("button")).to_have_count(0)
    assert [crop(each, key).status_code for each in servers] == [200, 200]
    assert_accessible(theirs)

    for place in ("plans", "plans/invoices", "settings/statement.csv", "settings/delete"):
        answer = theirs.goto(f"{server.address}/{place}")
        assert answer is not None
        assert answer.status == 403
    shoot(theirs, "refused")

    # The owner sees whose the key is.
    page.goto(f"{server.address}/app/dashboard")
    open_tab(page, "API")
    expect(page.locator(".key", has_text="of the member")).to_contain_text(
        f"by {person.email}", timeout=PATIENCE_MS
    )
    # A page of the editor stays open while the member is removed.
    theirs.goto(f"{server.address}/app/")
    Editor(theirs, server, is_open=True)
    cookie = next(each for each in theirs.context.cookies() if each["name"] == "bgeraser_session")["value"]
    projects = httpx.get(f"{server.address}/editor/projects", cookies={"bgeraser_session": cookie}).json()[
        "data"
    ]
    page.goto(f"{server.address}/settings")
    page.get_by_role("button", name=f"Remove {person.email}").click()
    expect(page.get_by_text("The member was removed")).to_be_visible()
    assert [crop(each, key).status_code for each in servers] == [401, 401]
    for each in servers:
        left = httpx.get(
            f"{each.address}/editor/projects/{projects[0]['id']}", cookies={"bgeraser_session": cookie}
        )
        assert left.status_code == 404
        theirs.goto(f"{each.address}/app/dashboard")
        expect(theirs.locator("#cards .figure")).to_be_visible(timeout=PATIENCE_MS)
        expect(theirs.locator("#cards")).not_to_contain_text("You work in the account of")
        assert owner.email not in theirs.content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [None, PHONE], ids=["desktop", "phone"])
def test_the_pages_of_a_team_are_accessible_and_fit(
    new_page: NewPage,
    servers: list[RunningServer],
    viewport: dict[str, int] | None,
    scheme: Literal["light", "dark"],
) -> None:
    server = servers[0]
    owner = server.new_customer(credits=5)
    with server.database.transaction() as session:
        email = f"a.person.with.a.long.address.{scheme}.{bool(viewport)}@a-long-domain.example.com"
        viewer = make_member(session, owner.account_id, utc_now(), Role.VIEWER, email)
        make_member(session, owner.account_id, utc_now())
        customer = Customer(viewer.id, viewer.email, "")
    options = {"color_scheme": scheme} | ({"viewport": viewport} if viewport else {})
    name = f"{'phone' if viewport else 'desktop'}-{scheme}"
    owners, theirs = new_page(**options), new_page(**options)
    sign_in(owners, server, owner)
    owners.goto(f"{server.address}/settings")
    assert_accessible(owners)
    assert_fits(owners)
    shoot(owners, f"{name}-settings")

    sign_in(theirs, server, customer)
    theirs.goto(f"{server.address}/settings")
    theirs.locator(".switch summary").click()
    assert_accessible(theirs)
    assert_fits(theirs)
    shoot(theirs, f"{name}-switch")
    theirs.locator(".switch summary").click()
    choose_account(theirs, owner.email)
    expect(theirs.locator("#cards")).to_contain_text("change nothing", timeout=PATIENCE_MS)
    expect(theirs.get_by_role("tab", name="API", exact=True)).to_have_count(0)
    for hidden in ("API", "Webhooks", "Statement"):
        expect(theirs.get_by_role("tab", name=hidden, exact=True)).to_have_count(0)
    for shown in ("Usage", "Requests"):
        expect(theirs.get_by_role("tab", name=shown, exact=True)).to_be_visible()
    assert_accessible(theirs)
    assert_fits(theirs)
    theirs.locator(".switch summary").click()
    assert_fits(theirs)
    shoot(theirs, f"{name}-dashboard-viewer")
    theirs.goto(f"{server.address}/app/")
    Editor(theirs, server, is_open=True)
    expect(theirs.locator(".start-screen")).to_contain_text("You are a viewer in the account of")
    expect(theirs.locator(".start-screen").get_by_role("button")).to_have_count(0)
    assert_fits(theirs)
    shoot(theirs, f"{name}-editor-viewer-start")
    theirs.locator(".account-button").click()
    expect(theirs.locator(".account-menu")).to_contain_text("as a viewer")
    assert_accessible(theirs)
    shoot(theirs, f"{name}-editor-viewer")
    theirs.locator(".account-menu").get_by_role("button", name="your own").click()
    theirs.wait_for_load_state()
    Editor(theirs, server, is_open=True)
    theirs.goto(f"{server.address}/settings")
    expect(theirs.get_by_role("heading", name="Members")).to_be_visible()
