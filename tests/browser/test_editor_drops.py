"""Real drops of files and folders on the editor, by the browser's own input."""

from pathlib import Path

import numpy as np
from playwright.sync_api import expect

from tests.support.browser.editing import Editor
from tests.support.ml.photos import png_bytes


def drop_paths(editor: Editor, *paths: Path) -> None:
    """Drag these files and folders from outside onto the page, and drop them there."""
    session = editor.page.context.new_cdp_session(editor.page)
    dragged = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": dragged})
    session.detach()


def write_picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(np.full((40, 60, 3), shade, np.uint8)))


def test_a_dropped_folder_and_files_beside_it_become_one_batch(editor: Editor, tmp_path: Path) -> None:
    # More than the hundred entries that Chromium lists at a time.
    for number in range(105):
        write_picture(tmp_path / "shoes" / f"{number}.png", number)
    write_picture(tmp_path / "shoes" / "red" / "winter" / "boot.png", 200)
    (tmp_path / "shoes" / "prices.txt").write_text("not a picture")
    (tmp_path / "shoes" / ".DS_Store").write_text("litter")
    (tmp_path / "empty").mkdir()
    write_picture(tmp_path / "alone.png", 100)
    drop_paths(editor, tmp_path / "shoes", tmp_path / "empty", tmp_path / "alone.png")
    page = editor.page
    expect(page.get_by_role("heading", name="107 pictures")).to_be_visible(timeout=30_000)
    names = page.locator(".batch-item .name")
    expect(names.nth(0)).to_have_text("alone.png")
    expect(names.nth(11)).to_have_text("shoes/10.png")
    expect(page.locator(".messages")).to_contain_text("1 file that cannot be a picture")
    for _ in range(2):
        page.get_by_role("button", name="Next").click()
    expect(names.last).to_have_text("shoes/red/winter/boot.png")
    expect(page.locator(".bge-editor.dropping")).to_have_count(0)


def test_one_dropped_file_is_opened_in_the_editor(editor: Editor, tmp_path: Path) -> None:
    write_picture(tmp_path / "cup.png", 90)
    drop_paths(editor, tmp_path / "cup.png")
    editor.shown()
