"""Unrefined mattes compared with those of rembg from the same checkpoint files."""

import numpy as np
import pytest
from PIL import Image

from ml.engines import rembg_engine
from ml.pixels import Mask, Pixels
from tests.support.checkpoints import models_dir
from tests.support.ml.cutouts import engines, enlarged
from tests.support.ml.photos import photo

PHOTOS = ["astronaut", "chelsea", "coffee", "rocket"]


@pytest.mark.parametrize("checkpoint", ["isnet-general-use", "u2netp"])
def test_mattes_equal_those_of_rembg(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U2NET_HOME", str(models_dir()))
    session = rembg_engine.import_sessions().new_session(checkpoint)

    def rembgs(picture: Pixels) -> Mask:
        return np.asarray(session.predict(Image.fromarray(picture))[0])

    dark = np.asarray(photo("coffee") // 24)
    for name, picture in [*((name, photo(name)) for name in PHOTOS), ("dark", dark)]:
        ours = enlarged(engines().matting(checkpoint).matte(picture), picture)
        difference = np.abs(ours.astype(np.float32) - rembgs(picture)).mean()
        assert difference <= 2, f"{name} differs by {difference:.2f}/255"
