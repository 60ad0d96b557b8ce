"""PNGs with gAMA and cHRM, compared with the formulas in 64-bit numbers."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.imaging import codecs
from ml.imaging.formats import png
from tests.support.ml.hostile import png as png_file
from tests.support.ml.hostile import png_chunk

Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]

SRGB: Primaries = ((0.3127, 0.329), (0.64, 0.33), (0.3, 0.6), (0.15, 0.06))  # white, red, green, blue
ADOBE: Primaries = ((0.3127, 0.329), (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
WIDE_UNDER_D50: Primaries = ((0.3457, 0.3585), (0.7347, 0.2653), (0.1152, 0.8264), (0.1566, 0.0177))
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_GENERATOR = np.random.default_rng(18)
_NAMES = {0: "grey", 2: "colour", 4: "grey with alpha", 6: "colour with alpha"}
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


def gamma(value: float) -> bytes:
    return png_chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def chromaticities(primaries: Primaries) -> bytes:
    numbers = (round(value * 100_000) for pair in primaries for value in pair)
    return png_chunk(b"cHRM", struct.pack(">8I", *numbers))


def file_of(samples: NDArray[np.integer], kind: int, *chunks: bytes) -> bytes:
    """H x W x channels of 8 or 16 bits."""
    height, width = samples.shape[:2]
    depth = 8 * samples.dtype.itemsize
    rows = samples.astype(f">u{depth // 8}").reshape(height, -1).view(np.uint8)
    lines = np.hstack([np.zeros((height, 1), np.uint8), rows])
    return png_file(width, height, *chunks, depth=depth, colors=kind, idat=zlib.compress(lines.tobytes()))


def _to_xyz(primaries: Primaries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    white, *others = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in primaries)
    columns = np.column_stack(others)
    return columns * np.linalg.solve(columns, white), white


def expected(
    samples: NDArray[np.integer], exponent: float, primaries: Primaries = SRGB
) -> NDArray[np.float64]:
    """sRGB 0..255 of H x W x 3."""
    (own, own_white), (srgb, srgb_white) = _to_xyz(primaries), _to_xyz(SRGB)
    adaptation = np.diag((_BRADFORD @ srgb_white) / (_BRADFORD @ own_white))
    matrix = np.linalg.inv(srgb) @ np.linalg.inv(_BRADFORD) @ adaptation @ _BRADFORD @ own
    light = (samples / np.iinfo(samples.dtype).max) ** (1 / exponent)
    linear = np.clip(light @ matrix.T, 0, 1)
    return np.asarray(
        255 * np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    )


def random_samples(bits: int, channels: int) -> NDArray[np.integer]:
    """Of all brightnesses; a third is dark, where rounding too early shows."""
    largest = (1 << bits) - 1
    samples = _GENERATOR.integers(0, largest + 1, (60, 40, channels))
    samples[:20] >>= bits // 2
    return samples.astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize("primaries", [None, SRGB, ADOBE, WIDE_UNDER_D50])
@pytest.mark.parametrize("exponent", [1.0, 0.55556, 0.45471, 0.38462, 0.2])
@pytest.mark.parametrize("kind", _NAMES, ids=_NAMES.values())
@pytest.mark.parametrize("bits", [8, 16])
def test_every_kind_of_pixel_is_within_a_level_of_the_formulas(
    bits: int, kind: int, exponent: float, primaries: Primaries | None
) -> None:
    if exponent == 0.45471 and primaries in (None, SRGB):
        pytest.skip("with sRGB's primaries it means sRGB's curve")
    samples = random_samples(bits, _CHANNELS[kind])
    chunks = [gamma(exponent)] + ([] if primaries is None else [chromaticities(primaries)])
    pixels = codecs.decode(file_of(samples, kind, *chunks)).pixels
    colors = samples[..., :3] if kind in (2, 6) else samples[..., [0, 0, 0]]
    # White is white under any primaries, so grey depends on the gamma alone.
    wanted = expected(colors, exponent, (primaries or SRGB) if kind in (2, 6) else SRGB)
    assert np.abs(pixels[..., :3] - wanted).max() <= 1
    if kind in (4, 6):
        assert np.array_equal(pixels[..., 3], np.rint(samples[..., -1] / (257 if bits == 16 else 1)))


@pytest.mark.parametrize("is_transparent", [False, True])
def test_a_palette_is_converted_with_its_transparency(is_transparent: bool) -> None:
    colors = _GENERATOR.integers(0, 256, (256, 3)).astype(np.uint8)
    alphas = np.arange(256, dtype=np.uint8)[::-1]
    chunks = [gamma(0.6), chromaticities(ADOBE), png_chunk(b"PLTE", colors.tobytes())]
    if is_transparent:
        chunks.append(png_chunk(b"tRNS", alphas.tobytes()))
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    pixels = codecs.decode(file_of(indices, 3, *chunks)).pixels
    assert np.abs(pixels[..., :3] - expected(colors[indices[..., 0]], 0.6, ADOBE)).max() <= 1
    assert pixels.shape[2] == (4 if is_transparent else 3)
    if is_transparent:
        assert np.array_equal(pixels[..., 3], alphas[indices[..., 0]])


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour_is_the_stored_one(bits: int) -> None:
    samples = random_samples(bits, 3)
    red, green, blue = map(int, samples[5, 7])
    key = png_chunk(b"tRNS", struct.pack(">3H", red, green, blue))
    pixels = codecs.decode(file_of(samples, 2, gamma(1.0), key)).pixels
    assert np.array_equal(pixels[..., 3] == 0, (samples == samples[5, 7]).all(axis=2))
    assert np.abs(pixels[..., :3] - expected(samples, 1.0)).max() <= 1


@settings(max_examples=200, deadline=None)
@given(
    exponent=st.floats(0.1, 3.0),
    primaries=st.tuples(
        *(st.tuples(st.floats(x - 0.1, x + 0.1), st.floats(y - 0.05, y + 0.1)) for x, y in SRGB)
    ),
    is_deep=st.booleans(),
)
@example(0.40, ADOBE, False)  # a colour engine of 8 bits gave greys a tint with it
@example(1.0, ADOBE, True)
def test_greys_stay_grey_under_any_primaries(exponent: float, primaries: Primaries, is_deep: bool) -> None:
    grey = np.arange(65_536, dtype=np.uint16).reshape(256, 256, 1)
    samples = grey if is_deep else (grey >> 8).astype(np.uint8)[:, :4]
    content = file_of(np.repeat(samples, 3, axis=2), 2, gamma(exponent), chromaticities(primaries))
    pixels = codecs.decode(content).pixels
    assert (np.ptp(pixels, axis=2) == 0).all()
    assert (np.diff(pixels[..., 0].astype(int).ravel()[:: 1 if is_deep else 4]) >= 0).all()


@settings(max_examples=200, deadline=None)
@given(
    exponent=st.floats(0.15, 3.0),
    primaries=st.tuples(
        *(st.tuples(st.floats(x - 0.04, x + 0.04), st.floats(y - 0.04, y + 0.04)) for x, y in SRGB)
    ),
    bits=st.sampled_from([8, 16]),
)
def test_random_colours_follow_the_formulas(exponent: float, primaries: Primaries, bits: int) -> None:
    exponent = round(exponent, 5)
    rounded = tuple((round(x, 5), round(y, 5)) for x, y in primaries)
    is_srgb = all(
        abs(one - other) < 0.006
        for pair in zip(rounded, SRGB, strict=True)
        for one, other in zip(*pair, strict=True)
    )
    if is_srgb or exponent == 0.45455:
        return
    samples = random_samples(bits, 3)
    pixels = codecs.decode(
        file_of(samples, 2, gamma(exponent), chromaticities(rounded))  # type: ignore[arg-type]
    ).pixels
    assert np.abs(pixels - expected(samples, exponent, rounded)).max() <= 1  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(
    exponent=st.integers(0, 2**32 - 1), numbers=st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=8)
)
@example(0, [31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000])
@example(100_000, [0] * 8)
@example(100_000, [2**32 - 1] * 8)
@example(100_000, [31270, 32900, 30000, 30000, 30000, 30000, 15000, 6000])
def test_any_numbers_give_a_picture(exponent: int, numbers: list[int]) -> None:
    samples = random_samples(8, 3)[:4]
    chunks = png_chunk(b"gAMA", struct.pack(">I", exponent)), png_chunk(b"cHRM", struct.pack(">8I", *numbers))
    assert codecs.decode(file_of(samples, 2, *chunks)).pixels.shape == (4, 40, 3)


@pytest.mark.parametrize(
    "chunks",
    [
        (gamma(0.45455), chromaticities(SRGB)),
        (gamma(0.45455),),
        (chromaticities(ADOBE),),  # means nothing without a gamma
        (gamma(0), chromaticities(ADOBE)),
        (gamma(1.0), chromaticities(ADOBE), png_chunk(b"sRGB", b"\0")),
        (png_chunk(b"cICP", bytes([1, 13, 0, 1])), gamma(1.0), chromaticities(ADOBE)),
    ],
    ids=["srgb", "srgb's gamma", "no gamma", "gamma 0", "sRGB first", "cICP first"],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_srgb_keeps_each_value(bits: int, chunks: tuple[bytes, ...]) -> None:
    samples = random_samples(bits, 3)
    assert np.array_equal(
        codecs.decode(file_of(samples, 2, *chunks)).pixels, codecs.decode(file_of(samples, 2)).pixels
    )


def test_a_stored_upload_has_the_same_colours_and_a_result_none_of_the_chunks() -> None:
    samples = random_samples(16, 3)
    content = file_of(samples, 2, gamma(1.0), chromaticities(ADOBE))
    stored = codecs.strip_metadata(content)
    assert stored is not None
    pixels = codecs.decode(content).pixels
    assert np.array_equal(codecs.decode(stored).pixels, pixels)
    for format in ("png", "jpg", "webp", "avif"):
        result = codecs.encode(pixels, format)
        assert b"gAMA" not in result
        assert b"cHRM" not in result
    assert np.array_equal(codecs.decode(codecs.encode(pixels, "png")).pixels, pixels)


def test_a_conversion_takes_little_memory_besides_the_picture() -> None:
    samples = np.zeros((3000, 2000, 3), np.uint8)
    content = file_of(samples, 2, gamma(1.0), chromaticities(ADOBE))
    tracemalloc.start()
    try:
        png.read(content, 50_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 25 << 20  # a whole picture of the numbers would take 72 MB
