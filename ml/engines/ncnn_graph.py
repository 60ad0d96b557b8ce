"""Builds an OpenVINO graph from a network stored in ncnn's files.

Only the layers and parameters that super-resolution networks use are known; anything else is an error at
load, never a silently different picture.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.engines.ncnn_files import Layer, Weights, read_layers

# OpenVINO ships no type information, so its nodes and models are Any here.
Node = Any


@dataclass(frozen=True)
class Place:
    """Where a layer is built: what it may read, and `ops`, OpenVINO's module of operations."""

    ops: Any
    layer: Layer
    inputs: list[Node]
    weights: Weights


def read_network(param: Path, weights: Path, height: int, width: int) -> Any:
    """An `openvino.Model` of fixed shape: input `data` and output `output`, f32 [1, channels, height, width].

    Raises ValueError for a damaged file or a layer that is not known here.
    """
    import openvino
    from openvino import opset13 as ops

    content = Weights(weights.read_bytes())
    nodes: dict[str, Node] = {}
    for layer in read_layers(param.read_text(encoding="ascii")):
        if layer.kind == "Input":
            layer.parameters.clear()  # a size, which the caller gives
            nodes[layer.outputs[0]] = ops.parameter([1, 3, height, width], np.float32, layer.outputs[0])
        elif layer.kind == "Split":
            nodes.update(dict.fromkeys(layer.outputs, nodes[layer.inputs[0]]))
        elif layer.kind in _BUILDERS:
            place = Place(ops, layer, [nodes[name] for name in layer.inputs], content)
            nodes[layer.outputs[0]] = _BUILDERS[layer.kind](place)
        else:
            raise layer.unknown("this kind of layer")
        if layer.parameters:
            raise layer.unknown(f"parameter {min(layer.parameters)}")
    content.check_finished()
    network = openvino.Model([ops.result(nodes["output"])], [nodes["data"]])
    network.inputs[0].get_tensor().set_names({"data"})
    network.outputs[0].get_tensor().set_names({"output"})
    return network


def _convolution(place: Place) -> Node:
    layer = place.layer
    outputs, kernel_width = layer.integer(0), layer.integer(1)
    kernel_height = layer.integer(11, kernel_width)
    dilation_width, stride_width, left = layer.integer(2, 1), layer.integer(3, 1), layer.integer(4)
    dilation_height, stride_height = layer.integer(12, dilation_width), layer.integer(13, stride_width)
    right, top = layer.integer(15, left), layer.integer(14, left)
    bottom = layer.integer(16, top)
    if min(left, right, top, bottom) < 0:
        raise layer.unknown("automatic padding")
    has_bias, weight_count = layer.integer(5), layer.integer(6)
    node = place.ops.convolution(
        place.inputs[0],
        place.weights.tagged(weight_count).reshape(outputs, -1, kernel_height, kernel_width),
        strides=[stride_height, stride_width],
        pads_begin=[top, left],
        pads_end=[bottom, right],
        dilations=[dilation_height, dilation_width],
    )
    if has_bias:
        node = place.ops.add(node, place.weights.raw(outputs).reshape(1, outputs, 1, 1))
    return _activated(place, node, layer.integer(9), layer.parameters.pop(10, []))


def _activated(place: Place, node: Node, activation: int, settings: list[float]) -> Node:
    """ncnn's `activation_type` of a convolution, with its `activation_params`."""
    match activation:
        case 0:
            return node
        case 1:
            return place.ops.relu(node)
        case 2:
            return _leaky(place, node, settings)
        case 3:
            return place.ops.clamp(node, settings[0], settings[1])
        case 4:
            return place.ops.sigmoid(node)
        case 5:
            return place.ops.mish(node)
    raise place.layer.unknown(f"activation {activation}")


def _leaky(place: Place, node: Node, slope: Any) -> Node:
    return place.ops.prelu(node, np.asarray(slope, np.float32))


def _relu(place: Place) -> Node:
    slope = place.layer.number(0)
    return _leaky(place, place.inputs[0], [slope]) if slope else place.ops.relu(place.inputs[0])


def _prelu(place: Place) -> Node:
    return _leaky(place, place.inputs[0], place.weights.raw(place.layer.integer(0)))


def _swish(place: Place) -> Node:
    return place.ops.swish(place.inputs[0])


def _sigmoid(place: Place) -> Node:
    return place.ops.sigmoid(place.inputs[0])


def _concat(place: Place) -> Node:
    # ncnn has no batch axis, so its axis 0 (channels) is our 1.
    return place.ops.concat(place.inputs, place.layer.integer(0) + 1)


def _binary(place: Place) -> Node:
    layer = place.layer
    operation, with_scalar, scalar = layer.integer(0), layer.integer(1), layer.number(2)
    names = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "subtract", "divide")
    if not 0 <= operation < len(names):
        raise layer.unknown(f"operation {operation}")
    left, right = place.inputs[0], np.float32(scalar) if with_scalar else place.inputs[1]
    if operation >= 7:  # the reversed forms, b - a and b / a
        left, right = right, left
    return getattr(place.ops, names[operation])(left, right)


def _eltwise(place: Place) -> Node:
    operation, coefficients = place.layer.integer(0), place.layer.parameters.pop(1, [])
    if operation not in (0, 1, 2):
        raise place.layer.unknown(f"operation {operation}")
    inputs, ops = place.inputs, place.ops
    if operation == 1 and coefficients:
        pairs = zip(inputs, coefficients, strict=True)
        inputs = [node if by == 1 else ops.multiply(node, np.float32(by)) for node, by in pairs]
    return functools.reduce((ops.multiply, ops.add, ops.maximum)[operation], inputs)


def _interp(place: Place) -> Node:
    method, factors = place.layer.integer(0), [place.layer.number(1, 1), place.layer.number(2, 1)]
    if method not in (1, 2) or any(factor != int(factor) or factor < 1 for factor in factors):
        raise place.layer.unknown("resizing other than nearest or bilinear by a whole factor")
    return place.ops.interpolate(
        place.inputs[0],
        np.array(factors, np.float32),
        mode="nearest" if method == 1 else "linear_onnx",
        shape_calculation_mode="scales",
        coordinate_transformation_mode="asymmetric" if method == 1 else "half_pixel",
        nearest_mode="floor",
        axes=np.array([2, 3]),
    )


def _pixel_shuffle(place: Place) -> Node:
    factor, order = place.layer.integer(0, 1), place.layer.integer(1)
    return place.ops.depth_to_space(place.inputs[0], ("depth_first", "blocks_first")[order], factor)


def _memory(place: Place) -> Node:
    width, height, channels = place.layer.integer(0), place.layer.integer(1), place.layer.integer(2)
    if not width or not height or not channels:
        raise place.layer.unknown("a constant of fewer than three axes")
    # Stored by channels, rows, columns; ncnn broadcasts over them as numpy does.
    values = place.weights.raw(channels * height * width)
    return place.ops.constant(values.reshape(1, channels, height, width))


_BUILDERS: dict[str, Callable[[Place], Node]] = {
    "BinaryOp": _binary,
    "Concat": _concat,
    "Convolution": _convolution,
    "Eltwise": _eltwise,
    "Interp": _interp,
    "MemoryData": _memory,
    "PReLU": _prelu,
    "PixelShuffle": _pixel_shuffle,
    "ReLU": _relu,
    "Sigmoid": _sigmoid,
    "Swish": _swish,
}
