"""Protocols of inference runtimes: networks with one input, graphs with several, and their loader."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.device import Device, Precision

Floats = NDArray[np.float32]
Shape = tuple[int, ...]
#: Inputs of a graph by name, each of the type that the graph declares.
Inputs = Mapping[str, NDArray[Any]]


class Network(Protocol):
    """A loaded checkpoint with one input and one output."""

    @property
    def device(self) -> Device:
        """The device it runs on."""

    @property
    def precision(self) -> Precision:
        """The arithmetic that it uses."""

    def __call__(self, batch: Floats) -> Floats:
        """The output for one input of the shape it was loaded with; the caller owns the result."""


class Graph(Protocol):
    """A loaded checkpoint with several inputs or outputs, whose sizes may vary between calls."""

    @property
    def device(self) -> Device:
        """The device it runs on."""

    def __call__(self, inputs: Inputs) -> list[NDArray[Any]]:
        """The requested outputs in order, for inputs by name. The caller owns the results."""


class Runtime(Protocol):
    """An inference library."""

    def load(
        self, checkpoint: Path, input_shape: Shape, precisions: Sequence[Precision] = ("f32",)
    ) -> Network:
        """The network in an ONNX file with its input fixed to `input_shape`; only its first output.

        It computes with the first of `precisions` that the library, the CPU and the checkpoint support, else
        in 32 bits.
        """

    def load_graph(
        self, checkpoint: Path, outputs: Sequence[str], shapes: Mapping[str, Shape] | None = None
    ) -> Graph:
        """The graph in an ONNX file, computing the named tensors, also inner ones, in 32 bits.

        Without names it computes the first declared output. Inputs that these do not depend on may be omitted
        from calls. `shapes` fixes the shapes of inputs by name. Raises RuntimeError for a graph that the
        library cannot run.
        """
