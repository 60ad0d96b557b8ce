"""The tests of the local backend, run with replicas of a Ray cluster."""

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.long]

_FILES = [
    f"tests/ml/runtime/test_{name}.py"
    for name in ("local", "local_hostile", "local_lifecycle", "local_tools")
]


def test_a_ray_cluster_does_what_local_workers_do() -> None:
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *_FILES]
    environment = {**os.environ, "BGERASER_ML_BACKEND": "ray"}
    done = subprocess.run(tests, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-10_000:]
