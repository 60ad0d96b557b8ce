"""Stored images: their rows, bytes, signed addresses and previews."""
