"""Mattes by networks that we run ourselves: what each checkpoint expects, as data, and the engine for it."""

from typing import Protocol

import numpy as np

from ml.device import Device
from ml.engines.network import Floats, Network
from ml.engines.network_facts import MattingFacts
from ml.engines.resizing import resize_for_network
from ml.pixels import Matte, Pixels

#: A network that says no more than this anywhere is sure of nothing: it sees texture, not an object.
SURE = 0.8


class MattingEngine(Protocol):
    @property
    def checkpoint(self) -> str:
        """Name in `ml.checkpoints`."""

    @property
    def device(self) -> Device: ...

    def matte(self, picture: Pixels) -> Matte:
        """The foreground of `picture` (H x W x 3) at the network's own square size, 0..1."""


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
        values = resize_for_network(picture, facts.side_pixels, facts.side_pixels).astype(np.float32)
        if facts.by_brightest:
            values /= max(float(values.max()), 1e-6)
        values -= np.array(facts.mean, np.float32)
        values /= np.array(facts.deviation, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])
