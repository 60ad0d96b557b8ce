"""The samples of the start screen."""

from PIL import Image

from tests.support.sample_thumbnails import FOLDER, SAMPLES, SIZE
from web.editor.session_routes import SAMPLES as TITLES

THUMBNAIL_BYTES_MAX = 15_000


def test_every_sample_has_a_small_picture_of_itself() -> None:
    assert (
        {path.stem for path in FOLDER.iterdir()}
        == {path.stem for path in SAMPLES.glob("*.jpg")}
        >= set(TITLES)
    )
    for small in FOLDER.iterdir():
        assert small.stat().st_size <= THUMBNAIL_BYTES_MAX
        with Image.open(SAMPLES / f"{small.stem}.jpg") as sample, Image.open(small) as picture:
            sample.thumbnail(SIZE)
            assert picture.size == sample.size
            # The same picture, not only one of its size.
            difference = [
                abs(one - other)
                for one, other in zip(
                    sample.convert("L").resize((8, 8)).tobytes(),
                    picture.convert("L").resize((8, 8)).tobytes(),
                    strict=True,
                )
            ]
            assert max(difference) < 12
