"""Runs calls in a Ray cluster, see `ml.runtime.cluster.backend`."""
