"""Converts the colours of a file to sRGB, 8 bits a channel."""

import io

import numpy as np
from PIL import Image, ImageCms

# A profile this close to sRGB (in levels of 255, anywhere in the colour cube) is sRGB with other rounding;
# skipping the conversion keeps the stored values exact.
_SAME_COLORS = 1
_CUBE_STEPS = 9


def to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """RGB, or RGBA where some pixel is not opaque, from L, LA, RGB, RGBA or CMYK; may change `image`.

    A profile that is damaged or of another colour space than the picture is ignored, as in browsers: the
    picture is then treated as sRGB, and CMYK becomes (255 - C)(255 - K) / 255 and so on.
    """
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    if alpha is not None and alpha.getextrema()[0] == 255:
        alpha = None
    if icc_profile is not None:
        image = _apply_profile(image, icc_profile)
    if alpha is None:
        return _in_mode(image, "RGB")
    if image.mode != "RGBA":
        image = _in_mode(image, "RGB")
        image.putalpha(alpha)
    return image


def _apply_profile(image: Image.Image, icc_profile: bytes) -> Image.Image:
    # Floating-point element chains (for film) can be arbitrarily long, and building a transform evaluates
    # each hundreds of thousands of times.
    if b"mpet" in icc_profile:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        space = profile.profile.xcolor_space.strip()
        if space == "RGB" and image.mode != "CMYK":
            return _from_rgb(image, profile)
        if space == "GRAY" and image.mode in ("L", "LA"):
            return _from_grey(image.getchannel("L"), profile)
        if space == "CMYK" and image.mode == "CMYK":
            return _transformed(image, profile)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return image
    return image


def _from_rgb(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    if _is_srgb(profile):
        return image
    image = _in_mode(image, "RGBA" if image.mode in ("LA", "RGBA") else "RGB")
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), image.mode, image.mode)
    ImageCms.applyTransform(image, transform, inPlace=True)  # alpha passes untouched
    return image


def _from_grey(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    # Convert all 256 greys exactly into a table; Little CMS would interpolate between a few.
    greys = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    table = np.asarray(_transformed(greys, profile, ImageCms.Flags.NOOPTIMIZE))[0]
    return Image.fromarray(table[np.asarray(image)])


def _transformed(
    image: Image.Image, profile: ImageCms.ImageCmsProfile, flags: ImageCms.Flags = ImageCms.Flags.NONE
) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(profile, srgb, image.mode, "RGB", flags=flags)
    answer = ImageCms.applyTransform(image, transform)
    return image if answer is None else answer


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    """Whether the profile leaves a regular sample of all colours unchanged."""
    steps = np.linspace(0, 255, _CUBE_STEPS).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    converted = np.asarray(_transformed(Image.fromarray(cube), profile))
    return int(np.abs(converted.astype(np.int16) - cube).max()) <= _SAME_COLORS


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)
