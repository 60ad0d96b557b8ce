"""Buying in a real browser: plans page, packs, simulated checkout, webhook, cancellation."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from playwright.sync_api import Dialog, Page, expect

from billing.ledger.plans import PlanName
from tests.browser.conftest import DESKTOP, PHONE, NewPage
from tests.browser.test_editor_batch import choose_square_crop, drop
from tests.fakes.stripe import lifecycle
from tests.fakes.stripe.delivery import Courier
from tests.fakes.stripe.server import serving
from tests.fakes.stripe.world import SECRET_KEY, WEBHOOK_SECRET, World
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.browser.editing import WORK_MS, Editor
from tests.support.browser.visitors import sign_in
from tests.support.server import RunningServer, StartServer
from tests.support.waiting import wait_until

POLL_MS = 30_000


class Stripe:
    """The simulator and the address its events go to, once they may."""

    def __init__(self, world: World, address: str) -> None:
        self.world = world
        self.address = address
        self.events_may_go = threading.Event()
        self.target = ""

    def post(self, payload: bytes, headers: dict[str, str]) -> bool:
        return httpx.post(f"{self.target}/stripe/webhook", content=payload, headers=headers).is_success


@contextmanager
def running_stripe() -> Iterator[Stripe]:
    world = World(int(time.time()))
    stopping = threading.Event()

    def carry() -> None:
        while not stopping.wait(0.1):
            if stripe.events_may_go.is_set():
                world.now = int(time.time())
                courier.deliver()

    with serving(world) as address:
        stripe = Stripe(world, address)
        courier = Courier(world, stripe.post)
        carrier = threading.Thread(target=carry)
        carrier.start()
        try:
            yield stripe
        finally:
            stopping.set()
            carrier.join()


@pytest.fixture
def stripe() -> Iterator[Stripe]:
    with running_stripe() as running:
        yield running


@pytest.fixture
def shop(start_server: StartServer, stripe: Stripe) -> RunningServer:
    from billing.subscriptions.gateway import StripeGateway
    from billing.subscriptions.setup import set_up

    amounts = {PlanName.STANDARD: 900, PlanName.BUSINESS: 4_900}
    set_up(
        StripeGateway(SECRET_KEY, stripe.address),
        amounts=amounts,
        currency="usd",
        webhook_url=None,
        packs={100: 500, 1_000: 3_900},
    )
    server = start_server(
        BGERASER_STRIPE_API_BASE=stripe.address,
        BGERASER_STRIPE_SECRET_KEY=SECRET_KEY,
        BGERASER_STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET,
        BGERASER_WORKERS="1",
    )
    stripe.target = server.address
    return server


def account(server: RunningServer, key: str) -> tuple[str, int]:
    answer = httpx.get(f"{server.address}/api/account", headers={"X-Api-Key": key}).json()["data"]
    return answer["plan"], answer["credits"]["available"]


def test_an_upgrade_from_the_button_to_the_credits_and_its_cancellation(
    page: Page, shop: RunningServer, stripe: Stripe
) -> None:
    customer = shop.new_customer()
    sign_in(page, shop, customer)
    page.goto(f"{shop.address}/plans")
    assert_accessible(page)
    page.get_by_role("button", name="Choose Standard").click()
    page.wait_for_url(re.compile("/pay/"), timeout=POLL_MS)
    expect(page.get_by_text("Simulation of Stripe")).to_be_visible()
    page.get_by_role("button", name="Subscribe").click()

    expect(page.get_by_text("We are waiting for Stripe")).to_be_visible(timeout=POLL_MS)
    assert account(shop, customer.key) == ("free", 15)
    assert_accessible(page)
    stripe.events_may_go.set()
    expect(page.get_by_text("You are on the Standard plan")).to_be_visible(timeout=POLL_MS)
    assert account(shop, customer.key) == ("standard", 515)

    page.goto(f"{shop.address}/plans")
    page.get_by_role("button", name="Choose Business").click()
    page.get_by_role("button", name=re.compile("Change to Business")).click()
    page.goto(f"{shop.address}/plans/return")
    wait_until(lambda: account(shop, customer.key) == ("business", 5_015))

    page.reload()
    page.get_by_role("button", name="Card, address, cancel").click()
    page.get_by_role("button", name="Cancel at the end of the period").click()
    expect(page.get_by_role("button", name="Keep it")).to_be_visible(timeout=POLL_MS)
    page.get_by_role("link", name="Return to the shop").click()
    expect(page.get_by_text("Your plan")).to_be_visible(timeout=POLL_MS)

    def shows_cancellation() -> bool:
        page.reload()
        return page.get_by_text("Cancelled. You keep it until").count() > 0

    wait_until(shows_cancellation, every_seconds=0.5)
    expect(page.get_by_text("Cancelled. You keep it until")).to_be_visible()
    assert shop.drifts() == []


def test_a_pack_is_bought_where_the_credits_run_out_and_the_same_picture_goes_on(
    new_page: NewPage, shop: RunningServer, stripe: Stripe
) -> None:
    page = new_page()
    customer = shop.new_customer(credits=0)
    sign_in(page, shop, customer)
    editor = Editor(page, shop)
    editor.open_sample("A cup of espresso")
    picture = page.url
    editor.press("Remove background")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("You have no credits left.", timeout=WORK_MS)
    packs = problem.get_by_role("group", name="Buy credits")
    expect(packs.get_by_role("button")).to_have_text(["Buy 100 credits, $5.00", "Buy 1000 credits, $39.00"])
    assert_accessible(page)
    packs.get_by_role("button", name="Buy 100 credits").click()
    page.wait_for_url(re.compile("/pay/"), timeout=POLL_MS)
    page.get_by_role("button", name="Go back without paying").click()
    page.wait_for_url(picture, timeout=POLL_MS)

    editor = Editor(page, shop, is_open=True)
    editor.press("Remove background")
    packs.get_by_role("button", name="Buy 100 credits").click(timeout=WORK_MS)
    page.wait_for_url(re.compile("/pay/"), timeout=POLL_MS)
    page.get_by_role("button", name="Pay", exact=True).click()
    # No event has arrived: the page that Stripe returns to has looked for the payment itself.
    page.wait_for_url(picture, timeout=POLL_MS)
    expect(page.locator(".topbar").get_by_role("button", name="100 credits")).to_be_visible(timeout=POLL_MS)
    editor.apply("Remove background")
    expect(page.locator(".topbar").get_by_role("button", name="99 credits")).to_be_visible()
    assert account(shop, customer.key) == ("free", 99)
    stripe.events_may_go.set()
    wait_until(lambda: stripe.world.outbox == [])

    page.goto(f"{shop.address}/app/dashboard")
    cards = page.locator("#cards")
    expect(cards).to_contain_text("99 are from packs and used last", timeout=POLL_MS)
    expect(cards.get_by_role("button", name="100 credits, $5.00")).to_be_visible()
    assert account(shop, customer.key) == ("free", 99)
    assert_accessible(page)
    assert shop.drifts() == []


def test_a_bank_debit_continues_by_itself_when_it_has_arrived(
    page: Page, shop: RunningServer, stripe: Stripe
) -> None:
    customer = shop.new_customer()
    sign_in(page, shop, customer)
    page.goto(f"{shop.address}/app/dashboard")
    page.locator("#cards").get_by_role("button", name="100 credits, $5.00").click(timeout=POLL_MS)
    page.get_by_label("a bank debit").check(timeout=POLL_MS)
    page.get_by_role("button", name="Pay", exact=True).click()
    expect(page.get_by_text("We are waiting for Stripe")).to_be_visible(timeout=POLL_MS)
    assert account(shop, customer.key) == ("free", 15)
    assert_accessible(page)
    stripe.events_may_go.set()
    with stripe.world.lock:
        session = next(stripe.world.all("checkout.session", mode="payment"))
        lifecycle.settle_slow_payment(stripe.world, session, succeeds=True)
    page.wait_for_url(f"{shop.address}/app/dashboard", timeout=POLL_MS)
    expect(page.locator("#cards")).to_contain_text("100 are from packs", timeout=POLL_MS)
    assert account(shop, customer.key) == ("free", 115)


def test_a_batch_that_is_not_started_is_kept_while_its_credits_are_bought(
    new_page: NewPage, shop: RunningServer, stripe: Stripe
) -> None:
    page = new_page(viewport=PHONE)
    customer = shop.new_customer(credits=1)
    sign_in(page, shop, customer)
    Editor(page, shop)
    questions: list[str] = []

    def answer(dialog: Dialog) -> None:
        questions.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    drop(page, "a.png", "b.png", "c.png")
    choose_square_crop(page)
    packs = page.locator(".batch-panel").get_by_role("group", name="Buy credits")
    expect(packs.get_by_role("button")).to_have_text(["Buy 100 credits, $5.00", "Buy 1000 credits, $39.00"])
    assert_accessible(page)
    assert_fits(page)
    packs.get_by_role("button", name="Buy 100 credits").click()
    page.wait_for_url(re.compile("/pay/"), timeout=POLL_MS)
    page.get_by_role("button", name="Pay", exact=True).click()
    page.wait_for_url(f"{shop.address}/app/#batch", timeout=POLL_MS)
    expect(page.locator(".batch-item .name")).to_have_text(["a.png", "b.png", "c.png"], timeout=POLL_MS)
    expect(page.locator(".step summary").first).to_have_text("1. Crop & rotate")
    expect(page.locator(".batch-panel .cost")).to_contain_text("You have 101.")
    expect(packs).to_have_count(0)
    assert questions == []
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".batch-status")).to_contain_text("3", timeout=WORK_MS)
    wait_until(lambda: account(shop, customer.key) == ("free", 98))
    assert shop.drifts() == []


def test_a_blocked_batch_offers_packs(new_page: NewPage, shop: RunningServer, stripe: Stripe) -> None:
    page = new_page(viewport=PHONE, color_scheme="dark")
    customer = shop.new_customer(credits=1)
    sign_in(page, shop, customer)
    Editor(page, shop)
    drop(page, "a.png", "b.png")
    choose_square_crop(page)
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".batch-status")).to_have_text("Waiting for credits: 1 of 2 done", timeout=WORK_MS)
    packs = page.locator(".batch-run").get_by_role("group", name="Buy credits")
    batch = page.url
    assert_accessible(page)
    assert_fits(page)
    packs.get_by_role("button", name="Buy 100 credits").click()
    page.wait_for_url(re.compile("/pay/"), timeout=POLL_MS)
    page.get_by_role("button", name="Pay", exact=True).click()
    page.wait_for_url(batch, timeout=POLL_MS)
    expect(page.locator(".batch-run")).to_contain_text("2 credits charged.", timeout=2 * WORK_MS)
    assert account(shop, customer.key) == ("free", 99)
    assert shop.drifts() == []


@pytest.mark.parametrize(
    ("size", "color_scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"]
)
def test_invoices_fit_the_page_and_are_paged(
    new_page: NewPage, shop: RunningServer, stripe: Stripe, size: dict[str, int], color_scheme: str
) -> None:
    page = new_page(viewport=size, color_scheme=color_scheme)
    sign_in(page, shop, shop.new_customer())
    page.goto(f"{shop.address}/plans")
    page.get_by_role("button", name="100 credits, $5.00", exact=True).click()
    page.wait_for_url(re.compile("/pay/"), timeout=POLL_MS)
    with stripe.world.lock:
        (session,) = stripe.world.all("checkout.session")
        session["success_url"] = f"{shop.address}/plans"
    page.get_by_role("button", name="Pay", exact=True).click()
    page.wait_for_url(f"{shop.address}/plans", timeout=POLL_MS)
    with stripe.world.lock:
        (invoice,) = stripe.world.all("invoice")
        for number in range(11):
            stripe.world.add({**invoice, "id": f"in_sim{number}", "number": f"SIM-{number:04}"})
    rows = page.locator(".invoices tbody tr")
    expect(rows).to_have_count(1)
    page.goto(f"{shop.address}/plans/invoices")
    # The page read a moment ago is kept.
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("Pack of 100 credits")
    expect(rows.first).to_contain_text("$5.00")
    assert_fits(page)
    assert_accessible(page)
    # Another beginning was not read yet.
    page.goto(f"{shop.address}/plans/invoices?after=in_sim10")
    expect(rows).to_have_count(10)
    page.get_by_role("link", name="Older invoices").click()
    expect(rows).to_have_count(1)
    expect(page.get_by_role("heading", name="Older invoices")).to_be_visible()
    assert_fits(page)
    assert_accessible(page)


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_the_pages_with_packs_fit_a_phone(new_page: NewPage, shop: RunningServer, color_scheme: str) -> None:
    page = new_page(viewport=PHONE, color_scheme=color_scheme)
    sign_in(page, shop, shop.new_customer(credits=0))
    page.goto(f"{shop.address}/plans")
    expect(page.get_by_role("heading", name="Credit packs")).to_be_visible()
    assert_fits(page)
    assert_accessible(page)
    editor = Editor(page, shop)
    editor.open_sample("A cup of espresso")
    editor.press("Remove background")
    expect(page.get_by_role("group", name="Buy credits")).to_be_visible(timeout=WORK_MS)
    assert_fits(page)
    assert_accessible(page)


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_the_plans_page_fits_a_phone_in_light_and_dark(
    new_page: NewPage, server: RunningServer, color_scheme: str
) -> None:
    page = new_page(viewport=PHONE, color_scheme=color_scheme)
    sign_in(page, server, server.new_customer())
    page.goto(f"{server.address}/plans")
    expect(page.get_by_text("Plans cannot be bought on this server")).to_be_visible()
    assert_fits(page)
    assert_accessible(page)
