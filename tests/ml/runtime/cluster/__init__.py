"""Tests of `ml.runtime.cluster`."""
