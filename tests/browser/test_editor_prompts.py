"""Prompts in the editor, with a real, tiny inpainting checkpoint."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.support.browser.editing import Editor
from tests.support.browser.visitors import sign_in
from tests.support.ml import tiny_pipelines
from tests.support.ml.photos import jpeg_bytes, open_bytes, photo
from tests.support.server import RunningServer, ServerFactory


@pytest.fixture(scope="module")
def following(
    tmp_path_factory: pytest.TempPathFactory, server_factory: ServerFactory
) -> Iterator[RunningServer]:
    folder = tiny_pipelines.save_sd(tmp_path_factory.mktemp("tiny") / "tiny-sd")
    settings = {
        "BGERASER_INPAINT_CHECKPOINT": str(folder),
        "BGERASER_INPAINT_SCHEDULER": "lcm",
        "BGERASER_WORKERS": "1",
    }
    with server_factory(tmp_path_factory.mktemp("words"), settings) as server:
        yield server
        assert server.drifts() == []


def test_a_prompt_fills_the_brushed_area(page: Page, following: RunningServer, tmp_path: Path) -> None:
    customer = following.new_customer()
    sign_in(page, following, customer)
    editor = Editor(page, following)
    before = photo("coffee")[100:220, 200:360]
    editor.open("cup.jpg", jpeg_bytes(before))
    editor.choose("generative-fill")
    editor.drag((70, 50), (90, 60))
    expect(editor.page.locator(".panel").get_by_role("button", name="Remove object")).to_be_visible()
    editor.page.get_by_label("What should be there").fill("a red cup")
    editor.apply("Fill")
    after = open_bytes(editor.save(tmp_path, "PNG").read_bytes())
    assert after.shape[:2] == (120, 160)
    changed = np.abs(after[..., :3].astype(int) - before).max(axis=2) > 40  # more than JPEG changes
    assert changed[40:75, 60:105].mean() > 0.1
    assert not changed[:10].any()
    assert following.balance(customer) == (14, 0)


def test_a_prompt_fills_the_new_border(page: Page, following: RunningServer, tmp_path: Path) -> None:
    sign_in(page, following, following.new_customer())
    editor = Editor(page, following)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")[100:220, 200:360]))
    editor.choose("generative-expand")
    editor.press("1.25×")
    editor.page.get_by_label("What should be there").fill("a wooden table")
    editor.apply("Extend")
    assert open_bytes(editor.save(tmp_path, "PNG").read_bytes()).shape[:2] == (150, 200)
