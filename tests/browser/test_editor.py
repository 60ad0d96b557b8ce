"""Complete workflows in the editor, with the real models and a real browser."""

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from ml.pixels import Pixels
from tests.browser.conftest import PHONE, NewPage
from tests.support.browser.accessibility import assert_accessible, assert_fits
from tests.support.browser.editing import WORK_MS, Editor
from tests.support.browser.visitors import sign_in
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import Customer, RunningServer


def file_pixels(path: Path) -> Pixels:
    return open_bytes(path.read_bytes())


def test_a_background_is_removed_colored_and_saved_for_one_credit(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    editor.open("Morning cup.jpg", jpeg_bytes(photo("coffee")))
    expect(editor.page.locator(".cost")).to_contain_text("1 credit, 15 left")
    editor.apply("Remove background")
    expect(editor.page.get_by_text(re.compile(r"Cut out, \d+ % sure"))).to_be_visible()
    saved = editor.save(tmp_path)
    assert saved.name == "Morning cup-cutout.png"
    assert file_pixels(saved).shape == (400, 600, 4)
    editor.press("Color")
    expect(editor.page.locator(".filmstrip li")).to_have_count(3)
    editor.page.get_by_role("button", name="Background #1f3a5f").click()
    expect(editor.page.get_by_text("Changes are free.")).to_be_visible()
    colored = file_pixels(editor.save(tmp_path, "PNG"))
    assert colored[2, 2].tolist()[:3] == [0x1F, 0x3A, 0x5F]
    assert editor.steps() == 4  # white is the colour that is proposed
    assert server.balance(customer) == (14, 0)


def test_a_clicked_object_is_removed(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    scene = np.full((480, 640, 3), (90, 140, 90), np.uint8)
    scene += np.random.default_rng(3).integers(0, 24, scene.shape, np.uint8)
    rows, columns = np.ogrid[:480, :640]
    scene[(rows - 240) ** 2 + (columns - 320) ** 2 < 70**2] = (200, 30, 30)
    editor.open("ball.jpg", jpeg_bytes(scene))
    editor.choose("magic-select")
    editor.click(320, 240)
    expect(editor.page.get_by_text("% sure")).to_be_visible(timeout=WORK_MS)
    assert server.balance(customer) == (15, 0)
    editor.apply("Remove object")
    pixels = file_pixels(editor.save(tmp_path, "PNG")).astype(int)
    assert (pixels[..., 0] - pixels[..., 1] > 60).mean() < 0.001
    assert server.balance(customer) == (14, 0)


def test_an_image_is_expanded_to_16_by_9(editor: Editor, tmp_path: Path) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose("generative-expand")
    editor.press("16:9")
    expect(editor.page.locator(".sizes")).to_have_text("600 × 400 → 711 × 400")
    editor.apply("Extend")
    saved = editor.save(tmp_path)
    assert saved.name == "cup-extended.jpg"  # no transparency: the type it came in
    assert file_pixels(saved).shape == (400, 711, 3)


def test_crop_upscale_and_download_at_full_resolution(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    large = np.kron(photo("coffee"), np.ones((6, 6, 1), np.uint8))  # 2400 x 3600: more than any preview
    editor.open("large.jpg", jpeg_bytes(large))
    editor.choose("crop")
    editor.press("1:1")
    editor.apply("Crop")
    editor.page.get_by_label("Open another picture").click()
    editor.open("small.jpg", jpeg_bytes(photo("coffee")[:200, :300]))
    editor.choose("upscale")
    expect(editor.page.locator(".sizes")).to_contain_text("600 × 400")
    editor.apply("Enlarge")
    assert file_pixels(editor.save(tmp_path, "WebP")).shape == (400, 600, 3)
    editor.page.get_by_label("Open another picture").click()
    editor.page.get_by_role("button", name="large.jpg").first.click()
    editor.shown()
    expect(editor.page.locator(".filmstrip li")).to_have_count(2)
    assert file_pixels(editor.save(tmp_path, "AVIF")).shape == (2400, 2400, 3)
    assert server.balance(customer) == (14, 0)


def test_an_interrupted_connection_neither_loses_nor_repeats_a_paid_run(
    new_page: NewPage, server: RunningServer, customer: Customer
) -> None:
    """The answer to the start is lost, and so are two polls: the step still comes, for one credit."""
    page = new_page(expect_errors=True)
    sign_in(page, server, customer)
    editor = Editor(page, server)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    lost: list[str] = []

    def lose(route: Route) -> None:
        request = route.request
        if [method for method in lost if method == request.method] == ["GET"] * 2 or (
            request.method == "POST" and "POST" in lost
        ):
            route.continue_()
            return
        lost.append(request.method)
        if request.method == "POST":
            route.fetch()  # the server starts the run, but its answer does not arrive
        route.abort()

    editor.page.route(re.compile("/runs"), lose)
    editor.apply("Remove background")
    assert sorted(lost) == ["GET", "GET", "POST"]
    assert (editor.steps(), server.balance(customer)) == (2, (14, 0))
    expect(editor.page.locator(".message.problem")).to_have_count(0)


@pytest.mark.long
def test_a_run_whose_tab_was_closed_is_followed_by_the_next_one(
    new_page: NewPage, server: RunningServer, customer: Customer
) -> None:
    page = new_page()
    sign_in(page, server, customer)
    editor = Editor(page, server)
    # Takes longer than the other tab to open.
    editor.open("cup.jpg", jpeg_bytes(np.tile(photo("coffee"), (3, 3, 1))))
    address = page.url
    editor.choose("upscale")
    with page.expect_response(lambda response: response.url.endswith("/runs")):
        editor.press("Enlarge")
    other = page.context.new_page()
    page.close()
    other.goto(address)
    expect(other.locator(".filmstrip li")).to_have_count(2, timeout=WORK_MS)
    expect(other.get_by_role("status").filter(has_text="Enlarge: done. 1 credit.")).to_be_visible()
    assert server.balance(customer) == (14, 0)


def test_the_settings_of_one_picture_do_not_apply_to_the_next(editor: Editor) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.press("Color")
    swatch = editor.page.get_by_role("button", name="Background #1f3a5f")
    expect(swatch).to_be_visible()
    editor.page.get_by_label("Open another picture").click()
    editor.open("cat.jpg", jpeg_bytes(photo("chelsea")))
    expect(swatch).to_have_count(0)
    none = editor.page.get_by_role("group", name="Background").get_by_role("button", name="None")
    expect(none).to_have_attribute("aria-pressed", "true")


def test_no_further_expansion_is_proposed_after_one(editor: Editor) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose("generative-expand")
    editor.apply("Extend")
    expect(editor.page.locator(".sizes")).to_have_text("750 × 500 → 750 × 500")
    expect(editor.page.locator(".panel").get_by_role("button", name="Extend")).to_be_disabled()


def test_the_zoom_is_kept_when_the_tool_changes(editor: Editor) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    scale = editor.page.locator(".zoom .scale")
    expect(editor.page.locator(".stage.loading")).to_have_count(0)
    editor.page.keyboard.press("+")
    zoomed = scale.inner_text()
    editor.choose("brush")
    expect(scale).to_have_text(zoomed)


def test_tab_reaches_every_control_from_the_image(editor: Editor) -> None:
    page = editor.page
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    page.locator(".stage").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").startswith("Remove background"):
            break
    else:
        raise AssertionError("Tab never reaches the button that applies the tool")


def test_cancelling_releases_the_credit(editor: Editor, server: RunningServer, customer: Customer) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose("upscale")
    editor.press("4×")
    editor.press("Quality")
    editor.press("Enlarge")
    expect(editor.page.get_by_text("Upscaling,")).to_be_visible(timeout=WORK_MS)
    assert server.balance(customer) == (14, 1)
    editor.press("Cancel")
    expect(editor.page.get_by_text("Nothing was charged").last).to_be_visible(timeout=WORK_MS)
    assert editor.steps() == 1
    assert server.balance(customer) == (15, 0)


def test_the_history_survives_a_reload_and_can_branch(editor: Editor) -> None:
    page = editor.page
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose("crop")
    editor.press("1:1")
    editor.apply("Crop")
    page.keyboard.press("Control+z")
    expect(page.locator(".filmstrip li").nth(0).locator("[aria-current]")).to_be_visible()
    page.keyboard.press("Control+Shift+z")
    expect(page.locator(".filmstrip li").nth(1).locator("[aria-current]")).to_be_visible()
    page.get_by_label("Start over").click()
    editor.press("4:3")
    editor.apply("Crop")
    page.reload()
    editor.shown()
    expect(page.locator(".filmstrip li")).to_have_count(3)
    expect(page.get_by_role("button", name="3. Crop & rotate, from step 1")).to_have_attribute(
        "aria-current", "step"
    )


def test_drawn_strokes_and_the_shown_command_give_the_same_bytes(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    page = editor.page
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose("brush")
    editor.drag((100, 100), (250, 180), (260, 300))
    editor.drag((400, 90), (450, 120))
    page.keyboard.press("Control+z")  # the second stroke
    page.get_by_label("The same with the API").click()
    page.get_by_role("button", name="Make a key").click()
    expect(page.get_by_text("A new key is in the text above")).to_be_visible()
    command = page.locator("dialog pre").inner_text()
    page.keyboard.press("Escape")
    editor.apply("Apply strokes")
    saved = editor.save(tmp_path, "PNG")
    subprocess.run(["/bin/sh", "-c", f"cd {shlex.quote(str(tmp_path))} && {command} --silent"], check=True)
    assert (tmp_path / "result.png").read_bytes() == saved.read_bytes()
    alpha = file_pixels(saved)[..., 3]
    assert alpha[140, 175] == 0
    assert alpha[105, 425] == 255
    assert server.balance(customer) == (14, 0)  # the command's call; in the editor it is free


def test_two_concurrent_users_never_see_each_others_images(new_page: NewPage, server: RunningServer) -> None:
    editors = []
    for level in (60, 190):
        page = new_page(expect_errors=True)
        sign_in(page, server, server.new_customer())
        editor = Editor(page, server)
        editor.open(f"{level}.jpg", jpeg_bytes(np.full((120, 160, 3), level, np.uint8)))
        editors.append(editor)
    for editor in editors:
        editor.choose("crop")
        editor.press("1:1")
        editor.press("Crop")
    for editor, level in zip(editors, (60, 190), strict=True):
        expect(editor.page.locator(".filmstrip li")).to_have_count(2, timeout=WORK_MS)
        for image in editor.page.locator(".filmstrip img").all():
            source = editor.page.evaluate("image => image.src", image.element_handle())
            content = editor.page.request.get(source).body()
            assert abs(int(open_bytes(content).mean()) - level) < 4
    first, second = editors
    second.page.goto(first.page.url)
    second.page.reload()
    expect(second.page.get_by_role("heading", name="Open a picture")).to_be_visible()
    expect(second.page.locator(".workplace")).to_be_hidden()


def test_a_guest_edits_a_sample_and_keeps_an_uploaded_image_by_signing_up(
    page: Page, server: RunningServer
) -> None:
    guest = Editor(page, server)
    guest.open_sample("Chelsea the cat")
    guest.apply("Remove background")
    page.get_by_label("Open another picture").click()
    guest.open("mine.jpg", jpeg_bytes(photo("coffee")))
    page.locator(".panel").get_by_role("link", name="Sign up").click()
    page.locator("input[name=email]").fill("guest@example.com")
    page.locator("input[type=password]").fill("correct horse battery staple")
    page.keyboard.press("Enter")
    page.locator("a[href*='/verify?token']").click()
    page.locator("main form button").click()
    expect(page.locator(".cost")).to_contain_text("15 left", timeout=20_000)
    guest.apply("Remove background")
    expect(page.locator(".account")).to_contain_text("14")
    page.get_by_label("Open another picture").click()
    expect(page.locator(".recent .sample")).to_have_count(2)


def test_without_credits_the_plans_are_shown(new_page: NewPage, server: RunningServer) -> None:
    page = new_page()
    sign_in(page, server, server.new_customer(credits=0))
    editor = Editor(page, server)
    editor.open_sample("A cup of espresso")
    editor.press("Remove background")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("You have no credits left.", timeout=WORK_MS)
    expect(problem.locator("p")).not_to_contain_text(re.compile("[A-Z]_[A-Z]"))  # codes are for programs
    expect(problem.get_by_role("link", name="See the plans")).to_have_attribute("href", "/plans")


def test_an_unreadable_file_is_explained(new_page: NewPage, server: RunningServer) -> None:
    page = new_page(expect_errors=True)
    page.clock.install()
    sign_in(page, server, server.new_customer())
    editor = Editor(page, server)
    file = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": jpeg_bytes(photo("coffee"))[:4000]}
    page.get_by_label("Picture", exact=True).set_input_files(file)  # type: ignore[arg-type]
    expect(page.get_by_role("alert")).to_contain_text("damaged")
    page.clock.fast_forward(31_000)
    expect(page.get_by_role("alert")).to_have_count(0)  # messages expire
    page.get_by_label("Picture", exact=True).set_input_files(file)  # type: ignore[arg-type]
    expect(page.get_by_role("alert")).to_contain_text("damaged")
    expect(editor.page.get_by_role("heading", name="Open a picture")).to_be_visible()
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tool_is_accessible_and_fits_a_phone(
    new_page: NewPage, server: RunningServer, scheme: str
) -> None:
    page = new_page(viewport=PHONE, color_scheme=scheme, has_touch=True)
    editor = Editor(page, server)
    assert_accessible(page)
    assert_fits(page)
    editor.open_sample("A cup of espresso")
    for button in page.locator(".rail button").all():
        button.click()
        assert_accessible(page)
        assert_fits(page)


def test_keyboard_shortcuts_set_the_size_and_show_the_original(editor: Editor) -> None:
    page = editor.page
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    page.keyboard.press("7")
    size = page.locator(".slider output").first
    before = size.inner_text()
    page.keyboard.press("]")
    expect(size).not_to_have_text(before)
    page.keyboard.press("[")
    page.keyboard.press("Shift+?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_crop_frames_are_dragged_by_their_handles(editor: Editor) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    sizes = editor.page.locator(".sizes")
    editor.choose("crop")
    expect(sizes).to_have_text("600 × 400")
    editor.drag((600, 400), (450, 320))
    expect(sizes).to_have_text(re.compile("^(449|450|451) × (319|320|321)$"))
    editor.choose("generative-expand")
    expect(sizes).to_contain_text("750 × 500")
    editor.press("2×")
    expect(sizes).to_contain_text("1200 × 800")


def test_flip_buttons_show_whether_they_are_pressed(editor: Editor) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose("crop")
    flip = editor.page.get_by_role("button", name="Flip horizontally")
    expect(flip).to_have_attribute("aria-pressed", "false")
    flip.click()
    expect(flip).to_have_attribute("aria-pressed", "true")
    flip.click()
    expect(flip).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize(("tool", "way"), [("magic-select", None), ("generative-fill", "Click")])
def test_escape_cancels_a_pending_selection(editor: Editor, tool: str, way: str | None) -> None:
    page = editor.page
    page.route("**/overlay", lambda _: None)  # It is never answered.
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose(tool)
    if way is not None:
        editor.press(way)
    editor.click(300, 150)
    waiting = page.get_by_role("status").filter(has_text="…").and_(page.locator(".panel .note"))
    expect(waiting).to_have_count(1)
    page.keyboard.press("Escape")
    expect(waiting).to_have_count(0)


def test_an_idle_editor_uses_little_cpu(editor: Editor) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.page.wait_for_timeout(3000)  # what opening set off comes to its end
    session = editor.page.context.new_cdp_session(editor.page)
    session.send("Performance.enable")

    def busy_and_now() -> tuple[float, float]:
        metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        return metrics["TaskDuration"], metrics["Timestamp"]

    busy, now = busy_and_now()
    editor.page.wait_for_timeout(4000)
    later_busy, later = busy_and_now()
    assert (later_busy - busy) / (later - now) < 0.05  # of one core
