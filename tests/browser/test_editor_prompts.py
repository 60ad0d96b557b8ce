"""Prompts in the editor, with a real, tiny inpainting checkpoint."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from sqlmodel import desc, select

from api.editor.models import Step
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
    panel = editor.page.locator(".panel")
    expect(panel.get_by_role("button", name="Remove object")).to_be_visible()
    editor.press("Generate")
    expect(panel.locator("#apply-problem")).to_have_text("Describe what should be there.")
    editor.press("a sleeping cat")
    expect(editor.page.get_by_label("What should be there")).to_have_value("a sleeping cat")
    editor.page.get_by_label("What should be there").fill("a red cup")
    panel.locator(".panel-foot").get_by_role("button", name="Generate").click()
    expect(editor.page.locator(".filmstrip li")).to_have_count(2, timeout=60_000)
    editor.idle()
    # The words are kept for the next time, and not sent with what they do not concern.
    expect(panel.locator("#apply-problem")).to_have_text("Mark something first.")
    editor.drag((70, 50), (90, 60))  # also while the stage still sweeps over the result
    expect(panel.locator("#apply-problem")).to_have_count(0)
    after = open_bytes(editor.save(tmp_path, "PNG").read_bytes())
    assert after.shape[:2] == (120, 160)
    changed = np.abs(after[..., :3].astype(int) - before).max(axis=2) > 40  # more than JPEG changes
    assert changed[40:75, 60:105].mean() > 0.1
    assert not changed[:10].any()
    assert following.balance(customer) == (14, 0)
    editor.press("Remove")
    editor.apply("Remove object")
    assert "prompt" not in _last_run(following)


def _last_run(server: RunningServer) -> str:
    with server.database.transaction() as session:
        return session.exec(select(Step.params).order_by(desc(Step.number))).first() or ""


def test_a_prompt_fills_the_new_border(page: Page, following: RunningServer, tmp_path: Path) -> None:
    sign_in(page, following, following.new_customer())
    editor = Editor(page, following)
    editor.open("cup.jpg", jpeg_bytes(photo("coffee")[100:220, 200:360]))
    editor.choose("generative-expand")
    editor.press("1.25×")
    editor.page.get_by_label("What should be there").fill("a wooden table")
    editor.apply("Extend")
    assert open_bytes(editor.save(tmp_path, "PNG").read_bytes()).shape[:2] == (150, 200)
