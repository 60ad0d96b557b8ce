"""The registry of checkpoints (weights files), their digests and licences."""
