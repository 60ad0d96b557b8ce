"""Mattes by networks that we run ourselves: what each checkpoint expects, as data, and the engine for it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ml.device import Device
from ml.engines.network import Floats, Network
from ml.engines.resizing import resized
from ml.pixels import Matte, Pixels

#: A network that says no more than this anywhere is sure of nothing: it sees texture, not an object.
SURE = 0.8


@dataclass(frozen=True)
class MattingFacts:
    """What a matting checkpoint expects. Its licence and origin are in `ml.checkpoints`.

    It sees the whole picture as a square of `side_pixels`, RGB, as (value - mean) / deviation, where value is
    0..255, or 0..1 of the picture's own brightest value if `by_brightest`.
    """

    checkpoint: str
    side_pixels: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    by_brightest: bool
    precise: bool  # whether bf16 would change its mattes visibly
    memory_bytes: int  # about what it adds to the process, measured with OpenVINO


class MattingEngine(Protocol):
    @property
    def checkpoint(self) -> str:
        """Name in `ml.checkpoints`."""

    @property
    def device(self) -> Device: ...

    def matte(self, picture: Pixels) -> Matte:
        """The foreground of `picture` (H x W x 3) at the network's own square size, 0..1."""


FACTS = {
    facts.checkpoint: facts
    for facts in (
        MattingFacts(
            checkpoint="isnet-general-use",
            side_pixels=1024,
            mean=(128.0, 128.0, 128.0),
            deviation=(256.0, 256.0, 256.0),
            by_brightest=False,
            precise=False,  # bf16 changes its mattes by 0.1/255 on average
            memory_bytes=600_000_000,
        ),
        MattingFacts(
            checkpoint="u2netp",
            side_pixels=320,
            # ImageNet's, as U-2-Net was trained.
            mean=(0.485, 0.456, 0.406),
            deviation=(0.229, 0.224, 0.225),
            by_brightest=True,
            precise=True,  # bf16 changes its mattes by up to 6/255 on average
            memory_bytes=100_000_000,
        ),
    )
}


class NetworkMatting:
    """`MattingEngine` of one checkpoint in `FACTS`."""

    def __init__(self, facts: MattingFacts, network: Network) -> None:
        self._facts = facts
        self._network = network

    @property
    def checkpoint(self) -> str:
        return self._facts.checkpoint

    @property
    def device(self) -> Device:
        return self._network.device

    def matte(self, picture: Pixels) -> Matte:
        matte = self._network(self._prepare(picture))[0, 0]
        peak = float(matte.max())
        # U-2-Net's and ISNet's own code stretch any output; stretching mere doubt would invent an object.
        scale = 1 / peak if peak > SURE else 1.0
        answer: Matte = np.clip(matte * np.float32(scale), 0, 1)
        return answer

    def _prepare(self, picture: Pixels) -> Floats:
        facts = self._facts
        values = resized(picture, facts.side_pixels, facts.side_pixels).astype(np.float32)
        if facts.by_brightest:
            values /= max(float(values.max()), 1e-6)
        values -= np.array(facts.mean, np.float32)
        values /= np.array(facts.deviation, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])
