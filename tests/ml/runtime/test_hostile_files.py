"""Malicious files: each yields an image or a clean refusal, and the worker survives."""

import os
import subprocess
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import PIL
import pytest

from ml.imaging import codecs
from ml.runtime import planning
from tests.support.ml import hostile, photos
from tests.support.ml.bombs import BOMBS
from tests.support.ml.damage import damaged_file, good_files
from tests.support.ml.decoder_process import DecoderProcess, Verdict

#: What one file may cost a worker. Seconds are the processor's, so a busy machine does not count.
MOST_SECONDS = 5.0
MOST_EXTRA_BYTES = 1_000_000_000


@pytest.fixture(scope="module")
def decoder() -> Iterator[DecoderProcess]:
    with DecoderProcess() as process:
        yield process


def assert_harmless(name: str, verdict: Verdict) -> None:
    assert verdict.is_clean, f"{name}: {verdict.outcome} {verdict.message}"
    assert verdict.cpu_seconds < MOST_SECONDS, f"{name} took {verdict.cpu_seconds:.1f} s"
    assert verdict.extra_bytes < MOST_EXTRA_BYTES, f"{name} took {verdict.extra_bytes / 1e6:.0f} MB"


@pytest.mark.parametrize("name", BOMBS)
def test_a_decompression_bomb_is_refused(name: str, decoder: DecoderProcess) -> None:
    make, outcome = BOMBS[name]
    content = make()
    assert len(content) <= hostile.UPLOAD_BYTES, "no upload can be as large"
    verdict = decoder.decode(content)
    assert_harmless(name, verdict)
    assert verdict.outcome == outcome, verdict.message


SIXTEEN_BITS = {
    "grey": (0, 1, b""),
    "colour": (2, 3, b""),
    "grey with alpha": (4, 2, b""),
    "colour with alpha": (6, 4, b""),
    "a transparent grey": (0, 1, hostile.png_chunk(b"tRNS", b"\0\1")),
    "a transparent colour": (2, 3, hostile.png_chunk(b"tRNS", b"\0\1" * 3)),
}


@pytest.mark.parametrize("name", SIXTEEN_BITS)
def test_a_png_of_16_bits_takes_little_more_memory_than_one_of_8(name: str) -> None:
    colors, channels, transparency = SIXTEEN_BITS[name]

    def png(depth: int, side: int) -> bytes:
        rows = bytes((1 + side * channels * depth // 8) * side)
        return hostile.png(side, side, transparency, depth=depth, colors=colors, idat=zlib.compress(rows, 1))

    def extra_bytes(depth: int, side: int) -> int:
        with DecoderProcess() as decoder:
            libraries = decoder.decode(png(depth, 8))
            verdict = decoder.decode(png(depth, side))
            assert verdict.outcome == "decoded", verdict.message
            return verdict.extra_bytes - libraries.extra_bytes

    side = 3_000
    bytes_of_16_bits = extra_bytes(16, side)
    assert bytes_of_16_bits <= 1.5 * extra_bytes(8, side)
    # The memory limit of a call estimates this from the header alone.
    assert bytes_of_16_bits <= planning._DECODING_BYTES["png"] * side * side


def test_the_worker_decodes_good_files_after_bad_ones(decoder: DecoderProcess) -> None:
    for content in good_files().values():
        decoder.decode(content[: len(content) // 2])
        assert decoder.decode(content).outcome == "decoded"


def test_a_crash_of_the_decoding_process_is_detected() -> None:
    """Else the tests here could not fail."""
    with DecoderProcess() as process:
        process.kill()
        assert process.decode(good_files()["jpg"]).outcome == "crash"
        assert process.decode(good_files()["jpg"]).outcome == "decoded"


class TestDamagedFiles:
    def judge(self, count: int, decoder: DecoderProcess) -> None:
        outcomes: Counter[str] = Counter()
        for number in range(count):
            name, content = damaged_file(number)
            verdict = decoder.decode(content)
            assert_harmless(name, verdict)
            outcomes[verdict.outcome] += 1
        # The set is worth something only if it reaches beyond the first check of each format.
        assert outcomes["decoded"] > count / 5
        assert outcomes["UnreadablePicture"] > count / 5
        assert outcomes["UnsupportedFormat"] < count / 20

    def test_3000_damaged_files_yield_images_or_clean_errors(self, decoder: DecoderProcess) -> None:
        self.judge(3_500, decoder)

    @pytest.mark.long
    def test_100_000_damaged_files_yield_images_or_clean_errors(self, decoder: DecoderProcess) -> None:
        self.judge(100_000, decoder)

    def test_damage_is_reproducible_by_its_number(self) -> None:
        assert damaged_file(77) == damaged_file(77)
        assert damaged_file(77) != damaged_file(77 + len(good_files()))


class TestTwoFilesInOne:
    """What hides behind or inside a picture does not come out again."""

    SECRET = b"<script>alert(1)</script> PK\x03\x04 %PDF-1.7 " * 20

    @pytest.mark.parametrize(
        "kind", ["jpg", "jpg progressive", "png", "webp", "avif", "heic", "bmp", "gif", "tiff"]
    )
    @pytest.mark.parametrize("format", ["png", "jpg", "webp", "avif"])
    def test_appended_data_is_dropped(self, kind: str, format: str) -> None:
        plain = good_files()[kind]
        picture = codecs.decode(plain + self.SECRET)
        assert np.array_equal(picture.pixels, codecs.decode(plain).pixels)
        answer = codecs.encode(picture.pixels, format)
        for piece in (b"script", b"PK\x03\x04", b"%PDF"):
            assert piece not in answer

    def test_embedded_data_is_dropped(self) -> None:
        jpeg, png = good_files()["jpg"], good_files()["png"]
        webp = photos.file_bytes(photos.photo("coffee")[:96, :128], "WEBP")
        carriers = [
            jpeg[:2] + hostile.segment(0xFE, self.SECRET) + jpeg[2:],
            png[:33] + hostile.png_chunk(b"tEXt", b"a\0" + self.SECRET) + png[33:],
            hostile.riff(
                hostile.webp_canvas(128, 96, 0x04), (webp[12:16], webp[20:]), (b"XMP ", self.SECRET)
            ),
        ]
        for carrier in carriers:
            assert b"script" in carrier
            assert b"script" not in codecs.encode(codecs.decode(carrier).pixels, "png")


@pytest.fixture(scope="module")
def pillow_test_images() -> Path:
    """The picture files of the installed Pillow's own source distribution, fetched once."""
    folder = Path(os.environ.get("BGERASER_DATA_DIR", "data"), "test-files", f"pillow-{PIL.__version__}")
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as unfinished:
            problem = _fetch_pillow_images(Path(unfinished))
            if problem:
                message = f"The source distribution of Pillow cannot be had: {problem}"
                if os.environ.get("CI", "").lower() == "true":
                    pytest.fail(message)
                pytest.skip(message)
            Path(unfinished, "images").rename(folder)
    return folder


def _fetch_pillow_images(folder: Path) -> str:
    """Fill `folder`/images; what went wrong, or nothing."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pillow"]
    fetched = subprocess.run(
        [*command, "--dest", str(folder), f"pillow=={PIL.__version__}"], capture_output=True, text=True
    )
    archives = list(folder.glob("*.tar.gz"))
    if not archives:
        return fetched.stderr.strip()[-500:] or "pip downloaded nothing"
    with tarfile.open(archives[0]) as archive:
        for member in archive.getmembers():
            _, _, path = member.name.partition("/Tests/images/")
            if path and member.isfile():
                member.name = path
                archive.extract(member, folder / "images", filter="data")
    return "" if (folder / "images").is_dir() else "it has no Tests/images"


def test_the_test_files_of_pillow_are_harmless(pillow_test_images: Path, decoder: DecoderProcess) -> None:
    outcomes: dict[str, str] = {}
    for path in sorted(pillow_test_images.rglob("*")):
        if path.is_file():
            verdict = decoder.decode(path.read_bytes())
            assert_harmless(path.name, verdict)
            outcomes[str(path.relative_to(pillow_test_images))] = verdict.outcome
    infamous = ("bomb", "oom-", "timeout-", "crash-", "ossfuzz", "overrun", "oob", "segfault", "dos")
    # A text of 1 GB, which is not pixel data, and an image of 100 x 100 pixels.
    within_limits = ("png_decompression_dos.png", "decompression_bomb_extents.gif")
    for name, outcome in outcomes.items():
        if any(word in name for word in infamous) and not name.endswith(within_limits):
            assert outcome in ("UnsupportedFormat", "UnreadablePicture", "PictureTooLarge"), name
    # Its text of 1 GB is not pixel data and is never inflated.
    assert outcomes["png_decompression_dos.png"] == "decoded"
    endings = ("jpg", "png", "webp", "bmp", "gif", "tif")
    assert {outcomes[f"hopper.{ending}"] for ending in endings} == {"decoded"}
    assert outcomes["truncated_jpeg.jpg"] == "decoded"  # it lacks only half of its end marker
    assert {outcomes[name] for name in ("truncated_image.png", "broken.png")} == {"UnreadablePicture"}
    assert sum(outcome == "decoded" for outcome in outcomes.values()) > 400
