"""One module per input format.

Each has `read(data, max_pixels) -> Opened`. JPEG, PNG and WebP files are parsed here first, so that the size
is checked before any native decoder runs and only pixel data is passed on. Comments, XMP, text, thumbnails
and further frames are never parsed, so they can neither break a valid picture nor exhaust a worker.
Everything here runs in worker processes only, except `strip_metadata`.
"""
