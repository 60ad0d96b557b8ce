"""The matting engine of the built-in networks."""

from typing import Protocol

import numpy as np

from ml.device import Device, Precision
from ml.engines.network import Floats, Network
from ml.engines.network_facts import MattingFacts
from ml.engines.resizing import resize_for_network
from ml.pixels import Matte, Pixels

#: A matte that nowhere exceeds this does not show an object with confidence.
CONFIDENT = 0.8


class MattingEngine(Protocol):
    @property
    def checkpoint(self) -> str:
        """Name in `ml.checkpoints`."""

    @property
    def device(self) -> Device: ...

    def matte(self, picture: Pixels) -> Matte:
        """The foreground of `picture` (H x W x 3) at the network's own square size, 0..1."""


class NetworkMatting:
    """`MattingEngine` of one checkpoint in `MATTING_FACTS`."""

    def __init__(self, facts: MattingFacts, network: Network) -> None:
        self._facts = facts
        self._network = network

    @property
    def checkpoint(self) -> str:
        return self._facts.checkpoint

    @property
    def device(self) -> Device:
        return self._network.device

    @property
    def precision(self) -> Precision:
        """The arithmetic of the network."""
        return self._network.precision

    def matte(self, picture: Pixels) -> Matte:
        matte = self._network(network_input(self._facts, picture))[0, 0]
        peak = float(matte.max())
        # The original code of U-2-Net and ISNet normalises every output; normalising low values would invent
        # objects.
        scale = 1 / peak if peak > CONFIDENT else 1.0
        answer: Matte = np.clip(matte * np.float32(scale), 0, 1)
        return answer


def network_input(facts: MattingFacts, picture: Pixels) -> Floats:
    """What the network of `facts` takes for `picture` (H x W x 3): 1 x 3 x side x side."""
    values = resize_for_network(picture, facts.side_pixels, facts.side_pixels).astype(np.float32)
    if facts.by_brightest:
        values /= max(float(values.max()), 1e-6)
    values -= np.array(facts.mean, np.float32)
    values /= np.array(facts.deviation, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])
