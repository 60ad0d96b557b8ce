"""Decoded colours: profiles, CMYK and 16 bits become 8-bit sRGB."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ml.imaging import codecs
from tests.support.ml import hostile, photos, profiles

PHOTO = photos.photo("astronaut")[40:160, 160:320]


def largest_difference(one: NDArray[np.uint8], other: NDArray[np.float64] | NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(np.float64) - other).max())


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def with_chunks(*chunks: bytes) -> bytes:
    """The photo as a PNG that states nothing about its colours, and these chunks."""
    content = io.BytesIO()
    Image.fromarray(PHOTO).save(content, "PNG")
    return content.getvalue()[:33] + b"".join(chunks) + content.getvalue()[33:]


def gamma_chunk(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def chromaticity_chunk(*values: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values)))


class TestGammaOfPng:
    SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
    ADOBE = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)

    @pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 1 / 2.6])
    def test_a_gamma_is_applied(self, gamma: float) -> None:
        pixels = codecs.decode(with_chunks(gamma_chunk(gamma))).pixels
        assert largest_difference(pixels, profiles.to_srgb(PHOTO, profiles.SRGB, 1 / gamma)) <= 3
        assert largest_difference(pixels, PHOTO) > 10

    # Adobe RGB's own gamma, and sRGB's as the standard writes it, which stands for its curve.
    @pytest.mark.parametrize(("gamma", "curve"), [(256 / 563, 563 / 256), (0.45455, None)])
    def test_chromaticities_are_applied_with_a_gamma(self, gamma: float, curve: float | None) -> None:
        pixels = codecs.decode(with_chunks(gamma_chunk(gamma), chromaticity_chunk(*self.ADOBE))).pixels
        assert largest_difference(pixels, profiles.to_srgb(PHOTO, profiles.ADOBE_RGB, curve)) <= 3
        assert largest_difference(pixels, PHOTO) > 20

    def test_grey_is_converted_too(self) -> None:
        grey = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
        content = io.BytesIO()
        Image.fromarray(grey).save(content, "PNG")
        data = content.getvalue()[:33] + gamma_chunk(1.0) + content.getvalue()[33:]
        pixels = codecs.decode(data).pixels
        assert np.ptp(pixels, axis=2).max() <= 1
        assert 180 < pixels[0, 128, 0] < 195  # half of the light

    def test_what_is_srgb_or_cannot_be_leaves_every_value_as_stored(self) -> None:
        cases = [
            (gamma_chunk(0.45455),),
            (gamma_chunk(0.45455), chromaticity_chunk(*self.SRGB)),
            (chromaticity_chunk(*self.ADOBE),),  # means nothing without a gamma
            (gamma_chunk(0),),
            (gamma_chunk(400),),
            (gamma_chunk(1), chromaticity_chunk(0.3127, 0, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)),
            (gamma_chunk(1), chromaticity_chunk(0.3127, 0.329, *[0.3] * 6)),
            (gamma_chunk(1), chromaticity_chunk(*[40_000.0] * 8)),
            (chunk(b"gAMA", b"\0\1"),),
            (chunk(b"sRGB", b"\0"), gamma_chunk(1), chromaticity_chunk(*self.ADOBE)),
        ]
        for chunks in cases:
            assert np.array_equal(codecs.decode(with_chunks(*chunks)).pixels, PHOTO), chunks


class TestProfiles:
    def test_a_profile_with_red_and_blue_exchanged_exchanges_them(self) -> None:
        profile = profiles.rgb_profile(profiles.SRGB[:, ::-1], gamma=None)
        for format, options in (("PNG", {}), ("WEBP", {"lossless": True})):
            content = photos.file_bytes(PHOTO, format, icc_profile=profile, **options)
            assert largest_difference(codecs.decode(content).pixels, PHOTO[..., ::-1]) <= 1

    @pytest.mark.parametrize("format", ["JPEG", "AVIF", "HEIC"])
    def test_profiles_of_lossy_formats_are_applied_too(self, format: str) -> None:
        profile = profiles.rgb_profile(profiles.SRGB[:, ::-1], gamma=None)
        if format == "HEIC":
            content = photos.heic_bytes(PHOTO, icc_profile=profile)
        else:
            content = photos.file_bytes(PHOTO, format, quality=90, icc_profile=profile)
        pixels = codecs.decode(content).pixels
        assert np.abs(pixels.astype(np.int16) - PHOTO[..., ::-1]).mean() < 4
        assert np.abs(pixels.astype(np.int16) - PHOTO).mean() > 15

    def test_adobe_rgb_is_converted_according_to_both_definitions(self) -> None:
        gamma = 563 / 256
        profile = profiles.rgb_profile(profiles.ADOBE_RGB, gamma)
        pixels = codecs.decode(photos.png_bytes(PHOTO, icc_profile=profile)).pixels
        assert largest_difference(pixels, profiles.to_srgb(PHOTO, profiles.ADOBE_RGB, gamma)) <= 2
        assert largest_difference(pixels, PHOTO) > 20  # it does something

    def test_a_profile_that_is_srgb_leaves_every_value_as_stored(self) -> None:
        profile = profiles.rgb_profile(profiles.SRGB, gamma=None)
        assert np.array_equal(codecs.decode(photos.png_bytes(PHOTO, icc_profile=profile)).pixels, PHOTO)

    def test_a_profile_does_not_change_alpha(self) -> None:
        rgba = np.dstack([PHOTO, PHOTO[..., 1]])
        profile = profiles.rgb_profile(profiles.SRGB[:, ::-1], gamma=None)
        pixels = codecs.decode(photos.png_bytes(rgba, icc_profile=profile)).pixels
        assert np.array_equal(pixels[..., 3], PHOTO[..., 1])
        assert largest_difference(pixels[..., :3], PHOTO[..., ::-1]) <= 1

    def test_a_grey_profile_is_applied(self) -> None:
        grey = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
        expected = profiles.to_srgb(np.dstack([grey] * 3), profiles.SRGB, 1.0)
        for stored in (grey, np.dstack([grey, grey])):
            pixels = codecs.decode(photos.png_bytes(stored, icc_profile=profiles.grey_profile(1.0))).pixels
            assert largest_difference(pixels[..., :3], expected) <= 2

    @pytest.mark.parametrize(
        "profile",
        [
            b"not a profile",
            profiles.rgb_profile(profiles.ADOBE_RGB, 2.2)[:200],
            b"\0" * 5000,
            profiles.grey_profile(1.8),  # of another kind than the picture
            profiles.cmyk_profile_where_cyan_prints_red(),
        ],
        ids=["text", "cut short", "zeros", "grey", "cmyk"],
    )
    def test_a_broken_or_mismatched_profile_is_ignored(self, profile: bytes) -> None:
        assert np.array_equal(codecs.decode(photos.png_bytes(PHOTO, icc_profile=profile)).pixels, PHOTO)

    def test_a_jpeg_profile_in_unordered_segments_is_reassembled(self) -> None:
        profile = profiles.rgb_profile(profiles.SRGB[:, ::-1], gamma=None)
        pieces = [profile[:300], profile[300:500], profile[500:]]
        segments = [
            hostile.segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 3]) + piece)
            for number, piece in enumerate(pieces, 1)
        ]
        plain = photos.jpeg_bytes(PHOTO)
        exchanged = codecs.decode(plain[:2] + b"".join(segments[::-1]) + plain[2:]).pixels
        assert np.abs(exchanged.astype(np.int16) - codecs.decode(plain).pixels[..., ::-1]).max() <= 2
        incomplete = codecs.decode(plain[:2] + b"".join(segments[1:]) + plain[2:]).pixels
        assert np.array_equal(incomplete, codecs.decode(plain).pixels)


class TestCodePoints:
    """Wide colour without an ICC profile: primaries 12 are Display P3's, 9 are BT.2020's, 1 are sRGB's."""

    @pytest.mark.parametrize(("number", "primaries"), [(12, profiles.DISPLAY_P3), (9, profiles.BT_2020)])
    def test_png_colours_are_converted(self, number: int, primaries: profiles.Matrix) -> None:
        content = self.png(number)
        expected = profiles.to_srgb(PHOTO, primaries, gamma=None)
        assert largest_difference(codecs.decode(content).pixels, expected) <= 2
        assert largest_difference(PHOTO, expected) > 20

    def test_srgb_and_unknown_primaries_change_no_value(self) -> None:
        for number in (0, 1, 2, 99):
            assert np.array_equal(codecs.decode(self.png(number)).pixels, PHOTO)

    def test_cicp_in_png_takes_precedence_over_a_profile(self) -> None:
        exchanged = photos.png_bytes(
            PHOTO, icc_profile=profiles.rgb_profile(profiles.SRGB[:, ::-1], gamma=None)
        )
        points = hostile.png_chunk(b"cICP", bytes([1, 13, 0, 1]))
        behind_the_profile = exchanged.index(b"IDAT") - 4
        for at in (33, behind_the_profile):
            content = exchanged[:at] + points + exchanged[at:]
            assert np.array_equal(codecs.decode(content).pixels, PHOTO)

    def test_avif_and_heic_colours_are_converted(self) -> None:
        stored = np.full((64, 64, 3), (70, 190, 60), np.uint8)
        plain = photos.file_bytes(stored, "AVIF", quality=95)
        assert plain.count(b"colrnclx\0\1\0\x0d") == 1
        wide = plain.replace(b"colrnclx\0\1\0\x0d", b"colrnclx\0\x0c\0\x0d")
        heic = photos.heic_bytes(stored, quality=95, color_primaries=12, transfer_characteristic=13)
        expected = profiles.to_srgb(stored, profiles.DISPLAY_P3, gamma=None)
        assert largest_difference(stored, expected) > 60
        for content in (wide, heic):
            assert largest_difference(codecs.decode(content).pixels, expected) <= 8

    def png(self, number: int) -> bytes:
        content = photos.png_bytes(PHOTO)
        return content[:33] + hostile.png_chunk(b"cICP", bytes([number, 13, 0, 1])) + content[33:]


class TestCmyk:
    INKS = np.array(
        [[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 255], [128, 0, 0, 128]], np.uint8
    )

    def jpeg(self, **options: object) -> bytes:
        """Eight by eight pixels of each ink, which JPEG keeps nearly exact. Pillow writes Adobe's form."""
        inks = self.INKS.repeat(8, axis=0)[None].repeat(8, axis=0)
        out = io.BytesIO()
        Image.frombytes("CMYK", (40, 8), inks.tobytes()).save(
            out, "JPEG", quality=100, subsampling=0, **options
        )
        return out.getvalue()

    def test_cmyk_without_a_profile_is_subtractive(self) -> None:
        content = self.jpeg()
        assert b"Adobe" in content
        colors = codecs.decode(content).pixels[4, 4::8]
        expected = (255 - self.INKS[:, :3].astype(float)) * (255 - self.INKS[:, 3:].astype(float)) / 255
        assert largest_difference(colors, expected) <= 3

    def test_a_cmyk_profile_is_applied(self) -> None:
        content = self.jpeg(icc_profile=profiles.cmyk_profile_where_cyan_prints_red())
        colors = codecs.decode(content).pixels[4, 4::8]
        assert largest_difference(colors[0], np.array([255.0, 255.0, 255.0])) <= 3
        assert largest_difference(colors[1], np.array([255.0, 0.0, 0.0])) <= 6
        assert largest_difference(colors[2], np.array([0.0, 0.0, 0.0])) <= 6

    def test_ycck_is_read_as_cmyk(self) -> None:
        # Adobe's transform 2 with these values: Y = 255 and neutral chroma is no ink at all but K.
        content = self.jpeg().replace(b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\x02")
        assert codecs.decode(content).pixels.shape == (8, 40, 3)
        assert not np.array_equal(codecs.decode(content).pixels, codecs.decode(self.jpeg()).pixels)

    def test_the_orientation_is_applied_as_well(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        assert codecs.decode(self.jpeg(exif=exif)).pixels.shape == (40, 8, 3)


def rounded(samples: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return np.rint(samples.astype(np.float64) * 255 / 65535).astype(np.uint8)


class TestSixteenBits:
    SAMPLES = np.random.default_rng(16).integers(0, 65536, (40, 300, 4)).astype(np.uint16)

    def png(self, colors: int, samples: NDArray[np.uint16], *chunks: bytes) -> bytes:
        """Written by hand: no library here writes grey with alpha of 16 bits."""
        height, width = samples.shape[:2]
        rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
        lines = np.hstack([np.zeros((height, 1), np.uint8), rows])
        return hostile.png(
            width, height, *chunks, depth=16, colors=colors, idat=zlib.compress(lines.tobytes())
        )

    def test_every_grey_value_is_rounded_to_the_nearest(self) -> None:
        samples = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        assert np.array_equal(codecs.decode(self.png(0, samples)).pixels[..., 0], rounded(samples))

    def test_colour_is_rounded_to_the_nearest(self) -> None:
        pixels = codecs.decode(self.png(2, self.SAMPLES[..., :3])).pixels
        assert np.array_equal(pixels, rounded(self.SAMPLES[..., :3]))

    def test_colour_with_transparency_is_rounded_to_the_nearest(self) -> None:
        assert np.array_equal(codecs.decode(self.png(6, self.SAMPLES)).pixels, rounded(self.SAMPLES))

    def test_grey_with_transparency_is_rounded_to_the_nearest(self) -> None:
        pixels = codecs.decode(self.png(4, self.SAMPLES[..., :2])).pixels
        assert np.array_equal(pixels, rounded(self.SAMPLES[..., [0, 0, 0, 1]]))

    def test_filtered_and_interlaced_rows_are_read_like_any_other(self) -> None:
        smooth = (np.add.outer(np.arange(400) * 71, np.arange(300) * 97) % 65536).astype(np.uint16)
        rgb = np.dstack([smooth, smooth[::-1], smooth[:, ::-1]])
        is_written, content = cv2.imencode(".png", rgb[..., ::-1])
        assert is_written
        assert np.array_equal(codecs.decode(content.tobytes()).pixels, rounded(rgb))

    def test_a_transparent_colour_must_match_in_all_16_bits(self) -> None:
        samples = np.full((4, 4, 3), 0x1234, np.uint16)
        samples[1, 2] = 0x1235  # the same colour after rounding
        content = self.png(2, samples, hostile.png_chunk(b"tRNS", struct.pack(">3H", 0x1235, 0x1235, 0x1235)))
        alpha = codecs.decode(content).pixels[..., 3]
        assert alpha[1, 2] == 0
        assert alpha.sum() == 15 * 255

    def test_a_transparent_grey_must_match_in_all_16_bits(self) -> None:
        samples = np.array([[0x1234, 0x1235, 0x12FF]], np.uint16)
        content = self.png(0, samples, hostile.png_chunk(b"tRNS", struct.pack(">H", 0x1235)))
        assert codecs.decode(content).pixels[0, :, 3].tolist() == [255, 0, 255]

    def test_a_ten_bit_avif_becomes_eight_bit(self) -> None:
        flat = np.full((64, 64, 3), (200, 100, 50), np.uint16)
        options = [cv2.IMWRITE_AVIF_QUALITY, 100, cv2.IMWRITE_AVIF_DEPTH, 10]
        is_written, content = cv2.imencode(".avif", flat[..., ::-1] * 4, options)
        assert is_written
        assert largest_difference(codecs.decode(content.tobytes()).pixels, flat.astype(np.float64)) <= 1
