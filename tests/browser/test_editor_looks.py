"""Cut-outs in the editor as objects: their looks, retouching, selections and the place of the subject."""

import re
from pathlib import Path

import numpy as np
from playwright.sync_api import expect

from tests.browser.conftest import NewPage
from tests.support.browser.editing import WORK_MS, Editor
from tests.support.browser.visitors import sign_in
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import Customer, RunningServer


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
    # Without a server, too: a look is drawn here.
    editor.page.route(re.compile("/looks"), lambda route: route.abort())
    for name in ("#1f3a5f", "#ffd84d", "#000000"):
        color(editor, name)
        assert at(editor, 4, 4)[:3] == [int(name[digit : digit + 2], 16) for digit in (1, 3, 5)]
    editor.page.unroute(re.compile("/looks"))
    for name in ("#ffffff", "#1f3a5f") * 8 + ("#cfe8d5",):
        color(editor, name)
    assert saved(editor, tmp_path)[2, 2].tolist() == [0xCF, 0xE8, 0xD5]
    expect(editor.page.locator(".message.problem")).to_have_count(0)
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


LOOKS: list[dict[str, str]] = [
    {"bg_color": "#1f3a5f"},
    {"bg_gradient": "#fff3e0 #f2a65a 135"},
    {"bg_blur": "30"},
    {"bg_color": "#ffffff", "shadow": "drop", "shadow_opacity": "80"},
    {
        "bg_color": "#ffffff",
        "shadow": "drop",
        "shadow_x": "10%",
        "shadow_blur": "20%",
        "shadow_color": "#844",
    },
    {"bg_color": "#ffffff", "shadow": "contact"},
    {"bg_color": "#1f3a5f", "outline_width": "3%", "outline_color": "#ffd84d"},
    {"bg_color": "#ffffff", "feather": "6"},
    {"bg_color": "#ffffff", "decontaminate": "false"},
    {"bg_color": "#ffffff", "subject_x": "12%", "subject_y": "-20", "shadow": "drop"},
    {"bg_color": "#ffffff", "subject_scale": "60", "subject_rotate": "25"},
]


def test_presets_in_a_row_end_with_the_last_one_and_an_undone_look_can_be_redone(editor: Editor) -> None:
    """Presets are drawn by the server, few at once."""
    page = editor.page
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    for name in ("Amazon", "eBay", "Etsy", "Shopify", "Square", "Story"):
        editor.press(name)
        page.wait_for_timeout(500)
    current = page.locator(".filmstrip [aria-current]")
    expect(current).to_have_attribute("title", re.compile("1080 × 1920"), timeout=WORK_MS)
    expect(page.locator(".stage.loading")).to_have_count(0, timeout=WORK_MS)
    expect(page.get_by_text("cannot be shown")).to_have_count(0)
    steps = editor.steps()
    editor.press("Blur")
    page.keyboard.press("Control+z")
    recorded(editor, steps + 1)
    expect(current).to_have_attribute("title", re.compile("1080 × 1920"))
    page.get_by_role("button", name="Redo").click()
    expect(page.locator(".filmstrip li").last.locator("[aria-current]")).to_have_count(1)


def test_the_preview_equals_what_the_server_draws(new_page: NewPage, server: RunningServer) -> None:
    """At full size: the photo is smaller than a preview, so that both show the same pixels."""
    customer = server.new_customer()
    page = new_page()
    sign_in(page, server, customer)
    editor = Editor(page, server)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    found = page.evaluate(
        """async (looks) => {
            const { ApiClient } = await import("/static/editor/api.js");
            const { Composer } = await import("/static/editor/composer.js");
            const client = new ApiClient(fetch.bind(window));
            const { presets } = await client.session();
            const project = await client.project(location.hash.slice(1));
            const cut = project.steps.find((step) => step.id === project.currentStepId);
            const composer = new Composer(presets);
            await composer.load(cut.cutout);
            const answers = [];
            for (const look of looks) {
                const canvas = composer.compose(cut.cutout, look);
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                const { step } = await client.addLook(project.id, cut.id, look);
                const file = await fetch(`/editor/projects/${project.id}/steps/${step.id}/file?format=png`);
                const image = await createImageBitmap(await file.blob());
                const stored = new OffscreenCanvas(image.width, image.height);
                stored.getContext("2d").drawImage(image, 0, 0);
                const other = stored.getContext("2d").getImageData(0, 0, image.width, image.height).data;
                const counts = new Uint32Array(256);
                for (let at = 0; at < data.length; at += 1) counts[Math.abs(data[at] - other[at])] += 1;
                answers.push({ size: [image.width, canvas.width], counts: [...counts] });
            }
            return answers;
        }""",
        LOOKS,
    )
    for look, answer in zip(LOOKS, found, strict=True):
        counts = np.array(answer["counts"])
        shares = np.cumsum(counts) / counts.sum()
        mean, high = (counts * np.arange(256)).sum() / counts.sum(), int(np.searchsorted(shares, 0.99))
        assert mean <= 0.5, look
        assert high <= 2, look
