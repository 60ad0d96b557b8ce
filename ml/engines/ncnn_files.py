"""Parses ncnn's two network files: .param (layers, as text) and .bin (weights).

Both formats are documented by ncnn (its wiki's "param and model file structure", and each layer's source).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PARAM_MAGIC = "7767517"
_FLOAT16_TAG = 0x01306B47
_FLOAT32_TAG = 0


@dataclass
class Layer:
    """One line of a .param file. Reading a parameter removes it, so the rest is unsupported."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    parameters: dict[int, list[float]]

    def number(self, key: int, default: float = 0) -> float:
        values = self.parameters.pop(key, [default])
        if len(values) != 1:
            raise self.unknown(f"parameter {key} with {len(values)} values")
        return values[0]

    def integer(self, key: int, default: int = 0) -> int:
        return int(self.number(key, default))

    def unknown(self, what: str) -> ValueError:
        return ValueError(f"ncnn layer {self.kind} {self.name}: {what} is not supported")


def read_layers(text: str) -> list[Layer]:
    """The layers of a .param file in order of execution. Raises ValueError for other files."""
    lines = text.splitlines()
    if len(lines) < 3 or lines[0].strip() != _PARAM_MAGIC:
        raise ValueError("This is not an ncnn .param file.")
    layers = []
    for line in filter(None, map(str.strip, lines[2:])):
        kind, name, *rest = line.split()
        input_count, output_count = int(rest[0]), int(rest[1])
        blobs, settings = rest[2 : 2 + input_count + output_count], rest[2 + input_count + output_count :]
        parameters = {}
        for setting in settings:
            key, _, value = setting.partition("=")
            values = [float(number) for number in value.split(",")]
            # A key of -23300 - k is an array for key k; its first value is its length.
            parameters[int(key) if int(key) >= 0 else -23300 - int(key)] = (
                values[1:] if int(key) < 0 else values
            )
        layers.append(Layer(kind, name, blobs[:input_count], blobs[input_count:], parameters))
    if len(layers) != int(lines[1].split()[0]):
        raise ValueError(f"The .param file declares {lines[1].split()[0]} layers but has {len(layers)}.")
    return layers


class Weights:
    """The .bin file, read from front to back in the order of the layers."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def raw(self, count: int) -> NDArray[np.float32]:
        """`count` plain f32 values: biases, slopes, constants."""
        return self._take("<f4", count)

    def tagged(self, count: int) -> NDArray[np.float32]:
        """`count` values after a tag for their number type, padded to 4 bytes."""
        tag = int(self._take("<u4", 1)[0])
        if tag not in (_FLOAT16_TAG, _FLOAT32_TAG):
            raise ValueError(f"ncnn weights stored as 0x{tag:08X} are not supported.")
        values = self._take("<f2" if tag == _FLOAT16_TAG else "<f4", count)
        self._position += -self._position % 4
        return values.astype(np.float32)

    def _take(self, dtype: str, count: int) -> NDArray[Any]:
        end = self._position + count * np.dtype(dtype).itemsize
        if end > len(self._content):
            raise ValueError("The ncnn .bin file ends before its last layer.")
        values = np.frombuffer(self._content, dtype, count, self._position)
        self._position = end
        return values

    def check_finished(self) -> None:
        if self._position != len(self._content):
            raise ValueError(f"The ncnn .bin file has {len(self._content) - self._position} bytes too many.")
