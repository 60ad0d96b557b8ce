"""What stops `bgeraser serve` from starting says so in words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"BGERASER_PUBLIC_URL": "https://pictures.example.com"}, "BGERASER_SECRET_KEY is not set"),
        ({"BGERASER_SECRET_KEY": "short"}, "at least 32 characters"),
        ({"BGERASER_WORKERS": "many"}, "workers"),
        ({"BGERASER_DATABASE_URL": "mysql://127.0.0.1/books"}, "mysql is not supported"),
        ({"BGERASER_DATABASE_URL": "postgresql://127.0.0.1:9/books"}, "database"),
        ({"BGERASER_STORAGE_URL": "s3://bucket"}, "BGERASER_STORAGE_URL must be file:///folder"),
        pytest.param(
            {"BGERASER_DEVICE": "cuda"},
            "no device",
            marks=pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has the device"),
        ),
    ],
)
def test_a_server_that_cannot_start_says_why(tmp_path: Path, settings: dict[str, str], told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "web.cli", "serve", "--port", "0"],
        env=os.environ | {"BGERASER_DATA_DIR": str(tmp_path)} | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
