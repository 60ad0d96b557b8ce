"""The batch tab: drop pictures, choose steps, follow the batch over a reload, and fetch its results."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Dialog, Page, Route, expect

from billing.ledger.plans import PlanName
from tests.browser.conftest import PHONE, NewPage
from tests.support.batch_calls import batch_of, send_batch
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.browser.editing import WORK_MS, Editor
from tests.support.browser.visitors import sign_in
from tests.support.ml.photos import open_bytes, png_bytes
from tests.support.server import RunningServer

_DROP = """async ({ names, damaged, side }) => {
    const canvas = new OffscreenCanvas(side * 1.5, side);
    const data = new DataTransfer();
    for (const [at, name] of names.entries()) {
        const context = canvas.getContext("2d");
        context.fillStyle = `hsl(${at * 50} 60% 50%)`;
        context.fillRect(0, 0, side * 1.5, side);
        const content = await canvas.convertToBlob({ type: "image/png" });
        data.items.add(new File([content], name, { type: "image/png" }));
    }
    const signature = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0]);
    for (const name of damaged) data.items.add(new File([signature], name, { type: "image/png" }));
    window.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
}"""


def drop(page: Page, *names: str, damaged: tuple[str, ...] = ()) -> None:
    """Drop small pictures of these names, and files that only begin like pictures, on the page."""
    page.evaluate(_DROP, {"names": names, "damaged": damaged, "side": 40})


def choose_square_crop(page: Page) -> None:
    """A square crop instead of the background removal that a new batch has."""
    steps = page.locator(".batch-panel")
    steps.locator("[data-add=crop]").click()
    steps.get_by_role("button", name="Remove step 1").click()
    steps.get_by_label("Around the subject").uncheck()


def test_a_batch_survives_a_reload_and_its_results_are_downloaded(
    new_page: NewPage, server: RunningServer, tmp_path: Path
) -> None:
    page = new_page()
    customer = server.new_customer(credits=10)
    sign_in(page, server, customer)
    Editor(page, server)
    drop(page, *(f"cup {number}.png" for number in range(1, 6)), damaged=("bad.png",))
    expect(page.locator(".batch-item")).to_have_count(6)
    expect(page.get_by_role("heading", name="6 pictures")).to_be_visible()
    choose_square_crop(page)
    expect(page.locator(".batch-panel .cost")).to_contain_text(
        "6 pictures × 1 step = 6 credits. You have 10."
    )
    assert_accessible(page)
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".batch-run")).to_be_visible(timeout=WORK_MS)
    page.reload()  # the server goes on by itself
    status = page.locator(".batch-status")
    expect(status).to_have_text("Finished: 5 of 6 done, 1 failed", timeout=WORK_MS)
    failed = page.locator(".batch-item[data-status=failed]")
    expect(failed.locator(".name")).to_have_text("bad.png")
    expect(failed.locator(".why")).to_have_text(re.compile("cannot be read as a picture"))
    expect(page.locator(".batch-item[data-status=succeeded] img")).to_have_count(5)
    assert server.balance(customer) == (5, 0)
    expect(page.locator(".account-button")).to_have_text(re.compile("^5"))
    assert_accessible(page)
    page.get_by_role("button", name="Retry 1 failed").click()
    expect(status).to_have_text("Finished: 5 of 6 done, 1 failed", timeout=WORK_MS)
    page.get_by_role("button", name="1 failed", exact=True).click()
    expect(page.locator(".batch-item")).to_have_count(1)
    with page.expect_download(timeout=WORK_MS) as started:
        page.get_by_role("link", name="Download 5 pictures (ZIP)").click()
    packed = tmp_path / "results.zip"
    started.value.save_as(packed)
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == [f"cup {number}.png" for number in range(1, 6)]
        colors = {tuple(open_bytes(archive.read(name))[0, 0, :3]) for name in archive.namelist()}
        shapes = {open_bytes(archive.read(name)).shape[:2] for name in archive.namelist()}
    assert (len(colors), shapes) == (5, {(40, 40)})
    assert server.balance(customer) == (5, 0)
    # It is among the recent ones, and each result can be edited on.
    page.get_by_role("button", name="All batches").click()
    page.get_by_role("button", name="Crop", exact=False).first.click()
    page.get_by_role("button", name="Open cup 1.png in the editor").click()
    expect(page.locator(".workplace")).to_be_visible(timeout=30_000)
    expect(page.locator(".batch")).to_be_hidden()


def test_pictures_that_were_not_started_are_not_lost_without_a_question(
    new_page: NewPage, server: RunningServer
) -> None:
    page = new_page()
    sign_in(page, server, server.new_customer())
    Editor(page, server)
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    drop(page, "a.png", "b.png")
    expect(page.locator(".batch-item")).to_have_count(2)
    choose_square_crop(page)  # browsers ask only on pages that were used
    page.reload()
    assert asked == ["beforeunload"]


def test_a_batch_without_enough_credits_waits_and_can_be_cancelled(
    new_page: NewPage, server: RunningServer
) -> None:
    page = new_page(viewport=PHONE, color_scheme="dark")
    sign_in(page, server, server.new_customer(credits=2))
    Editor(page, server)
    page.get_by_role("button", name="Many pictures").click()
    drop(page, "a.png", "b.png", "c.png")
    choose_square_crop(page)
    cost = page.locator(".batch-panel .cost")
    expect(cost).to_contain_text("You have 2. After 2 credits the rest waits until you have more.")
    expect(cost.get_by_role("link", name="See the plans")).to_be_visible()
    assert_accessible(page)
    assert_fits(page)
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".batch-status")).to_have_text("Waiting for credits: 2 of 3 done", timeout=WORK_MS)
    expect(page.locator(".batch-run .note")).to_contain_text("Your credits are used up.")
    assert_accessible(page)
    assert_fits(page)
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()

    def with_released_credits(route: Route) -> None:
        answer = route.fetch().json()
        answer["data"]["creditsAvailable"] = 7  # as if the last picture had been running
        route.fulfill(json=answer)

    page.route("**/cancel", with_released_credits)
    page.get_by_role("button", name="Cancel the batch").click()
    expect(page.locator(".batch-status")).to_have_text("Cancelled: 2 of 3 done")
    expect(page.locator(".account-button")).to_have_text(re.compile("^7"))
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("group", name="Delete the batch?")).to_contain_text("Delete it with 2 results?")
    assert_accessible(page)
    assert_fits(page)
    page.get_by_role("button", name="Delete the batch").click()
    expect(page.locator(".batch-draft")).to_be_visible()
    expect(page.locator(".batch-run")).to_be_hidden()
    page.reload()
    expect(page.get_by_role("heading", name="Many pictures at once")).to_be_visible(timeout=20_000)
    expect(page.locator(".recent-batches li")).to_have_count(0)


@pytest.mark.long
def test_a_batch_that_was_deleted_in_another_tab_is_left_with_a_message(
    new_page: NewPage, server: RunningServer
) -> None:
    page = new_page(expect_errors=True)  # the browser logs the answers with 404
    customer = server.new_customer(credits=3)
    sign_in(page, server, customer)
    Editor(page, server)
    run = page.locator(".batch-run")
    delete = """async (id) => {
        const { data } = await (await fetch("/editor/session")).json();
        const headers = { "X-CSRF-Token": data.csrfToken };
        return (await fetch(`/editor/batches/${id}`, { method: "DELETE", headers })).status;
    }"""
    notices = page.locator(".messages .message p")

    def confirm_deletion() -> None:
        run.get_by_role("button", name="Delete", exact=True).click()
        run.get_by_role("button", name="Delete the batch").click()

    noticings = (
        lambda: page.evaluate("window.dispatchEvent(new Event('focus'))"),
        lambda: run.get_by_role("link", name="Download 1 picture (ZIP)").click(),
        confirm_deletion,
    )
    picture = png_bytes(np.full((20, 30, 3), 90, np.uint8))
    for notice in noticings:
        batch_id = batch_of(send_batch(server, customer, [("cup.png", picture)]))
        page.goto(f"{server.address}/app/#{batch_id}")
        expect(run).to_be_visible(timeout=20_000)
        expect(run.locator(".batch-status")).to_have_text("Finished: 1 of 1 done", timeout=WORK_MS)
        assert page.evaluate(delete, batch_id) == 200
        notice()
        expect(notices).to_have_text("This batch was deleted or has expired.")
        expect(page.locator(".batch-draft")).to_be_visible()
        expect(run).to_be_hidden()
        expect(notices).to_have_count(0, timeout=10_000)


def test_a_guests_pictures_and_steps_are_there_after_signing_up(page: Page, server: RunningServer) -> None:
    Editor(page, server)
    drop(page, "first.png", "second.png")
    choose_square_crop(page)
    expect(page.get_by_role("button", name="Start")).to_have_count(0)
    page.get_by_role("link", name="Sign up to start").click()
    page.wait_for_url(re.compile(r"/signup\?next=%2Fapp%2F%23batch$"))
    sign_in(page, server, server.new_customer(PlanName.STANDARD))
    page.goto(f"{server.address}/app/#batch")
    expect(page.locator(".batch-item .name")).to_have_text(["first.png", "second.png"], timeout=20_000)
    expect(page.locator(".step summary").first).to_have_text("1. Crop & rotate")
    page.get_by_role("button", name="Remove first.png").click()
    expect(page.get_by_role("button", name="Remove second.png")).to_be_focused()
    page.get_by_role("button", name="Open only second.png in the editor").click()
    expect(page.locator(".workplace")).to_be_visible(timeout=30_000)


def test_the_steps_of_the_open_picture_are_offered_and_a_large_folder_is_shown_in_pages(
    editor: Editor, tmp_path: Path
) -> None:
    page = editor.page
    folder = tmp_path / "shoes"
    folder.mkdir()
    for number in range(120):
        (folder / f"{number}.png").write_bytes(png_bytes(np.full((4, 6, 3), number, np.uint8)))
    (folder / "prices.txt").write_text("not a picture")
    editor.open_sample("Product picture")
    editor.choose("crop")
    editor.press("1:1")
    editor.apply("Crop & rotate")
    page.get_by_role("button", name="Batch", exact=True).click()
    page.get_by_label("Folder of the batch").set_input_files(folder)
    expect(page.locator(".batch-item")).to_have_count(50)
    expect(page.locator(".batch-item .name").nth(10)).to_have_text("shoes/10.png")
    expect(page.locator(".messages")).to_contain_text("1 file that cannot be a picture")
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".pager span")).to_have_text(re.compile("^51.100 of 120$"))
    page.get_by_role("button", name="Do the same as to coffee.jpg").click()
    expect(page.locator(".step")).to_have_count(1)
    expect(page.locator(".step")).to_contain_text("The same part of each picture")
    expect(page.locator(".batch-panel .cost")).to_contain_text("120 pictures × 1 step = 120 credits.")
    page.go_back()
    expect(page.locator(".workplace")).to_be_visible()
    expect(page.locator(".batch")).to_be_hidden()
