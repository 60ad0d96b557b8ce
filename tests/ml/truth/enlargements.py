"""How close enlarged pictures come to their originals, beside Lanczos and the networks alone.

`python -m tests.ml.truth.enlargements` reduces parts of photos, a page of text and line art, enlarges them
again and writes the tables of docs/quality.md. With `--mode` it prints those of one mode only.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging import enlargement_checks
from ml.imaging.resampling import resize
from ml.pixels import Picture, Pixels
from ml.tools import upscale
from ml.tools.upscale import UpscaleParams
from tests.ml.truth.page import write_part
from tests.support.ml import photos
from tests.support.ml.contexts import Calm
from tests.support.ml.cutouts import engines

_SIDE = 768  # of an original, in pixels
#: Of the part of an original that is measured: quality takes 25 times as long as fast.
_MEASURED_SIDES = {"fast": _SIDE, "quality": 160}
_PHOTOS = ("astronaut", "coffee", "chelsea", "rocket", "motorcycle_left")
_FAILED = 12  # levels by which a block differs from its source on average
_BLOCK = 8  # source pixels

Way = Callable[[Pixels, int], Pixels]


def text() -> Pixels:
    """Lines of 20 to 60 pixels height, black and in colours, on white and on black."""
    page = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    page[_SIDE // 2 :] = 0
    colors = [(0, 0, 0), (180, 20, 20), (20, 40, 160), (255, 255, 255), (250, 220, 60), (90, 220, 120)]
    down = 0
    for number, height in enumerate((20, 26, 34, 44, 60, 60, 20, 26, 34, 44, 52)):
        down += height + 22
        color = colors[number % 3 + (3 if down > _SIDE // 2 else 0)]
        scale = height / 30
        cv2.putText(
            page,
            "Hamburgefonstiv 0123456789",
            (12, down),
            cv2.FONT_HERSHEY_DUPLEX,
            scale,
            color,
            max(1, round(scale * 1.6)),
            cv2.LINE_AA,
        )
    return page


def line_art() -> Pixels:
    """Circles, rays and a grid of thin lines, black on white."""
    page = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    center = (_SIDE // 2, _SIDE // 2)
    for radius in range(30, 380, 35):
        cv2.circle(page, center, radius, (0, 0, 0), 2 + radius % 3, cv2.LINE_AA)
    for angle in np.linspace(0, np.pi, 24):
        offset = np.rint(370 * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        ends = (tuple(center - offset), tuple(center + offset))
        cv2.line(page, *ends, (200, 30, 30), 2, cv2.LINE_AA)
    return page


def originals() -> Iterator[tuple[str, Pixels]]:
    for name in _PHOTOS:
        photo = photos.photo(name)
        side = min(*photo.shape[:2], _SIDE)
        top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
        whole = side - side % 32
        yield "photos", np.ascontiguousarray(photo[top : top + whole, left : left + whole])
    yield "text", text()
    yield "line art", line_art()


def lanczos(source: Pixels, scale: int) -> Pixels:
    size = (source.shape[1] * scale, source.shape[0] * scale)
    return np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_LANCZOS4))


def by_tool(mode: str) -> Way:
    def enlarge(source: Pixels, scale: int) -> Pixels:
        params = UpscaleParams.model_validate({"mode": mode, "scale": str(scale)})
        return upscale.run(Picture(source, "png"), params, Calm(engines=engines())).pixels

    return enlarge


def by_network(mode: str) -> Way:
    def enlarge(source: Pixels, scale: int) -> Pixels:
        with _without_checks():
            return by_tool(mode)(source, scale)

    return enlarge


@contextmanager
def _without_checks() -> Iterator[None]:
    def none_failed(source: Pixels, _enlarged: Pixels) -> enlargement_checks.Blocks:
        height, width = source.shape[:2]
        return np.zeros((-(-height // _BLOCK), -(-width // _BLOCK)), np.bool_)

    with ExitStack() as stack:
        for name, stand_in in (
            ("failed_blocks", none_failed),
            ("back_project", lambda _source, enlarged: enlarged),
            ("hold_colours", lambda _source, _enlarged: None),
        ):
            stack.enter_context(mock.patch.object(enlargement_checks, name, stand_in))
        yield


def psnr(original: Pixels, enlarged: Pixels) -> float:
    return float(cv2.PSNR(original, enlarged))


def color_shift(source: Pixels, enlarged: Pixels) -> float:
    """Mean difference of the picture, reduced again, from its source, in levels."""
    return float(np.abs(_reduced(enlarged, source) - source.astype(np.float32)).mean())


def failed_share(source: Pixels, enlarged: Pixels) -> float:
    """The share of blocks that, reduced again, differ from the source by more than `_FAILED` levels."""
    difference = np.abs(_reduced(enlarged, source) - source.astype(np.float32)).mean(axis=2)
    rows, columns = (side - side % _BLOCK for side in difference.shape)
    blocks = difference[:rows, :columns].reshape(rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK)
    return float((blocks.mean(axis=(1, 3)) > _FAILED).mean())


def _reduced(enlarged: Pixels, source: Pixels) -> NDArray[np.float32]:
    size = (source.shape[1], source.shape[0])
    answer: NDArray[np.float32] = cv2.resize(enlarged.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return answer


def part(original: Pixels, side: int) -> Pixels:
    """At most `side` pixels of each side, beside the centre, because that of line art is one blot."""
    height, width = original.shape[:2]
    top, left = (min(length // 8, max(0, length - side)) for length in (height, width))
    return np.ascontiguousarray(original[top : top + side, left : left + side])


def rows(ways: dict[str, Way], scale: int, side: int = _SIDE) -> dict[str, list[list[float]]]:
    """By kind of picture, the mean of each measure for each way."""
    measured: dict[str, list[list[list[float]]]] = {}
    for kind, whole in originals():
        original = part(whole, side)
        source = resize(original, (original.shape[1] // scale, original.shape[0] // scale))
        results = [way(source, scale) for way in ways.values()]
        measured.setdefault(kind, []).append(
            [
                [psnr(original, one), color_shift(source, one), 100 * failed_share(source, one)]
                for one in results
            ]
        )
    return {kind: np.mean(values, axis=0).tolist() for kind, values in measured.items()}


def table(mode: str) -> str:
    """Markdown; each row is printed as soon as it is measured."""
    ways: dict[str, Way] = {
        "Lanczos": lanczos,
        "network alone": by_network(mode),
        "upscale": by_tool(mode),
    }
    lines = [
        f"| `mode={mode}`: PSNR in dB, shift in levels, ruined blocks | {' | '.join(ways)} |",
        "|---" * (len(ways) + 1) + "|",
    ]
    for scale in (2, 4):
        for kind, values in rows(ways, scale, _MEASURED_SIDES[mode]).items():
            cells = " | ".join(f"{a:.2f}, {b:.2f}, {c:.1f} %" for a, b, c in values)
            lines.append(f"| {kind}, {scale} times | {cells} |")
            print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.ml.truth.enlargements", description=__doc__)
    parser.add_argument("--mode", choices=_MEASURED_SIDES, help="only this one; the page is not written")
    chosen = parser.parse_args().mode
    tables = [table(mode) for mode in _MEASURED_SIDES if chosen in (None, mode)]
    if chosen is None:
        write_part("enlargements", "\n".join(tables))


if __name__ == "__main__":
    main()
