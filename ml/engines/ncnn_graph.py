"""Builds an OpenVINO graph from ncnn's network files.

Only the layers and parameters of super-resolution networks are supported; anything else raises on loading.
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
class LayerContext:
    """The inputs for building one layer; `ops` is OpenVINO's module of operations."""

    ops: Any
    layer: Layer
    inputs: list[Node]
    weights: Weights


def read_network(param: Path, weights: Path, height: int, width: int) -> Any:
    """An `openvino.Model` of fixed shape: input `data` and output `output`, f32 [1, channels, height, width].

    Raises ValueError for a damaged file or an unsupported layer.
    """
    import openvino
    from openvino import opset13 as ops

    content = Weights(weights.read_bytes())
    nodes: dict[str, Node] = {}
    for layer in read_layers(param.read_text(encoding="ascii")):
        if layer.kind == "Input":
            layer.parameters.clear()  # a size, which the caller provides
            nodes[layer.outputs[0]] = ops.parameter([1, 3, height, width], np.float32, layer.outputs[0])
            nodes[layer.outputs[0]].set_friendly_name(layer.outputs[0])
        elif layer.kind == "Split":
            nodes.update(dict.fromkeys(layer.outputs, nodes[layer.inputs[0]]))
        elif layer.kind in _BUILDERS:
            context = LayerContext(ops, layer, [nodes[name] for name in layer.inputs], content)
            nodes[layer.outputs[0]] = _BUILDERS[layer.kind](context)
            nodes[layer.outputs[0]].set_friendly_name(layer.outputs[0])
        else:
            raise layer.unknown("this kind of layer")
        if layer.parameters:
            raise layer.unknown(f"parameter {min(layer.parameters)}")
    content.check_finished()
    network = openvino.Model([ops.result(nodes["output"])], [nodes["data"]])
    network.inputs[0].get_tensor().set_names({"data"})
    network.outputs[0].get_tensor().set_names({"output"})
    return network


def _convolution(context: LayerContext) -> Node:
    layer = context.layer
    outputs, kernel_width = layer.integer(0), layer.integer(1)
    kernel_height = layer.integer(11, kernel_width)
    dilation_width, stride_width, left = layer.integer(2, 1), layer.integer(3, 1), layer.integer(4)
    dilation_height, stride_height = layer.integer(12, dilation_width), layer.integer(13, stride_width)
    right, top = layer.integer(15, left), layer.integer(14, left)
    bottom = layer.integer(16, top)
    if min(left, right, top, bottom) < 0:
        raise layer.unknown("automatic padding")
    has_bias, weight_count = layer.integer(5), layer.integer(6)
    node = context.ops.convolution(
        context.inputs[0],
        context.weights.tagged(weight_count).reshape(outputs, -1, kernel_height, kernel_width),
        strides=[stride_height, stride_width],
        pads_begin=[top, left],
        pads_end=[bottom, right],
        dilations=[dilation_height, dilation_width],
    )
    if has_bias:
        node = context.ops.add(node, context.weights.raw(outputs).reshape(1, outputs, 1, 1))
    return _activated(context, node, layer.integer(9), layer.parameters.pop(10, []))


def _activated(context: LayerContext, node: Node, activation: int, settings: list[float]) -> Node:
    """ncnn's `activation_type` of a convolution, with its `activation_params`."""
    match activation:
        case 0:
            return node
        case 1:
            return context.ops.relu(node)
        case 2:
            return _leaky(context, node, settings)
        case 3:
            return context.ops.clamp(node, settings[0], settings[1])
        case 4:
            return context.ops.sigmoid(node)
        case 5:
            return context.ops.mish(node)
    raise context.layer.unknown(f"activation {activation}")


def _leaky(context: LayerContext, node: Node, slope: Any) -> Node:
    return context.ops.prelu(node, np.asarray(slope, np.float32))


def _relu(context: LayerContext) -> Node:
    slope = context.layer.number(0)
    return _leaky(context, context.inputs[0], [slope]) if slope else context.ops.relu(context.inputs[0])


def _prelu(context: LayerContext) -> Node:
    return _leaky(context, context.inputs[0], context.weights.raw(context.layer.integer(0)))


def _swish(context: LayerContext) -> Node:
    return context.ops.swish(context.inputs[0])


def _sigmoid(context: LayerContext) -> Node:
    return context.ops.sigmoid(context.inputs[0])


def _concat(context: LayerContext) -> Node:
    # ncnn has no batch axis: its axis 0 (channels) is axis 1 here.
    return context.ops.concat(context.inputs, context.layer.integer(0) + 1)


def _binary(context: LayerContext) -> Node:
    layer = context.layer
    operation, with_scalar, scalar = layer.integer(0), layer.integer(1), layer.number(2)
    names = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "subtract", "divide")
    if not 0 <= operation < len(names):
        raise layer.unknown(f"operation {operation}")
    left, right = context.inputs[0], np.float32(scalar) if with_scalar else context.inputs[1]
    if operation >= 7:  # the reversed forms, b - a and b / a
        left, right = right, left
    return getattr(context.ops, names[operation])(left, right)


def _eltwise(context: LayerContext) -> Node:
    operation, coefficients = context.layer.integer(0), context.layer.parameters.pop(1, [])
    if operation not in (0, 1, 2):
        raise context.layer.unknown(f"operation {operation}")
    inputs, ops = context.inputs, context.ops
    if operation == 1 and coefficients:
        pairs = zip(inputs, coefficients, strict=True)
        inputs = [node if by == 1 else ops.multiply(node, np.float32(by)) for node, by in pairs]
    return functools.reduce((ops.multiply, ops.add, ops.maximum)[operation], inputs)


def _interp(context: LayerContext) -> Node:
    method, factors = context.layer.integer(0), [context.layer.number(1, 1), context.layer.number(2, 1)]
    if method not in (1, 2) or any(factor != int(factor) or factor < 1 for factor in factors):
        raise context.layer.unknown("resizing other than nearest or bilinear by a whole factor")
    return context.ops.interpolate(
        context.inputs[0],
        np.array(factors, np.float32),
        mode="nearest" if method == 1 else "linear_onnx",
        shape_calculation_mode="scales",
        coordinate_transformation_mode="asymmetric" if method == 1 else "half_pixel",
        nearest_mode="floor",
        axes=np.array([2, 3]),
    )


def _pixel_shuffle(context: LayerContext) -> Node:
    factor, order = context.layer.integer(0, 1), context.layer.integer(1)
    return context.ops.depth_to_space(context.inputs[0], ("depth_first", "blocks_first")[order], factor)


def _memory(context: LayerContext) -> Node:
    width, height, channels = context.layer.integer(0), context.layer.integer(1), context.layer.integer(2)
    if not width or not height or not channels:
        raise context.layer.unknown("a constant of fewer than three axes")
    # Stored by channels, rows, columns; ncnn broadcasts over them as numpy does.
    values = context.weights.raw(channels * height * width)
    return context.ops.constant(values.reshape(1, channels, height, width))


_BUILDERS: dict[str, Callable[[LayerContext], Node]] = {
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
