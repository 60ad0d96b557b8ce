"""8-bit networks without calibration on the user's machine.

A network is quantised when it is loaded: its weights by their own largest values, the inputs of convolutions
by ranges that were found once (`tests/benchmarks/activation_ranges.py`) and are data of this package. What 8
bits would harm has no range and is computed in floats; so are sums, by which errors would add up. The scheme
is uniform with 256 levels, by channel for weights and by tensor for activations (Jacob et al. 2018), which
OpenVINO computes with integer instructions.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml import device as devices

#: Lowest and highest value of tensors, by the name of the operation that computes them.
ActivationRanges = Mapping[str, tuple[float, float]]

_FOLDER = Path(__file__).parent / "activation_ranges"
_LEVELS = 256
_STEPS = _LEVELS - 1
# Signed weights are symmetric: -127..127 of -128..127.
_WEIGHT_STEPS = 127
# Without VNNI, processors add two products in 16 bits, which overflow unless weights use half of their range.
_HALF_RANGE = 2


def _read(file: Path) -> ActivationRanges:
    content: dict[str, list[float]] = json.loads(file.read_text())
    return {name: (low, high) for name, (low, high) in content.items()}


#: By the stem of the checkpoint's file. Networks that are not here cannot be quantised.
RANGES = {file.stem: _read(file) for file in sorted(_FOLDER.glob("*.json"))}


def quantise(graph: Any, ranges: ActivationRanges) -> None:
    """Quantise the convolutions of an `openvino.Model` whose inputs are in `ranges`.

    Raises KeyError for a range of something that no convolution reads.
    """
    quantised: dict[str, Any] = {}
    for convolution in convolutions(graph):
        port = convolution.input_value(0)
        name = port.get_node().get_friendly_name()
        if name in ranges:
            if name not in quantised:
                quantised[name] = _quantised(port, *_with_exact_zero(*ranges[name]))
            convolution.input(0).replace_source_output(quantised[name])
            _quantise_weights(convolution)
    unused = ranges.keys() - quantised.keys()
    if unused:
        raise KeyError(min(unused))


def convolutions(graph: Any) -> list[Any]:
    """The convolutions of an `openvino.Model`, in the order of their execution."""
    return [node for node in graph.get_ordered_ops() if node.get_type_name() == "Convolution"]


def _quantised(port: Any, low: Any, high: Any) -> Any:
    from openvino import opset13

    return opset13.fake_quantize(port, low, high, low, high, _LEVELS).output(0)


def _quantise_weights(convolution: Any) -> None:
    weights = convolution.input_value(1)
    constant = weights.get_node()
    while constant.get_type_name() == "Convert":
        constant = constant.input_value(0).get_node()
    values = np.abs(np.asarray(constant.data, np.float32))
    largest = np.maximum(values.max(axis=(1, 2, 3), keepdims=True), np.float32(1e-9))
    if not devices.has_wide_int8():
        largest *= _HALF_RANGE
    lowest = -largest * np.float32((_WEIGHT_STEPS + 1) / _WEIGHT_STEPS)
    convolution.input(1).replace_source_output(_quantised(weights, lowest, largest))


def _with_exact_zero(low: float, high: float) -> tuple[Any, Any]:
    """The range, shifted by less than a level so that 0, by which convolutions pad, is exact."""
    level = (high - low) / _STEPS
    below = round(-low / level)
    return np.float32(-below * level), np.float32((_STEPS - below) * level)
