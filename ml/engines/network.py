"""What every runtime makes of a checkpoint: a network, called with one batch."""

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


class Runtime(Protocol):
    """A library that runs checkpoints."""

    def load(self, checkpoint: Path, input_shape: Shape, *, precise: bool = False) -> Network:
        """The network in an ONNX file with its input fixed to `input_shape`; only its first output.

        `precise` computes in full 32 bits even where the processor is faster with fewer.
        """
