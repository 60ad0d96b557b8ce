"""Bytes to pixels and back. Decoding happens only in worker processes; `sniff` may run anywhere."""

MAX_INPUT_PIXELS = 50_000_000
MAX_OUTPUT_PIXELS = 64_000_000

import io

from ml.errors import BadParameter, PictureTooLarge, UnreadablePicture, UnsupportedFormat
from ml.pixels import Picture, Pixels


def sniff(first_bytes: bytes) -> str:
    """The format by magic bytes: jpg, png, webp, avif or heic. 32 bytes are enough."""
    head = first_bytes
    if head[:3] == b"\xff\xd8\xff":
        return "jpg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        brands = head[8:12] + head[16:64]
        if b"avif" in brands or b"avis" in brands:
            return "avif"
        if any(brand in brands for brand in (b"heic", b"heix", b"mif1", b"heim", b"heis")):
            return "heic"
    raise UnsupportedFormat("The file is no JPEG, PNG, WebP, AVIF or HEIC picture.")


def decode(data: bytes, max_pixels: int = MAX_INPUT_PIXELS) -> Picture:
    """The upright sRGB picture in `data`, first frame of an animation."""
    import numpy as np
    from PIL import Image, ImageOps

    format = sniff(data[:64])
    try:
        if format == "heic":
            import pillow_heif

            pillow_heif.register_heif_opener()
        names = {"jpg": ["JPEG", "MPO"], "png": ["PNG"], "webp": ["WEBP"], "avif": ["AVIF"], "heic": ["HEIF"]}
        with Image.open(io.BytesIO(data), formats=names[format]) as opened:
            if opened.width * opened.height > max_pixels:
                raise PictureTooLarge(f"{opened.width} x {opened.height} pixels; at most {max_pixels}.")
            picture = ImageOps.exif_transpose(opened)
            picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        return Picture(np.array(picture), format)
    except PictureTooLarge:
        raise
    except Exception as error:
        raise UnreadablePicture(f"The picture is damaged: {error}") from None


def encode(pixels: Pixels, format: str, quality: int = 90) -> bytes:
    """`pixels` (H x W x 3|4, or H x W for a mask) as png, jpg, webp or avif; no metadata."""
    import numpy as np
    from PIL import Image

    height, width = pixels.shape[:2]
    if height * width > MAX_OUTPUT_PIXELS:
        raise PictureTooLarge(f"{width} x {height} pixels; at most {MAX_OUTPUT_PIXELS}.")
    if max(height, width) > {"jpg": 65535, "webp": 16383}.get(format, 1 << 30):
        raise BadParameter("format", f"{format} cannot hold {width} x {height} pixels")
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    out = io.BytesIO()
    if format == "jpg":
        picture.convert("RGB").save(out, "JPEG", quality=quality)
    elif format == "png":
        picture.save(out, "PNG", compress_level=1)
    else:
        picture.save(out, format.upper(), quality=quality)
    return out.getvalue()


def resolve_format(wanted: str, source_format: str, has_alpha: bool, is_mask: bool) -> str:
    """The answer's format: `wanted`, or for auto png for transparency and masks, else the source's own."""
    if wanted != "auto":
        return wanted
    if has_alpha or is_mask:
        return "png"
    return "jpg" if source_format == "heic" else source_format
