"""ONNX files with the interfaces of MI-GAN and LaMa, small enough to make for each test.

They are real graphs for the real runtimes: a hole becomes the mean of the known pixels around it, weighted by
a Gaussian. A wrong polarity, range, order of channels or alignment therefore changes the result visibly.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ml.checkpoints.registry import CHECKPOINTS
from ml.checkpoints.types import Checkpoint, CheckpointFile

SIDE = 512
_REACH_PIXELS = 255
_SIGMA_PIXELS = 40.0
_OPSET = 13


def save_lama(path: Path, *, gain: float = 1.0) -> None:
    """As OpenCV's export: floats 0..1, mask 1 = hole, output 0..255 of a fixed size."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, SIDE, SIDE])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    nodes = [
        helper.make_node("Sub", ["one", "mask"], ["known"]),
        *_local_mean("image", "known", "mean"),
        helper.make_node("Mul", ["mean", "scale"], ["output"]),
    ]
    _save(path, nodes, [image, mask], [output], scale=255.0 * gain)


def save_migan(path: Path) -> None:
    """As MI-GAN's pipeline: bytes of any size, mask 0 = hole, output of bytes with the known pixels."""
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch_size", 3, "height", "width"])
    mask = helper.make_tensor_value_info("mask", TensorProto.UINT8, ["batch_size", 1, "height", "width"])
    shape: list[str | int | None] = ["batch_size", 3, "height", "width"]
    result = helper.make_tensor_value_info("result", TensorProto.UINT8, shape)
    nodes = [
        helper.make_node("Cast", ["image"], ["colors"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["mask"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["levels", "scale"], ["known"]),
        helper.make_node("Sub", ["one", "known"], ["hole"]),
        *_local_mean("colors", "known", "mean"),
        helper.make_node("Mul", ["mean", "hole"], ["painted"]),
        helper.make_node("Mul", ["colors", "known"], ["kept"]),
        helper.make_node("Add", ["painted", "kept"], ["composed"]),
        helper.make_node("Cast", ["composed"], ["result"], to=TensorProto.UINT8),
    ]
    _save(path, nodes, [image, mask], [result], scale=255.0)


def install(models_dir: Path, monkeypatch: pytest.MonkeyPatch, *names: str, gain: float = 1.0) -> None:
    """Put tiny files in `models_dir` and let the registry pin them instead of the real ones."""
    models_dir.mkdir(parents=True, exist_ok=True)
    for name in names:
        file_name = CHECKPOINTS[name].files[0].file_name
        if name == "lama":
            save_lama(models_dir / file_name, gain=gain)
        else:
            save_migan(models_dir / file_name)
        monkeypatch.setitem(CHECKPOINTS, name, _pinned(CHECKPOINTS[name], models_dir / file_name))


def _pinned(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    content = path.read_bytes()
    file = CheckpointFile(path.name, len(content), hashlib.sha256(content).hexdigest())
    return Checkpoint(**{**vars(checkpoint), "files": (file,)})


def _local_mean(colors: str, known: str, answer: str) -> list[Any]:
    """Nodes that average `colors` where `known` is 1, separably."""
    sums, weights = f"{answer}_sums", f"{answer}_weights"
    return [
        helper.make_node("Mul", [colors, known], [f"{answer}_visible"]),
        *_blurred(f"{answer}_visible", sums, channels=3),
        *_blurred(known, weights, channels=1),
        helper.make_node("Add", [weights, "tiny"], [f"{answer}_total"]),
        helper.make_node("Div", [sums, f"{answer}_total"], [answer]),
    ]


def _blurred(source: str, answer: str, channels: int) -> list[Any]:
    half = _REACH_PIXELS // 2
    return [
        helper.make_node(
            "Conv",
            [source, f"across{channels}"],
            [f"{answer}_across"],
            group=channels,
            pads=[0, half, 0, half],
        ),
        helper.make_node(
            "Conv",
            [f"{answer}_across", f"along{channels}"],
            [answer],
            group=channels,
            pads=[half, 0, half, 0],
        ),
    ]


def _save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], scale: float) -> None:
    offsets = np.arange(_REACH_PIXELS) - _REACH_PIXELS // 2
    kernel = np.exp(-((offsets / _SIGMA_PIXELS) ** 2) / 2).astype(np.float32)
    kernel /= kernel.sum()
    constants = {
        "one": np.float32(1),
        "tiny": np.float32(1e-9),
        "scale": np.float32(scale),
        **{f"across{count}": np.tile(kernel, (count, 1, 1, 1)) for count in (1, 3)},
        **{f"along{count}": np.tile(kernel[:, None], (count, 1, 1, 1)) for count in (1, 3)},
    }
    used = {name for node in nodes for name in node.input}
    initializers = [
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in used
    ]
    graph = helper.make_graph(nodes, "eraser", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
