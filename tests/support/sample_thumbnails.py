"""The editor's small pictures of its samples: `python -m tests.support.sample_thumbnails` makes them anew."""

from pathlib import Path

from PIL import Image

SAMPLES = Path(__file__).resolve().parents[2] / "web" / "static" / "samples"
FOLDER = SAMPLES / "thumbnails"
#: Twice the width at which the start screen shows them, for screens with two pixels per point.
SIZE = (360, 270)
QUALITY = 62


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for sample in sorted(SAMPLES.glob("*.jpg")):
        with Image.open(sample) as picture:
            picture.thumbnail(SIZE, Image.Resampling.LANCZOS)
            picture.save(FOLDER / f"{sample.stem}.webp", quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
