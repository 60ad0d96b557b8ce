"""Batches: one tool, or several in turn, for up to 5,000 images."""
