"""Checkpoints (files of weights): their registry, digests, licences and download."""
