"""Cropping, turning and mirroring a cut-out: it stays a cut-out, for one credit altogether."""

from pathlib import Path

import numpy as np
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, NewPage
from tests.support.browser.editing import Editor
from tests.support.browser.visitors import sign_in
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import Customer, RunningServer

NAVY = [0x1F, 0x3A, 0x5F]

#: The share of channels that differ by more than 2 between a step's preview and its file, and their mean.
COMPARE = """async (looks) => {
    const { ApiClient } = await import("/static/editor/api.js");
    const { Composer } = await import("/static/editor/composer.js");
    const client = new ApiClient(fetch.bind(window));
    const session = await client.session();
    const project = await client.project(location.hash.slice(1));
    const current = project.steps.find((step) => step.id === project.currentStepId);
    const composer = new Composer(session.presets);
    await composer.load(current.cutout);
    const answers = [];
    for (const changes of looks) {
        const look = { ...current.cutout.look, ...changes };
        const canvas = composer.compose(current.cutout, look);
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const { step } = await client.addLook(project.id, current.id, look);
        const file = await fetch(`/editor/projects/${project.id}/steps/${step.id}/file?format=png`);
        const image = await createImageBitmap(await file.blob());
        const stored = new OffscreenCanvas(image.width, image.height);
        stored.getContext("2d").drawImage(image, 0, 0);
        const other = stored.getContext("2d").getImageData(0, 0, image.width, image.height).data;
        let differing = 0, sum = 0;
        for (let at = 0; at < data.length; at += 1) {
            const difference = Math.abs(data[at] - other[at]);
            differing += difference > 2;
            sum += difference;
        }
        answers.push({
            size: [canvas.width, canvas.height, image.width, image.height],
            differing: differing / data.length,
            mean: sum / data.length,
        });
    }
    await client.setCurrentStep(project.id, current.id);
    return answers;
}"""


#: The size of a look's background alone, and its largest difference from the look without its subject.
BACKGROUND = """async (fields) => {
    const { ApiClient } = await import("/static/editor/api.js");
    const { Composer } = await import("/static/editor/composer.js");
    const client = new ApiClient(fetch.bind(window));
    const session = await client.session();
    const project = await client.project(location.hash.slice(1));
    const { cutout: stored } = project.steps.find((step) => step.id === project.currentStepId);
    const { url } = session.scenes.find((scene) => scene.name === fields.bg_scene);
    const cutout = { ...stored, backgroundUrl: url, look: fields };
    const composer = new Composer(session.presets);
    await composer.load(cutout);
    const canvases = [
        composer.background(cutout, fields),
        composer.compose(cutout, { ...fields, subject_x: "100%" }),
    ];
    const [one, other] = canvases.map(
        (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height),
    );
    const differenceAt = (at) => Math.abs(one.data[at] - other.data[at]);
    const difference = one.data.reduce((most, _, at) => Math.max(most, differenceAt(at)), 0);
    return [one.width, one.height, difference];
}"""


def recorded(editor: Editor, steps: int) -> None:
    """The looks that were chosen have become steps."""
    expect(editor.page.locator(".filmstrip li")).to_have_count(steps, timeout=30_000)


def cropped(editor: Editor) -> None:
    """A cut-out on white, cropped to a square, rotated to the right and mirrored."""
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    editor.press("Color")
    recorded(editor, 3)
    editor.choose("crop")
    expect(editor.page.get_by_text("This stays a cut-out")).to_be_visible()
    editor.press("1:1")
    editor.apply("Crop & rotate")
    editor.press("Rotate right")
    editor.press("Flip horizontally")
    editor.apply("Crop & rotate")


def test_a_cropped_cutout_is_recoloured_and_restored_for_one_credit(
    editor: Editor, server: RunningServer, customer: Customer, tmp_path: Path
) -> None:
    page = editor.page
    cropped(editor)
    # What usually follows a removal would cover the frame's handles.
    expect(page.get_by_role("group", name="Next steps")).to_be_hidden()
    expect(page.locator(".filmstrip [aria-current]")).to_have_attribute(
        "title", "5. Crop & rotate, 400 × 400"
    )
    expect(page.get_by_role("button", name="Compare with before")).to_be_enabled()
    editor.choose("bg-removal")
    expect(page.get_by_text("Changes are free.")).to_be_visible()
    expect(page.locator(".panel").get_by_role("button", name="Remove background")).to_have_count(0)
    expect(page.get_by_text("% sure")).to_be_visible()
    page.get_by_role("button", name="Background #1f3a5f").click()
    recorded(editor, 6)
    editor.choose("brush")
    editor.press("Restore")
    editor.drag((40, 40), (90, 60))
    editor.apply("Apply strokes")
    saved = open_bytes(editor.save(tmp_path, "PNG").read_bytes()).astype(int)
    assert saved.shape == (400, 400, 3)
    assert saved[2, 2].tolist() == NAVY
    upright = open_bytes(jpeg_bytes(photo("coffee")))[:, 100:500]
    turned = np.rot90(upright, -1)[:, ::-1]
    assert np.abs(saved[45, 55] - turned[45, 55]).max() < 12, "the photo is restored as it was turned"
    # The network is not asked again, so its confidence says nothing about what was drawn by hand.
    editor.choose("bg-removal")
    expect(page.get_by_text("retouched by hand")).to_be_visible()
    expect(page.get_by_text("% sure")).to_have_count(0)
    for tool in ("upscale", "generative-fill", "generative-expand"):
        editor.choose(tool)
        expect(page.get_by_text("its background cannot be changed any more")).to_be_visible()
    editor.choose("crop")
    steps = editor.steps()
    for _ in range(steps - 1):
        page.get_by_role("button", name="Undo", exact=True).click()
        page.wait_for_load_state("networkidle")
    expect(page.locator(".filmstrip li").first.locator("[aria-current]")).to_have_count(1)
    expect(page.get_by_role("button", name="Undo", exact=True)).to_be_disabled()
    assert server.balance(customer) == (14, 0)
    assert server.drifts() == []


def test_values_that_a_crop_has_made_are_on_their_sliders(editor: Editor) -> None:
    page = editor.page
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    editor.press("Gradient")
    recorded(editor, 3)
    page.get_by_label("Outline", exact=True).check()
    recorded(editor, 4)
    editor.choose("crop")
    editor.press("Rotate right")
    editor.apply("Crop & rotate")
    editor.choose("bg-removal")
    for name in ("Direction", "Width"):
        slider = page.locator(".panel").get_by_role("slider", name=name)
        lowest, value, highest = slider.evaluate("(input) => [input.min, input.value, input.max].map(Number)")
        shown = slider.locator("xpath=..").locator("output").inner_text()
        assert lowest <= value <= highest
        assert abs(float(shown.split()[0].rstrip("°")) - value) <= 0.5, (name, shown, value)
        if name == "Direction":
            assert value == 270


def test_the_preview_of_a_crop_equals_what_the_server_draws(editor: Editor) -> None:
    """At full size: the photo is smaller than a preview, so that both show the same pixels."""
    cropped(editor)
    slider = editor.page.get_by_role("slider", name="Straighten")
    slider.fill("8")
    editor.apply("Crop & rotate")
    looks = [{}, {"shadow": "drop", "shadow_x": "8%"}, {"bg_color": "", "bg_blur": "40"}]
    for look, found in zip(looks, editor.page.evaluate(COMPARE, looks), strict=True):
        width, height, *stored = found["size"]
        assert [width, height] == stored, look
        assert found["differing"] <= 0.02, (look, found)
        assert found["mean"] <= 0.5, (look, found)


def test_the_background_of_a_framed_cutout_is_not_distorted_while_it_is_straightened(editor: Editor) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    scene = editor.page.evaluate("fetch('/editor/session').then((answer) => answer.json())")
    name = scene["data"]["scenes"][0]["name"]
    width, height, difference = editor.page.evaluate(BACKGROUND, {"preset": "story", "bg_scene": name})
    assert abs(width / height - 9 / 16) < 0.01
    assert difference <= 2


def test_recent_pictures_show_the_look_and_the_tools_of_a_phone_fade_out_where_they_go_on(
    new_page: NewPage, server: RunningServer
) -> None:
    page = new_page(viewport={**PHONE, "width": 340})
    sign_in(page, server, server.new_customer())
    editor = Editor(page, server)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    # All of the row can be scrolled, but it can be closed without that.
    close = page.get_by_role("button", name="Close the next steps").bounding_box()
    assert close is not None
    assert close["x"] + close["width"] <= 340
    rail = page.locator(".rail")
    expect(rail).to_have_attribute("data-more", "end")
    rail.get_by_role("button", name="Retouch").click()
    expect(rail).to_have_attribute("data-more", "start")
    editor.choose("bg-removal")
    editor.press("Color")
    recorded(editor, 3)
    page.get_by_role("button", name="Background #1f3a5f").click()
    recorded(editor, 4)
    page.evaluate("sessionStorage.clear()")
    page.goto(f"{server.address}/app/")
    picture = page.locator(".recent-picture img").first
    expect(picture).to_have_js_property("complete", True, timeout=60_000)
    corner = picture.evaluate(
        """(image) => {
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
            canvas.getContext("2d").drawImage(image, 0, 0);
            return [...canvas.getContext("2d").getImageData(2, 2, 1, 1).data];
        }"""
    )
    assert np.abs(np.array(corner[:3]) - NAVY).max() <= 6, "the look, not the bare cut-out"
