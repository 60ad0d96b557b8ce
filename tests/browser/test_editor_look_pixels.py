"""Looks of cut-outs as the browser draws them, compared with the server's."""

import random
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.support.browser.editing import WORK_MS, Editor
from tests.support.ml.photos import jpeg_bytes, photo, png_bytes

LOOKS: list[dict[str, str]] = [
    {"bg_color": "#1f3a5f"},
    {"bg_gradient": "#fff3e0 #f2a65a 135"},
    {"bg_blur": "30"},
    {"bg_blur": "15", "subject_scale": "50"},
    {"bg_blur": "10"},
    {"bg_blur": "5"},
    {"bg_scene": "oak-table", "subject_rotate": "25"},
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


#: Looks in another frame than the photo's.
FRAMED: list[dict[str, str]] = [
    {"preset": "amazon"},
    {"preset": "story", "bg_gradient": "#fff3e0 #f2a65a 135", "shadow": "drop"},
    {"preset": "square", "bg_scene": "oak-table"},
    {"preset": "square", "bg_color": "#1f3a5f", "subject_x": "10%", "subject_rotate": "20"},
    {"crop": "true", "crop_margin": "20%", "bg_blur": "30"},
    {"crop": "true", "scale": "70%", "bg_color": "#ffffff", "outline_width": "3%", "feather": "2"},
    {
        "output_size": "500x300",
        "scale": "60%",
        "position": "20% 80%",
        "bg_color": "#fff",
        "shadow": "contact",
    },
    {"scale": "50%", "bg_blur": "40"},
]

#: Looks of a subject that the photo's border cuts off.
CUT_OFF: list[dict[str, str]] = [
    {"preset": "square", "bg_color": "#1f3a5f", "outline_width": "4%", "outline_color": "#ffd84d"},
    {"bg_color": "#1f3a5f", "outline_width": "12", "subject_scale": "60"},
    {"bg_color": "#1f3a5f", "outline_width": "20", "subject_x": "30%", "subject_rotate": "-30"},
    {"output_size": "500x300", "bg_color": "#1f3a5f", "outline_width": "9", "shadow": "drop"},
    {"crop": "true", "bg_color": "#1f3a5f", "outline_width": "9"},
    {"bg_color": "#ffffff", "shadow": "drop", "shadow_x": "8%", "shadow_blur": "1%"},
]


def difference(answer: dict[str, Any], share: float) -> int:
    """The levels of 255 by which this share of the values differ at most."""
    assert answer["preview"] == answer["stored"]
    counts = np.array(answer["counts"])
    return int(np.searchsorted(np.cumsum(counts) / counts.sum(), share))


def mean_difference(answer: dict[str, Any]) -> float:
    counts = np.array(answer["counts"])
    return float((counts * np.arange(256)).sum() / counts.sum())


_STORE_BACKGROUND = """async (bytes) => {
    const { ApiClient } = await import("/static/editor/api.js");
    const client = new ApiClient(fetch.bind(window));
    await client.session();
    const file = new File([Uint8Array.from(bytes)], "behind.jpg");
    return (await client.storeBackground(file)).imageId;
}"""

_COMPARE = """async (looks) => {
    const { ApiClient } = await import("/static/editor/api.js");
    const { Composer } = await import("/static/editor/composer.js");
    const client = new ApiClient(fetch.bind(window));
    const { presets } = await client.session();
    const project = await client.project(location.hash.slice(1));
    const cut = project.steps.find((step) => step.id === project.currentStepId);
    const composer = new Composer(presets);
    const answers = [];
    for (const look of looks) {
        const { step } = await client.addLook(project.id, cut.id, look);
        await composer.load(cut.cutout, step.cutout.backgroundUrl);
        await composer.sharpen(cut.cutout, look, step.cutout.backgroundUrl);
        const canvas = composer.compose(cut.cutout, look, step.cutout.backgroundUrl);
        const { size, isExact } = composer.frameOf(cut.cutout, look);
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
        const { step: drawn } = await client.renderLook(project.id, step.id);
        const file = await fetch(
            `/editor/projects/${project.id}/steps/${step.id}/file?format=png&width=${width}`,
        );
        const image = await createImageBitmap(await file.blob());
        const stored = new OffscreenCanvas(image.width, image.height);
        stored.getContext("2d").drawImage(image, 0, 0);
        const other = stored.getContext("2d").getImageData(0, 0, image.width, image.height).data;
        const counts = new Uint32Array(256);
        for (let at = 0; at < data.length; at += 1) counts[Math.abs(data[at] - other[at])] += 1;
        answers.push({
            preview: [width, height],
            stored: [image.width, image.height],
            frame: [size.width, size.height],
            drawn: [drawn.width, drawn.height],
            isExact,
            counts: [...counts],
        });
    }
    return answers;
}"""


@pytest.mark.parametrize(
    ("looks", "left"),
    [(LOOKS, 0), (FRAMED, 0), (CUT_OFF, 250)],
    ids=["in the photo's frame", "in another frame", "cut off by the photo's border"],
)
def test_the_preview_equals_what_the_server_draws(
    editor: Editor, looks: list[dict[str, str]], left: int
) -> None:
    """Reduced to the preview's size, which is the full one for a small photo in its own frame."""
    editor.open("cup.jpg", jpeg_bytes(np.ascontiguousarray(photo("coffee")[:, left:])))
    editor.apply("Remove background")
    picture = editor.page.evaluate(_STORE_BACKGROUND, list(jpeg_bytes(photo("astronaut"))))
    looks = [*looks, {"bg_image_id": picture}, {"bg_image_id": picture, "preset": "square"}]
    for look, answer in zip(looks, editor.page.evaluate(_COMPARE, looks), strict=True):
        assert answer["frame"] == answer["drawn"], look
        assert answer["isExact"], look
        assert mean_difference(answer) <= 0.5, look
        assert difference(answer, 0.99) <= 2, look


def test_the_frame_of_a_large_photo_is_the_servers_to_the_pixel(editor: Editor) -> None:
    """Its preview is reduced, and does not show to the pixel where the subject is."""
    large = np.asarray(Image.fromarray(photo("coffee")).resize((2400, 1600)))
    editor.open("cup.jpg", jpeg_bytes(large))
    editor.apply("Remove background")
    looks = [{"crop": "true", "crop_margin": "7"}, {"crop": "true", "scale": "83%", "bg_color": "#ffffff"}]
    for look, answer in zip(looks, editor.page.evaluate(_COMPARE, looks), strict=True):
        assert answer["frame"] == answer["drawn"], look
        assert difference(answer, 0.99) <= 2, look


def _random_look(chance: random.Random) -> dict[str, str]:
    """In the result's full size. The photo itself is shown only blurred: its previews are compressed."""
    look = chance.choice(
        [
            {"bg_color": chance.choice(["#ffffff", "#1f3a5f", "#844"])},
            {"bg_gradient": f"#fff3e0 #4fae8a {chance.randrange(-180, 360)}"},
            {"bg_scene": chance.choice(["oak-table", "bokeh-garden", "terrazzo", "studio-blue"])},
            {"bg_blur": chance.choice(["5", "25", "100"])},
        ]
    )
    size = f"{chance.randrange(150, 900)}x{chance.randrange(150, 800)}"
    look |= chance.choice(
        [
            {},
            {"crop": "true", "crop_margin": chance.choice(["10%", "20 40", "5% 10% 15% 20%"])},
            {"scale": f"{chance.randrange(20, 100)}%", "position": f"{chance.randrange(100)}% 60%"},
            {"output_size": size, "scale": f"{chance.randrange(30, 100)}%"},
        ]
    )
    shadow = {"shadow_blur": chance.choice(["0", "3", "10%", "25%"]), "shadow_color": "#1f3a5f"}
    look |= chance.choice(
        [
            {},
            {"shadow": "drop", "shadow_x": "-7%", "shadow_y": "24", **shadow},
            {"shadow": "contact", **shadow},
        ]
    )
    if chance.random() < 0.3:
        look |= {"outline_width": chance.choice(["1%", "6", "8%"]), "outline_color": "#ffd84d"}
    if chance.random() < 0.4:
        look["feather"] = chance.choice(["0.5", "2", "6", "25"])
    if chance.random() < 0.3:
        look["shift_edge"] = chance.choice(["-7.5", "-1", "0.5", "5"])
    if chance.random() < 0.6:
        look["subject_scale"] = chance.choice(["20", "35", "60", "110", "250"])
        look["subject_rotate"] = chance.choice(["0", "-7", "45", "90", "180"])
    if chance.random() < 0.4:
        look |= {"subject_x": "12%", "subject_y": "-20"}
    return look


@pytest.mark.long
def test_random_looks_equal_what_the_server_draws(editor: Editor) -> None:
    """Each in the result's size. Roundings of soft shadows add up to a third level in a few pixels."""
    chance = random.Random(6)
    looks = [_random_look(chance) for _ in range(20)]
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    for look, answer in zip(looks, editor.page.evaluate(_COMPARE, looks), strict=True):
        assert answer["frame"] == answer["drawn"] == answer["preview"], look
        assert difference(answer, 0.99) <= 2, look
        assert difference(answer, 0.999) <= 3, look


def test_the_background_of_a_finished_cutout_is_not_blurred(editor: Editor) -> None:
    """It has none: nothing offers a blur, and a look that has one is drawn without, never on black."""
    alpha = np.zeros((300, 400), np.uint8)
    alpha[60:240, 170:230] = alpha[120:180, 110:290] = 255  # a cross
    editor.open("cup.png", png_bytes(np.dstack([photo("coffee")[:300, :400], alpha])))
    editor.apply("Remove background")
    blur = editor.page.locator(".panel").get_by_role("button", name="Blur", exact=True)
    expect(blur).to_be_disabled(timeout=WORK_MS)  # once the layers are loaded
    expect(editor.page.get_by_text("There is nothing to blur")).to_be_visible()
    looks = [{"bg_blur": "30"}, {"bg_blur": "30", "subject_scale": "50", "shadow": "drop"}]
    for look, answer in zip(looks, editor.page.evaluate(_COMPARE, looks), strict=True):
        assert difference(answer, 0.999) <= 3, look
    # A look that was stored with a blur.
    editor.page.reload()
    editor.shown()
    editor.choose("bg-removal")
    expect(blur).to_be_disabled(timeout=WORK_MS)
    none = editor.page.locator(".panel").get_by_role("button", name="None", exact=True).first
    expect(none).to_have_attribute("aria-pressed", "true")


_DRAFT = """async () => {
    const { ApiClient } = await import("/static/editor/api.js");
    const { Composer } = await import("/static/editor/composer.js");
    const client = new ApiClient(fetch.bind(window));
    const { presets } = await client.session();
    const { steps, currentStepId } = await client.project(location.hash.slice(1));
    const { cutout } = steps.find((step) => step.id === currentStepId);
    const composer = new Composer(presets);
    await composer.load(cutout);
    const looks = [{ bg_blur: "30" }, { shadow: "drop" }, { shadow: "contact" }];
    const edges = [
        { feather: "6" },
        { shift_edge: "-3", decontaminate: "false" },
        { outline_width: "3%", crop: "true", bg_color: "#fff" },
    ];
    const areExact = () => looks.map((look) => composer.draft(cutout, look).isExact);
    const pixels = (canvas) => {
        const { width, height } = canvas;
        return [width, height, ...canvas.getContext("2d").getImageData(0, 0, width, height).data];
    };
    const leaving = new AbortController();
    const interrupted = composer.warmUp(cutout, leaving.signal).then(
        () => "finished",
        () => "interrupted",
    );
    leaving.abort();
    const answer = { interrupted: await interrupted, before: areExact() };
    await composer.warmUp(cutout, new AbortController().signal);
    answer.after = areExact();
    answer.edges = [];
    for (const look of edges) {
        const rough = composer.draft(cutout, look);
        const roughFrame = composer.frameOf(cutout, look);
        const exact = await composer.composeInSlices(cutout, look);
        const shown = new OffscreenCanvas(exact.width, exact.height);
        shown.getContext("2d").drawImage(rough.canvas, 0, 0, exact.width, exact.height);
        const [some, others] = [pixels(shown), pixels(exact)];
        const sum = some.reduce((sum, value, at) => sum + Math.abs(value - others[at]), 0);
        answer.edges.push({
            isDraftExact: rough.isExact,
            mean: sum / some.length,
            away: Math.abs(roughFrame.size.width - composer.frameOf(cutout, look).size.width),
            isKept: composer.draft(cutout, look).canvas === exact,
        });
    }
    const framed = { preset: "square", bg_color: "#ffffff", shadow: "drop" };
    const draft = composer.draft(cutout, framed);
    const exact = await composer.composeInSlices(cutout, framed);
    const [rough, fine] = [pixels(draft.canvas), pixels(exact)];
    answer.isDraftExact = draft.isExact;
    answer.isSameFrame = rough[0] === fine[0] && rough[1] === fine[1];
    answer.mean = rough.reduce((sum, value, at) => sum + Math.abs(value - fine[at]), 0) / rough.length;
    answer.isKept = composer.draft(cutout, framed).canvas === exact;
    return answer;
}"""


def test_a_look_is_drawn_roughly_at_once_and_likely_ones_are_prepared(editor: Editor) -> None:
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")))
    editor.apply("Remove background")
    answer = editor.page.evaluate(_DRAFT)
    assert (answer["interrupted"], answer["before"]) == ("interrupted", [False, False, False])
    assert answer["after"] == [True, True, True]
    for edge in answer["edges"]:
        assert not edge["isDraftExact"], edge
        assert edge["mean"] < 4, edge
        assert edge["away"] <= 8, edge
        assert edge["isKept"], edge
    assert not answer["isDraftExact"]
    assert answer["isSameFrame"]
    assert answer["mean"] < 2
    assert answer["isKept"], "the exact one is shown from then on"
