"""ncnn itself, on the same files: what our reader of its networks must agree with."""

from pathlib import Path
from typing import Any

import ncnn
import numpy as np
from numpy.typing import NDArray


class Reference:
    """A network in ncnn. `exact` switches off every form of reduced precision."""

    def __init__(self, param: Path, weights: Path, *, exact: bool, threads: int = 1) -> None:
        self._network = ncnn.Net()
        self._network.opt.num_threads = threads
        if exact:
            self._network.opt.use_fp16_packed = False
            self._network.opt.use_fp16_storage = False
            self._network.opt.use_fp16_arithmetic = False
            self._network.opt.use_bf16_storage = False
            self._network.opt.use_winograd_convolution = False
        assert self._network.load_param(str(param)) == 0
        assert self._network.load_model(str(weights)) == 0

    def run(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """`picture` and the answer are channels x height x width."""
        extractor: Any = self._network.create_extractor()
        contiguous = np.ascontiguousarray(picture)
        # A Mat made of an array does not keep it alive: `contiguous` must outlive the copy made here.
        extractor.input("data", ncnn.Mat(contiguous).clone())
        status, output = extractor.extract("output")
        assert status == 0
        return np.array(output, np.float32)
