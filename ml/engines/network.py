"""What every runtime makes of a checkpoint: a network, called with one batch, or a graph of many inputs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.device import Device

Floats = NDArray[np.float32]
Shape = tuple[int, ...]


class Network(Protocol):
    """A loaded checkpoint with one input and one output."""

    @property
    def device(self) -> Device:
        """Where it runs."""

    def __call__(self, batch: Floats) -> Floats:
        """The output for one input of the shape it was loaded with; the answer is the caller's to keep."""


class Graph(Protocol):
    """A loaded checkpoint with several inputs or outputs, any of whose sizes may change from call to call."""

    @property
    def device(self) -> Device:
        """Where it runs."""

    def __call__(self, inputs: Mapping[str, Floats]) -> list[Floats]:
        """The outputs that it was loaded for, in that order, for inputs by name; the caller's to keep."""


class Runtime(Protocol):
    """A library that runs checkpoints."""

    def load(self, checkpoint: Path, input_shape: Shape, *, precise: bool = False) -> Network:
        """The network in an ONNX file with its input fixed to `input_shape`; only its first output.

        `precise` computes in full 32 bits even where the processor is faster with fewer.
        """

    def load_graph(self, checkpoint: Path, outputs: Sequence[str]) -> Graph:
        """The graph in an ONNX file, computing in full 32 bits the named tensors, inner ones too.

        Inputs on which none of these depends may be left out of a call.
        """
