"""The media types of the formats of stored files."""

MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "heic": "image/heic",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "tiff": "image/tiff",
    "zip": "application/zip",
}
