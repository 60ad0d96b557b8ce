"""Files made to crash, exhaust or deceive a decoder. Small or big, each is at most 25 MiB, as uploads are."""

import struct
import zlib
from collections.abc import Iterator

from tests.support.ml import profiles

UPLOAD_BYTES = 25 * 1024 * 1024
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def png_chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colors: int = 2, idat: bytes = b"") -> bytes:
    """A PNG of hand-made chunks; without `idat` its pixels are black, as far as they fit."""
    header = struct.pack(">IIBBBBB", width, height, depth, colors, 0, 0, 0)
    if not idat:
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colors]
        row_bytes = (width * channels * depth + 7) // 8 + 1
        idat = zlib.compress(b"\0" * min(row_bytes * height, 1 << 26), 9)
    return (
        PNG_MAGIC
        + png_chunk(b"IHDR", header)
        + b"".join(chunks)
        + png_chunk(b"IDAT", idat)
        + png_chunk(b"IEND", b"")
    )


def zeros_deflated(size_bytes: int) -> bytes:
    """A zlib stream of that many zeros, about a thousandth as long, without ever holding them."""
    block_bytes = 1 << 20
    packer = zlib.compressobj(9)
    parts = [packer.compress(b"\0" * block_bytes), packer.flush(zlib.Z_FULL_FLUSH)]
    repeated = packer.compress(b"\0" * block_bytes) + packer.flush(zlib.Z_FULL_FLUSH)
    parts.append(repeated * (size_bytes // block_bytes - 1))
    parts.append(
        b"\x03\x00"
    )  # an empty last block; the checksum behind it does not match and is never reached
    return b"".join(parts) + b"\0\0\0\1"


def segment(marker: int, payload: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


def progressive_jpeg(side: int, scans: int) -> bytes:
    """Progressive JPEG whose scans after the first are valid and all but empty."""
    blocks = ((side + 7) // 8) ** 2
    table = segment(0xDB, b"\0" + b"\1" * 64)
    frame = segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    one_code = bytes([1] + [0] * 15)
    codes = segment(0xC4, b"\x00" + one_code + b"\0") + segment(0xC4, b"\x10" + one_code + b"\xe0")
    first = segment(0xDA, b"\1\1\0" + b"\0\0\0") + b"\0" * (blocks // 8 + 1)
    empty_run = b"\0" * ((15 * (blocks // 16384 + 2) + 7) // 8)  # each code ends 16,384 blocks at once
    scan = segment(0xDA, b"\1\1\0" + bytes([1, 63, 0])) + empty_run
    return b"\xff\xd8" + table + frame + codes + first + scan * (scans - 1) + b"\xff\xd9"


def exif_with_many_large_tags(size_bytes: int) -> bytes:
    """A TIFF block whose every entry names the whole block as its value."""
    count = min(65_535, (size_bytes - 14) // 12)
    entries = b"".join(struct.pack(">HHII", number, 7, size_bytes - 8, 8) for number in range(1, count + 1))
    block = b"MM\0*" + struct.pack(">IH", 8, count) + entries
    return block + b"\0" * (size_bytes - len(block))


def box(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload) + 8) + name + payload


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [
        name + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) & 1)
        for name, payload in chunks
    ]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", bytes([flags, 0, 0, 0]) + size


def claim_size(content: bytes, width: int, height: int) -> bytes:
    """An AVIF or HEIC file whose container claims (in each `ispe`) another size than its pixels have."""
    parts = content.split(b"ispe\0\0\0\0")
    size = struct.pack(">II", width, height)
    return parts[0] + b"".join(b"ispe\0\0\0\0" + size + part[8:] for part in parts[1:])


def boxes(content: bytes, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of an AVIF or HEIC file, or of the box whose payload this is."""
    while start + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, start)
        yield name, content[start + 8 : start + size]
        start += size


def with_many_extents(content: bytes, extents: int, filler: bytes) -> bytes:
    """An AVIF or HEIC file each of whose items is that many times the same 20 MB."""
    top = dict(boxes(content))
    inner = list(boxes(top[b"meta"], 4))
    item_count = int.from_bytes(dict(inner)[b"iinf"][4:6], "big")

    def head(filler_at: int) -> bytes:
        places = struct.pack(">II", filler_at, len(filler)) * extents
        items = b"".join(
            struct.pack(">HHH", number, 0, extents) + places for number in range(1, item_count + 1)
        )
        locations = b"\0\0\0\0\x44\0" + struct.pack(">H", item_count) + items
        body = b"".join(box(name, locations if name == b"iloc" else payload) for name, payload in inner)
        return box(b"ftyp", top[b"ftyp"]) + box(b"meta", b"\0\0\0\0" + body)

    return head(len(head(0)) + 8) + box(b"mdat", filler)


def profile_with_long_chain() -> bytes:
    """An RGB profile whose table is a chain of 30,000 floating-point steps (`mpet`), each a matrix.

    Little CMS takes two minutes to prepare it.
    """
    matrix = b"matf\0\0\0\0" + struct.pack(">HH12f", 3, 3, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    count = 30_000
    places = struct.pack(">II", 16 + 8 * count, len(matrix)) * count
    chain = b"mpet\0\0\0\0" + struct.pack(">HHI", 3, 3, count) + places + matrix
    return profiles.profile(b"mntr", b"RGB ", b"XYZ ", {b"D2B0": chain})
