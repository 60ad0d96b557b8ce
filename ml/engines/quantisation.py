"""8-bit networks without calibration on the user's machine.

A network is quantised when it is loaded: its weights by their own largest values, its activations by ranges
that were found once (`tests/benchmarks/activation_ranges.py`) and are data of this package. Operations that
8 bits harm have no range, so they keep floats. The scheme is uniform with 256 levels, by channel for weights
and by tensor for activations (Jacob et al. 2018), which OpenVINO executes with integer instructions.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

#: Lowest and highest value of tensors, by the name of the operation that computes them.
ActivationRanges = Mapping[str, tuple[float, float]]

_FOLDER = Path(__file__).parent / "activation_ranges"
_LEVELS = 256
# Symmetric signed weights use -127..127 of these.
_SCALE_LEVELS = 127
# Operations that pass quantised values on.
_TRANSPARENT = ("MaxPool", "Interpolate", "Convert", "Reshape", "Transpose")
_WITH_WEIGHTS = ("Convolution", "GroupConvolution", "MatMul")


def ranges_of(checkpoint: str) -> ActivationRanges | None:
    """The ranges of a checkpoint by the stem of its file; None if it is not to be quantised."""
    file = _FOLDER / f"{checkpoint}.json"
    if not file.is_file():
        return None
    content: dict[str, list[float]] = json.loads(file.read_text())
    return {name: (low, high) for name, (low, high) in content.items()}


def quantise(graph: Any, ranges: ActivationRanges) -> None:
    """Insert quantisation into an `openvino.Model`.

    Raises KeyError for a range whose operation the graph does not have.
    """
    nodes = {node.get_friendly_name(): node for node in graph.get_ordered_ops()}
    for name, (low, high) in ranges.items():
        _insert(nodes[name].output(0), np.float32(low), np.float32(high))
    for node in graph.get_ordered_ops():
        if node.get_type_name() in _WITH_WEIGHTS and _is_quantised(node.input_value(0).get_node()):
            _quantise_weights(node)


def _insert(port: Any, low: Any, high: Any) -> None:
    """Quantise the values of `port` for everything that reads it."""
    from openvino import opset13

    readers = list(port.get_target_inputs())
    quantised = opset13.fake_quantize(port, low, high, low, high, _LEVELS)
    for reader in readers:
        reader.replace_source_output(quantised.output(0))


def _quantise_weights(node: Any) -> None:
    weights = node.input_value(1)
    constant = weights.get_node()
    while constant.get_type_name() == "Convert":
        constant = constant.input_value(0).get_node()
    if constant.get_type_name() != "Constant":
        return  # a product of two activations
    values = np.abs(np.asarray(constant.data, np.float32))
    channels = _channel_axes(node, values.ndim)
    others = tuple(axis for axis in range(values.ndim) if axis not in channels)
    largest = np.maximum(values.max(axis=others, keepdims=True), np.float32(1e-9))
    _insert(weights, -largest * np.float32((_SCALE_LEVELS + 1) / _SCALE_LEVELS), largest)


def _channel_axes(node: Any, dimensions: int) -> tuple[int, ...]:
    """The axes of the weights that stand for output channels."""
    if node.get_type_name() == "GroupConvolution":
        return (0, 1)
    if node.get_type_name() == "Convolution":
        return (0,)
    is_transposed = node.get_attributes()["transpose_b"]
    return (dimensions - 2 if is_transposed else dimensions - 1,)


def _is_quantised(node: Any) -> bool:
    """Whether the output of `node` is computed from quantised values only, by operations that keep them."""
    kind = node.get_type_name()
    if kind == "FakeQuantize":
        return True
    if kind == "Concat":
        return all(_is_quantised(port.get_source_output().get_node()) for port in node.inputs())
    return kind in _TRANSPARENT and _is_quantised(node.input_value(0).get_node())
