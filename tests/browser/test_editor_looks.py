"""Cut-outs in the editor as objects: their looks, retouching, selections and the place of the subject."""

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import NewPage
from tests.support.browser.editing import WORK_MS, Editor
from tests.support.browser.visitors import sign_in
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import Customer, RunningServer
from tests.support.waiting import wait_until


def saved(editor: Editor, folder: Path) -> np.ndarray:
    return open_bytes(editor.save(folder, "PNG").read_bytes()).astype(int)


def color(editor: Editor, name: str) -> None:
    editor.page.get_by_role("button", name=f"Background {name}").click()


def on_white(editor: Editor) -> None:
    """The cut-out on white, which is the colour that is proposed."""
    before = editor.steps()
    editor.press("Color")
    recorded(editor, before + 1)


def recorded(editor: Editor, steps: int) -> None:
    """The looks that were chosen have become steps."""
    expect(editor.page.locator(".filmstrip li")).to_have_count(steps, timeout=20_000)


def at(editor: Editor, x: float, y: float) -> list[int]:
    """The colour that the stage shows at a pixel of the picture."""
    left, top = editor.place(x, y)
    found: list[int] = editor.page.evaluate(
        """async ([x, y]) => {
            await new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)));
            const canvas = document.querySelector(".stage canvas");
            const box = canvas.getBoundingClientRect();
            const ratio = canvas.width / box.width;
            const place = [(x - box.x) * ratio, (y - box.y) * ratio];
            return [...canvas.getContext("2d").getImageData(...place, 1, 1).data];
        }""",
        [left, top],
    )
    return found


def test_a_cutout_is_colored_retouched_and_undone_for_one_credit(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    cup = jpeg_bytes(photo("coffee"))
    editor.open("Morning cup.jpg", cup)
    editor.apply("Remove background")
    on_white(editor)
    color(editor, "#1f3a5f")
    recorded(editor, 4)
    color(editor, "#ffd84d")
    recorded(editor, 5)
    # Undo goes back to the colour before, not to the photo.
    editor.page.keyboard.press("Control+z")
    assert saved(editor, tmp_path)[2, 2].tolist() == [0x1F, 0x3A, 0x5F]
    editor.choose("brush")
    editor.press("Restore")
    editor.drag((40, 40), (90, 60))
    editor.apply("Apply strokes")
    restored = saved(editor, tmp_path)
    assert restored[2, 2].tolist() == [0x1F, 0x3A, 0x5F], "retouching keeps the background"
    assert np.abs(restored[45, 55] - open_bytes(cup)[45, 55]).max() < 12
    editor.choose("bg-removal")
    expect(editor.page.get_by_text("Changes are free.")).to_be_visible()
    expect(editor.page.locator(".panel").get_by_role("button", name="Remove background")).to_have_count(0)
    before = editor.steps()
    color(editor, "#cfe8d5")
    recorded(editor, before + 1)
    green = saved(editor, tmp_path)
    assert green[2, 2].tolist() == [0xCF, 0xE8, 0xD5]
    assert np.abs(green[45, 55] - open_bytes(cup)[45, 55]).max() < 12, "what was restored stays"
    assert server.balance(customer) == (14, 0)


def test_colors_are_shown_at_once_and_never_refused(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    editor.press("Color")
    editor.page.wait_for_load_state("networkidle")
    # While the server does not answer, too: a look is drawn here.
    held: list[Route] = []
    editor.page.route(re.compile("/looks"), lambda route: held.append(route))  # noqa: PLW0108 - no builtin is accepted
    for name in ("#1f3a5f", "#ffd84d", "#000000"):
        color(editor, name)
        assert at(editor, 4, 4)[:3] == [int(name[digit : digit + 2], 16) for digit in (1, 3, 5)]
    for route in held:
        route.continue_()  # before `unroute`, which continues what is still held
    editor.page.unroute(re.compile("/looks"))
    for name in ("#ffffff", "#1f3a5f") * 8 + ("#cfe8d5",):
        color(editor, name)
    assert saved(editor, tmp_path)[2, 2].tolist() == [0xCF, 0xE8, 0xD5]
    expect(editor.page.locator(".message.problem")).to_have_count(0)
    assert server.balance(customer) == (14, 0)


def test_without_a_network_a_scene_waits_for_the_server_and_says_so(
    new_page: NewPage, server: RunningServer, customer: Customer
) -> None:
    page = new_page(expect_errors=True)  # the browser logs the requests that fail
    sign_in(page, server, customer)
    editor = Editor(page, server)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    page.wait_for_load_state("networkidle")
    plain = at(editor, 4, 4)
    page.context.set_offline(True)
    editor.press("Scene")
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("The server cannot be reached. Check your network connection.")
    unsaved = page.locator(".message p", has_text="Not saved yet: the server cannot be reached.")
    expect(unsaved).to_be_visible()
    # A download waits for it, and says so for longer than notices are shown otherwise.
    page.keyboard.press("Control+s")
    preparing = page.locator(".message p", has_text="Preparing the file")
    expect(preparing).to_be_visible()
    page.wait_for_timeout(6000)
    for notice in (preparing, unsaved):
        expect(notice).to_be_visible()
    with page.expect_download(timeout=WORK_MS):
        page.context.set_offline(False)
    recorded(editor, 3)
    for message in (alert, preparing, unsaved):
        expect(message).to_have_count(0)
    expect(page.locator(".stage.loading")).to_have_count(0)
    assert at(editor, 4, 4) != plain, "the scene is shown"
    assert server.balance(customer) == (14, 0)


def test_the_subject_is_dragged_scaled_and_turned(editor: Editor, tmp_path: Path) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    on_white(editor)
    before = saved(editor, tmp_path)
    left = np.flatnonzero((before < 200).any(axis=(0, 2)))[0]
    editor.drag((300, 200), (340, 220), (400, 240))
    recorded(editor, 4)
    after = saved(editor, tmp_path)
    moved = np.flatnonzero((after < 200).any(axis=(0, 2)))[0]
    assert abs(moved - left - 100) <= 3
    editor.page.locator("summary", has_text="Position").click()
    editor.page.get_by_role("slider", name="Turn").fill("90")
    recorded(editor, 5)
    editor.page.get_by_role("slider", name="Size").fill("50")
    recorded(editor, 6)
    turned = saved(editor, tmp_path)
    columns = np.flatnonzero((turned < 200).any(axis=(0, 2)))
    assert columns[-1] - columns[0] < 260
    # Retouching shows the subject where it is in the photo, and keeps its place.
    editor.choose("brush")
    expect(editor.page.get_by_text("Its own frame and position are kept.")).to_be_visible()
    editor.drag((300, 150), (302, 150))
    editor.apply("Apply strokes")
    retouched = saved(editor, tmp_path)
    kept = np.flatnonzero((retouched < 200).any(axis=(0, 2)))
    assert abs(kept[0] - columns[0]) <= 2
    assert np.abs(retouched - turned).max() > 50


def test_a_selection_costs_nothing_until_it_is_used(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose("magic-select")
    editor.press("Find the subject")
    expect(editor.page.get_by_text("% sure")).to_be_visible(timeout=WORK_MS)
    expect(editor.page.locator(".panel").get_by_role("button", name="Remove object")).to_be_enabled()
    editor.press("Use as mask")
    expect(editor.page.get_by_text("Nothing was charged").last).to_be_visible()
    assert server.balance(customer) == (15, 0)
    editor.choose("generative-fill")
    kept = editor.page.get_by_role("button", name="Kept selection")
    expect(kept).to_have_attribute("aria-pressed", "true")
    expect(editor.page.locator(".panel-foot .primary")).to_be_enabled()
    editor.press("Click or box")
    editor.choose("brush")
    editor.choose("generative-fill")
    expect(kept).to_have_attribute("aria-pressed", "false")  # another choice is not overruled
    editor.choose("brush")
    editor.page.get_by_label("Apply to the kept selection").check()
    expect(editor.page.locator(".cost")).to_contain_text("1 credit")
    editor.apply("Apply to selection")
    alpha = saved(editor, tmp_path)[..., 3]
    assert (alpha[200, 300], alpha[5, 5]) == (0, 255)
    assert server.balance(customer) == (14, 0)


def test_a_selection_edits_the_cutout(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.choose("magic-select")
    editor.click(300, 150)
    expect(editor.page.get_by_text("% sure")).to_be_visible(timeout=WORK_MS)
    editor.apply("Cut out")
    editor.choose("bg-removal")
    on_white(editor)
    color(editor, "#1f3a5f")
    recorded(editor, 4)
    editor.choose("magic-select")
    editor.drag((20, 20), (200, 120))
    expect(editor.page.get_by_text("% sure")).to_be_visible(timeout=WORK_MS)
    editor.apply("Add to cut-out")
    assert server.balance(customer) == (13, 0)
    assert saved(editor, tmp_path)[395, 5].tolist() == [0x1F, 0x3A, 0x5F], "the background is kept"


def test_white_replaces_a_scene_and_a_background_without_a_picture_is_no_step(
    editor: Editor, tmp_path: Path
) -> None:
    page = editor.page
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    following = page.get_by_role("group", name="Next steps")
    expect(following).to_be_visible(timeout=WORK_MS)  # after the sweep over the result
    editor.press("Scene")
    recorded(editor, 3)
    following.get_by_role("button", name="White").click()
    recorded(editor, 4)
    expect(page.get_by_role("alert")).to_have_count(0)
    assert saved(editor, tmp_path)[5, 5].tolist() == [255, 255, 255]
    editor.press("Color")
    color(editor, "#1f3a5f")
    # A download right after it has the color, although it is not recorded yet.
    assert saved(editor, tmp_path)[5, 5].tolist() == [0x1F, 0x3A, 0x5F]
    recorded(editor, 5)
    editor.press("None")
    recorded(editor, 6)
    editor.press("Picture")  # none is chosen yet
    editor.press("Drop")
    recorded(editor, 7)
    editor.press("Contact")
    page.reload()  # before the look was recorded
    editor.shown()
    expect(page.locator(".panel").get_by_role("button", name="Contact")).to_have_attribute(
        "aria-pressed", "true"
    )
    recorded(editor, 8)


def test_a_background_picture_is_applied_to_a_finished_cutout(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    editor.press("Color")
    editor.press("Picture")
    # The color stays until a picture is chosen.
    assert saved(editor, tmp_path)[2, 2].tolist() == [255, 255, 255]
    asked: list[str] = []
    editor.page.on("request", lambda request: asked.append(request.url))
    green = np.full((40, 60, 3), (20, 200, 40), np.uint8)
    with editor.page.expect_file_chooser() as chooser:
        editor.press("Choose a picture")
    chooser.value.set_files({"name": "g.jpg", "mimeType": "image/jpeg", "buffer": jpeg_bytes(green)})
    expect(editor.page.locator(".panel").get_by_role("button", name="Choose another")).to_be_visible()
    corner = saved(editor, tmp_path)[2, 2]
    assert abs(corner[:3] - (20, 200, 40)).max() < 12
    assert editor.steps() == 4, "the photo, its cut-out, the color, the picture"
    editor.press("Drop")
    expect(editor.page.locator(".filmstrip li")).to_have_count(5)
    expect(editor.page.locator(".stage.loading")).to_have_count(0)
    lossless = [url for url in asked if "/editor/backgrounds/img_" in url]
    assert len(lossless) == 1, "it is shown without loss, and loaded once"
    assert server.balance(customer) == (14, 0)


def shown_ratio(editor: Editor) -> float:
    """Width to height of the opaque picture that the stage shows."""
    found: float = editor.page.evaluate(
        """async () => {
            await new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)));
            const canvas = document.querySelector(".stage canvas");
            const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let [left, right, top, bottom] = [Infinity, 0, Infinity, 0];
            for (let at = 0; at < data.length / 4; at += 1) {
                if (data[at * 4 + 3] < 128) continue;
                const [x, y] = [at % width, Math.floor(at / width)];
                [left, right] = [Math.min(left, x), Math.max(right, x)];
                [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
            }
            return (right - left + 1) / (bottom - top + 1);
        }"""
    )
    return found


def test_presets_are_drawn_at_once_and_are_steps_of_the_history(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    page = editor.page
    drawings: list[str] = []
    page.on("request", lambda request: drawings.append(request.url) if "/rendering" in request.url else None)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    on_white(editor)
    page.wait_for_load_state("networkidle")
    # While the server does not answer, too: a frame is drawn here, and all of it is shown.
    held: list[Route] = []
    page.route(re.compile("/looks"), lambda route: held.append(route))  # noqa: PLW0108 - no builtin is accepted
    presets = {"Amazon": 1, "Etsy": 4 / 3, "Passport": 827 / 1063, "Square": 1, "Story": 9 / 16}
    for name, ratio in presets.items():
        editor.press(name)
        assert shown_ratio(editor) == pytest.approx(ratio, rel=0.01), name
    for route in held:
        route.continue_()  # before `unroute`, which continues what is still held
    page.unroute(re.compile("/looks"))
    current = page.locator(".filmstrip [aria-current]")
    expect(current).to_have_attribute("title", re.compile("1080 × 1920"), timeout=WORK_MS)
    steps = editor.steps()
    editor.press("Etsy")
    recorded(editor, steps + 1)
    page.keyboard.press("Control+z")
    expect(current).to_have_attribute("title", re.compile("1080 × 1920"))
    wait_until(lambda: shown_ratio(editor) == pytest.approx(9 / 16, rel=0.01))
    page.get_by_role("button", name="Redo").click()
    expect(current).to_have_attribute("title", re.compile("2800 × 2100"))
    assert drawings == [], "the server draws nothing until a picture is downloaded"
    assert saved(editor, tmp_path).shape == (2100, 2800, 3)
    assert server.balance(customer) == (14, 0)


def test_a_framed_cutout_is_compared_dragged_and_retouched(editor: Editor, tmp_path: Path) -> None:
    page = editor.page
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    editor.press("Amazon")
    recorded(editor, 3)
    before = saved(editor, tmp_path)
    # On the left of the divider is the photo in the same frame, with nothing above it.
    page.get_by_role("button", name="Compare with before").click()
    page.get_by_role("button", name="Compare with before", pressed=True).wait_for()
    dark = np.argwhere((before < 200).any(axis=2))
    top, left = dark.min(axis=0)
    row = int(top + dark.max(axis=0)[0]) // 2
    assert np.abs(np.array(at(editor, 30, row)[:3]) - 255).max() > 40, "the table beside the cup"
    assert at(editor, 1970, row)[:3] == [255, 255, 255]
    page.get_by_role("button", name="Compare with before").click()
    editor.drag((1000, 1000), (1050, 1000), (1200, 1100))
    recorded(editor, 4)
    moved = np.argwhere((saved(editor, tmp_path) < 200).any(axis=2))
    assert np.abs(moved.min(axis=0) - (top + 100, left + 200)).max() <= 6
    # The brush shows the cut-out where it is in the photo; the frame comes back with another tool.
    editor.choose("brush")
    wait_until(lambda: shown_ratio(editor) == pytest.approx(1.5, rel=0.01))
    editor.choose("bg-removal")
    wait_until(lambda: shown_ratio(editor) == pytest.approx(1, rel=0.01))
