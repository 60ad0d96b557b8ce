"""Segmentation of the object at a click, by networks like Segment Anything (Kirillov et al. 2023).

A large encoder computes an embedding of a picture once; a small decoder computes masks from the embedding and
a prompt. The decoder runs in 32 bits, because bf16 would shift the clicks.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.device import Device, Precision
from ml.engines.network import Floats, Graph, Network
from ml.engines.network_facts import SegmentingFacts
from ml.engines.resizing import resize_for_network
from ml.imaging.selection_prompts import SelectionPrompt
from ml.pixels import Mask, Pixels
from ml.progress import ReportProgress

Embedding = NDArray[Any]  # C x h x w, dtype depends on the engine

EMBEDDING_SHAPE = (256, 64, 64)
_EMBEDDING_BYTES = 2 * 256 * 64 * 64
# Uploads are not stored, but users click on the same one several times.
_EMBEDDINGS_KEPT = 8
# Labels of the decoder's prompts besides clicks beside (0) and on (1) the object.
_NO_POINT, _BOX_START, _BOX_END = -1.0, 2.0, 3.0
# The first of four masks is for prompts of several points, the others for few: part, object, whole.
FEW_POINTS = 2.5
# Logits are enlarged as bytes, because full-size floats would take four times the picture's memory.
_LOGIT_STEPS = 16


@dataclass(frozen=True)
class Candidate:
    """One candidate object.

    `logits` (h x w) are above 0 on it. They have the picture's size, or its shape at the network's size if
    that is smaller. `score` is the network's estimate, about 0..1, of the overlap with the true object.
    """

    logits: Floats
    score: float


class SegmentingEngine(Protocol):
    """Finds the object at a prompt."""

    @property
    def checkpoint(self) -> str:
        """Name in the registry, or of the operator's checkpoint."""

    @property
    def artefact(self) -> str:
        """The name under which its embeddings are stored with pictures."""

    @property
    def device(self) -> Device: ...

    def embed(self, picture: Pixels) -> Embedding:
        """The embedding of `picture` (H x W x 3)."""

    def decode_embedding(self, content: bytes | None) -> Embedding | None:
        """Decode a stored embedding; None if it is missing or unusable."""

    def encode_embedding(self, embedding: Embedding) -> bytes:
        """Encode an embedding for storage."""

    def candidates(
        self, embedding: Embedding, prompt: SelectionPrompt, size: tuple[int, int], count: int
    ) -> list[Candidate]:
        """`count` (1..3) objects for `prompt` in the picture of `size` (width, height), the best first."""

    def objects(
        self, picture: Pixels, embedding: Embedding, prompt: SelectionPrompt, step: ReportProgress
    ) -> list[Candidate]:
        """Candidates for the salient object; `prompt` is a box around it.

        `step` is called with the fraction done, 0..1, and may raise.
        """

    def to_mask(self, logits: Floats, size: tuple[int, int]) -> Mask:
        """Where `logits` are above 0, at `size` (width, height): H x W, 0 or 255."""


class Segmenter:
    """`SegmentingEngine` of one checkpoint in `SEGMENTING_FACTS`."""

    def __init__(self, facts: SegmentingFacts, load_encoder: Callable[[], Network], decoder: Graph) -> None:
        self._facts = facts
        self._load_encoder = load_encoder
        self._encoder: Network | None = None
        self._decoder = decoder
        self._recent: OrderedDict[bytes, Embedding] = OrderedDict()
        self.encoded = 0  # number of pictures encoded

    @property
    def checkpoint(self) -> str:
        return self._facts.checkpoint

    @property
    def artefact(self) -> str:
        return self._facts.artefact

    @property
    def device(self) -> Device:
        return self._decoder.device

    @property
    def precision(self) -> Precision | None:
        """The arithmetic of the encoder; None before its first use."""
        return None if self._encoder is None else self._encoder.precision

    def embed(self, picture: Pixels) -> Embedding:
        """The embedding of `picture` (H x W x 3): 256 x 64 x 64. The most recent are cached."""
        width, height = self._inner_size((picture.shape[1], picture.shape[0]))
        small = resize_for_network(picture, width, height)
        key = hashlib.sha256(small.tobytes() + b"%dx%d" % (width, height)).digest()
        if key not in self._recent:
            self._recent[key] = self._encode(small)
            if len(self._recent) > _EMBEDDINGS_KEPT:
                self._recent.popitem(last=False)
        self._recent.move_to_end(key)
        return self._recent[key]

    def candidates(
        self, embedding: Embedding, prompt: SelectionPrompt, size: tuple[int, int], count: int
    ) -> list[Candidate]:
        """`count` (1..3) objects for `prompt` in the picture of `size` (width, height), the best first.

        With a count of 1 the selection equals that of Segment Anything's own export.
        """
        scale = self._facts.side_pixels / max(size)
        places = [(x, y) for x, y, _ in prompt.clicks]
        labels = [float(label) for *_, label in prompt.clicks]
        if prompt.box is None:
            places, labels = [*places, (0.0, 0.0)], [*labels, _NO_POINT]
        else:
            left, top, right, bottom = prompt.box
            places, labels = [*places, (left, top), (right, bottom)], [*labels, _BOX_START, _BOX_END]
        coordinates = np.array(places, np.float32)[None] * np.float32(scale)
        masks, scores = self._decoder(
            {
                "image_embeddings": embedding.astype(np.float32)[None],
                "point_coords": coordinates,
                "point_labels": np.array(labels, np.float32)[None],
                "mask_input": np.zeros((1, 1, 256, 256), np.float32),
                "has_mask_input": np.zeros(1, np.float32),
            }
        )
        chosen = _best_masks(scores[0], len(labels), count)
        return [Candidate(self._inner_logits(masks[0, n], size), float(scores[0, n])) for n in chosen]

    def objects(
        self, picture: Pixels, embedding: Embedding, prompt: SelectionPrompt, step: ReportProgress
    ) -> list[Candidate]:
        """The three candidates for `prompt`."""
        step(0.0)
        return self.candidates(embedding, prompt, (picture.shape[1], picture.shape[0]), 3)

    def to_mask(self, logits: Floats, size: tuple[int, int]) -> Mask:
        return mask_of(logits, size)

    def decode_embedding(self, content: bytes | None) -> Embedding | None:
        return stored_embedding(content)

    def encode_embedding(self, embedding: Embedding) -> bytes:
        return embedding.tobytes()

    def _encode(self, small: Pixels) -> Embedding:
        facts = self._facts
        if self._encoder is None:
            self._encoder = self._load_encoder()
        values = small.astype(np.float32)
        values -= np.array(facts.mean, np.float32)
        values /= np.array(facts.deviation, np.float32)
        batch = np.zeros((1, 3, facts.side_pixels, facts.side_pixels), np.float32)
        batch[0, :, : small.shape[0], : small.shape[1]] = values.transpose(2, 0, 1)
        self.encoded += 1
        embedding: Embedding = self._encoder(batch)[0].astype(np.float16)
        return embedding

    def _inner_size(self, size: tuple[int, int]) -> tuple[int, int]:
        scale = self._facts.side_pixels / max(size)
        return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))

    def _inner_logits(self, coarse: Floats, size: tuple[int, int]) -> Floats:
        side = self._facts.side_pixels
        width, height = self._inner_size(size)
        large = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
        inner = np.ascontiguousarray(large[:height, :width])
        if max(size) >= side:
            return inner
        small: Floats = cv2.resize(inner, size, interpolation=cv2.INTER_LINEAR)
        return small


def _best_masks(scores: Floats, points: int, count: int) -> list[int]:
    if count == 1:
        # Few points: the best of part, object and whole. Otherwise: the first.
        return [0] if points > FEW_POINTS else [int(scores[1:].argmax()) + 1]
    return [int(number) + 1 for number in np.argsort(-scores[1:], kind="stable")[:count]]


def mask_of(logits: Floats, size: tuple[int, int]) -> Mask:
    """Where `logits` are above 0, at `size` (width, height): H x W, 0 or 255."""
    if size == (logits.shape[1], logits.shape[0]):
        return np.where(logits > 0, np.uint8(255), np.uint8(0))
    # As bytes, with 0 between 127 and 128 so that neither side grows.
    steps = np.clip(np.floor(logits * _LOGIT_STEPS) + 128, 0, 255).astype(np.uint8)
    enlarged = cv2.resize(steps, size, interpolation=cv2.INTER_LINEAR)
    answer: Mask = cv2.threshold(enlarged, 127, 255, cv2.THRESH_BINARY)[1]
    return answer


def stored_embedding(content: bytes | None) -> Embedding | None:
    """Decode a stored embedding; None if it is missing or damaged."""
    if content is None or len(content) != _EMBEDDING_BYTES:
        return None
    embedding = np.frombuffer(content, np.float16).reshape(EMBEDDING_SHAPE)
    return embedding if bool(np.isfinite(embedding).all()) else None
