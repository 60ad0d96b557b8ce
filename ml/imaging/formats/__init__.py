"""One module per input format: what of a stranger's file reaches the native decoder, and how it is read.

Each has `read(data, max_pixels) -> Opened`. JPEG, PNG and WebP files are taken apart here first: the size is
known before any decoder runs, and only the parts that make pixels are handed on. Comments, XMP, text,
thumbnails and further frames never reach a parser: they can neither fail a good picture nor exhaust a worker.
Everything here runs in worker processes only.
"""
