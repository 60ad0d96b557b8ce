"""The ncnn reader compared with ncnn, layer by layer and on the real checkpoints."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
import pytest
from numpy.typing import NDArray

from ml.engines import ncnn_graph
from ml.engines.network_facts import UPSCALING_FACTS
from tests.support import checkpoints
from tests.support.ml.ncnn_reference import Reference
from tests.support.ml.photos import photo

HEIGHT, WIDTH = 13, 17
RANDOM = np.random.default_rng(5)


def _numbers(count: int) -> NDArray[np.float32]:
    return RANDOM.uniform(-1, 1, count).astype(np.float32)


def _raw(count: int) -> bytes:
    return _numbers(count).tobytes()


def _half(count: int) -> bytes:
    """Weights in half precision behind their tag, padded to 4 bytes."""
    content = struct.pack("<I", 0x01306B47) + _numbers(count).astype(np.float16).tobytes()
    return content + bytes(-len(content) % 4)


def _single(count: int) -> bytes:
    return struct.pack("<I", 0) + _raw(count)


@dataclass(frozen=True)
class Network:
    layers: tuple[str, ...]
    weights: bytes = b""

    def write(self, folder: Path) -> tuple[Path, Path]:
        lines = ("Input in 0 1 data 0=17 1=13 2=3", *self.layers)
        blobs = sum(int(line.split()[3]) for line in lines)
        (folder / "n.param").write_text("\n".join(["7767517", f"{len(lines)} {blobs}", *lines]) + "\n")
        (folder / "n.bin").write_bytes(self.weights)
        return folder / "n.param", folder / "n.bin"


def _convolution(settings: str, outputs: int = 4, kernel: int = 9, half: bool = True) -> Network:
    count = outputs * 3 * kernel
    weights = (_half if half else _single)(count) + _raw(outputs)
    return Network((f"Convolution c 1 1 data output 0={outputs} 5=1 6={count} {settings}",), weights)


def _two_branches(layer: str) -> Network:
    """`layer` joins the picture and its sigmoid."""
    return Network(("Split s 1 2 data a b", "Sigmoid g 1 1 b c", layer))


NETWORKS = {
    "convolution": _convolution("1=3 4=1"),
    "convolution in single precision": _convolution("1=3 4=1", half=False),
    "convolution with an odd number of half weights": _convolution("1=3 4=1", outputs=1),
    "convolution of one pixel": _convolution("1=1", kernel=1),
    "convolution, stride and dilation": _convolution("1=3 2=2 3=2 4=2"),
    "convolution, all sides apart": _convolution("1=3 11=1 12=1 13=2 4=2 15=1 14=0 16=1", kernel=3),
    "convolution and relu": _convolution("1=3 4=1 9=1"),
    "convolution and leaky relu": _convolution("1=3 4=1 9=2 -23310=1,2.000000e-01"),
    "convolution and clip": _convolution("1=3 4=1 9=3 -23310=2,-1.000000e-01,3.000000e-01"),
    "convolution and sigmoid": _convolution("1=3 4=1 9=4"),
    "convolution and mish": _convolution("1=3 4=1 9=5"),
    "relu": Network(("BinaryOp b 1 1 data x 0=1 1=1 2=0.5", "ReLU r 1 1 x output")),
    "leaky relu": Network(("BinaryOp b 1 1 data x 0=1 1=1 2=0.5", "ReLU r 1 1 x output 0=0.1")),
    "prelu, a slope a channel": Network(
        ("BinaryOp b 1 1 data x 0=1 1=1 2=0.5", "PReLU r 1 1 x output 0=3"), _raw(3)
    ),
    "prelu, one slope": Network(("BinaryOp b 1 1 data x 0=1 1=1 2=0.5", "PReLU r 1 1 x output 0=1"), _raw(1)),
    "swish": Network(("Swish s 1 1 data output",)),
    "sigmoid": Network(("Sigmoid s 1 1 data output",)),
    "concat": _two_branches("Concat k 2 1 a c output"),
    "eltwise product": _two_branches("Eltwise e 2 1 a c output 0=0"),
    "eltwise sum": _two_branches("Eltwise e 2 1 a c output 0=1"),
    "eltwise weighted sum": _two_branches("Eltwise e 2 1 a c output 0=1 -23301=2,0.2,1.0"),
    "eltwise maximum": _two_branches("Eltwise e 2 1 a c output 0=2"),
    "interp nearest": Network(("Interp i 1 1 data output 0=1 1=2.0 2=3.0",)),
    "interp bilinear": Network(("Interp i 1 1 data output 0=2 1=2.0 2=2.0",)),
    "pixel shuffle": Network(
        ("Convolution c 1 1 data x 0=12 1=1 5=1 6=36", "PixelShuffle p 1 1 x output 0=2"),
        _half(36) + _raw(12),
    ),
    "pixel shuffle, other order": Network(
        ("Convolution c 1 1 data x 0=12 1=1 5=1 6=36", "PixelShuffle p 1 1 x output 0=2 1=1"),
        _half(36) + _raw(12),
    ),
    "constant": Network(
        ("MemoryData m 0 1 k 0=1 1=1 2=3", "BinaryOp b 2 1 data k output 0=1"),
        _raw(3),
    ),
    **{f"binary {kind}": _two_branches(f"BinaryOp b 2 1 a c output 0={kind}") for kind in range(9)},
    **{
        f"binary {kind} with a number": Network((f"BinaryOp b 1 1 data output 0={kind} 1=1 2=0.7",))
        for kind in range(9)
    },
}


def _run(param: Path, weights: Path, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    network = ncnn_graph.read_network(param, weights, *picture.shape[1:])
    compiled = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled({"data": picture[None]})["output"][0])


@pytest.mark.parametrize("name", NETWORKS)
def test_each_layer_matches_ncnn(name: str, tmp_path: Path) -> None:
    param, weights = NETWORKS[name].write(tmp_path)
    picture = np.random.default_rng(1).uniform(0.1, 1, (3, HEIGHT, WIDTH)).astype(np.float32)
    ours, theirs = _run(param, weights, picture), Reference(param, weights, exact=True).run(picture)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-5)
    assert np.ptp(ours) > 0.05, "a network whose answer is flat proves nothing"


@pytest.mark.parametrize(("name", "side"), [("span-x2", 96), ("span-x4", 96), ("realesrgan-x4plus", 32)])
def test_the_checkpoints_match_ncnn(name: str, side: int) -> None:
    folder = checkpoints.models_dir()
    param, weights = (folder / file for file in UPSCALING_FACTS[name].files)
    crop = photo("astronaut")[100 : 100 + side, 150 : 150 + side].transpose(2, 0, 1)
    picture = np.asarray(crop / 255, np.float32)
    ours, theirs = _run(param, weights, picture), Reference(param, weights, exact=True).run(picture)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("Softmax s 1 1 data output",), "Softmax s: this kind of layer is not supported"),
        (("Swish s 1 1 data output 7=1",), "parameter 7 is not supported"),
        (("Convolution c 1 1 data output 0=1 1=3 4=-233 6=27",), "automatic padding is not supported"),
        (("Convolution c 1 1 data output 0=1 1=1 6=3 9=77",), "activation 77 is not supported"),
        (("BinaryOp b 1 1 data output 0=44 1=1 2=1",), "operation 44 is not supported"),
        (("Interp i 1 1 data output 0=3 1=2.0 2=2.0",), "is not supported"),
    ],
)
def test_an_unsupported_layer_is_refused_by_name(
    layers: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    param, weights = Network(layers, _half(3) + _raw(30)).write(tmp_path)
    with pytest.raises(ValueError, match=message):
        ncnn_graph.read_network(param, weights, HEIGHT, WIDTH)


def test_missing_surplus_and_unknown_weights_are_refused(tmp_path: Path) -> None:
    whole = NETWORKS["convolution"]
    for content, message in (
        (whole.weights[:-1], "ends before its last layer"),
        (whole.weights + b"\0\0\0\0", "4 bytes too many"),
        (struct.pack("<I", 0x000D4B38) + whole.weights[4:], "0x000D4B38"),
    ):
        param, weights = Network(whole.layers, content).write(tmp_path)
        with pytest.raises(ValueError, match=message):
            ncnn_graph.read_network(param, weights, HEIGHT, WIDTH)


def test_an_invalid_or_truncated_file_is_refused(tmp_path: Path) -> None:
    param, weights = NETWORKS["concat"].write(tmp_path)
    text = param.read_text()
    for content, message in (
        ("", "not an ncnn .param"),
        ("\n".join(text.splitlines()[:-1]), "declares 4 layers but has 3"),
    ):
        param.write_text(content)
        with pytest.raises(ValueError, match=message):
            ncnn_graph.read_network(param, weights, HEIGHT, WIDTH)
