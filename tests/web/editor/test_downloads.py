"""Downloads of unedited steps."""

import numpy as np
import pytest

from ml.imaging import codecs
from tests.ml.imaging.test_codecs_strip import MAKERS, SECRET, archive
from tests.support.editor_client import Browser
from tests.support.ml.photos import open_bytes
from tests.support.server import RunningServer


@pytest.mark.parametrize("name", ["jpg", "png", "webp"])
def test_an_unedited_step_is_downloaded_without_metadata(server: RunningServer, name: str) -> None:
    content = MAKERS[name](1) + archive()
    with Browser(server, server.new_customer()) as browser:
        project = browser.open(content, f"photo.{name}")
        step = project["steps"][0]
        downloaded = browser.download(project, step).content
        preview = browser.client.get(step["previewUrl"]).content
    for served in (downloaded, preview):
        assert SECRET not in served
        assert b"PK\x03\x04" not in served
    assert np.array_equal(open_bytes(downloaded), codecs.decode(content).pixels)  # Pillow rejects the junk
