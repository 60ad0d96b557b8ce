"""Selects objects by clicks, box or salience, and removes specks and small holes from their masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.editing import foreground
from ml.engines.matting import MattingEngine
from ml.engines.network_facts import CHECKPOINT
from ml.engines.segmenting import Candidate, Embedding, SegmentingEngine
from ml.errors import NothingFound
from ml.imaging.selection_prompts import Click, Corners, SelectionPrompt, checked_prompt
from ml.pixels import Mask, Matte, Picture
from ml.tool import ARTEFACT_PREFIX, Context

# Specks and holes below this share of the object are noise.
_SPECK_SHARE = 0.005
# A click within this distance of an object, in pixels of the logits, counts as on it.
_NEAR_PIXELS = 8
# The smallest object.
_MIN_PIXELS = 12
# Masks with a lower score are rejected.
_MIN_SCORE = 0.3
# A mask of nearly the whole picture is not an object: it is the output for plain areas.
_MAX_SHARE = 0.98
# Of a matte, 0..1.
_INSIDE = 0.5
_MIN_OBJECT_SHARE = 1e-4
# With less overlap, the segmenter and the matte found different objects.
_MIN_AGREEMENT = 0.75
_MATTE_TO_LOGITS = 12
# Of logits: outlines drawn this much lower and higher show how stable a mask is (Kirillov et al. 2023).
_STABILITY_OFFSET = 1.0
_NOTHING = "No object was found at this place."

_Region = NDArray[np.bool_]


@dataclass(frozen=True)
class SelectedObjects:
    """Selected objects, the best first. `artefacts` are for `ToolResult.artefacts`."""

    candidates: list[Candidate]
    size: tuple[int, int]  # width and height of the picture
    checkpoint: str
    device: str
    artefacts: dict[str, bytes]
    engine: SegmentingEngine  # converts the candidates to masks
    agreement: float = 1.0  # the overlap of two networks' masks of the object, if two were asked

    def confidence(self, candidate: Candidate) -> float:
        """How far a mask can be trusted, 0..1: its score, the stability of its outline and the agreement."""
        score = min(max(candidate.score, 0.0), 1.0)
        return score * _stability(candidate.logits) * self.agreement

    @property
    def mask(self) -> Mask:
        """The best object: H x W, 0 or 255."""
        return next(self.masks())

    def masks(self) -> Iterator[Mask]:
        """One at a time, because full-size masks can be large."""
        for candidate in self.candidates:
            yield self.engine.to_mask(candidate.logits, self.size)


def select_object(
    source: Picture,
    clicks: Sequence[Click] | None,
    box: Corners | None,
    context: Context,
    count: int = 1,
    checkpoint: str = CHECKPOINT,
) -> SelectedObjects:
    """As `select_prompted`, for unchecked clicks and box.

    Raises `BadParameter` for `points` and `box` too.
    """
    return select_prompted(
        source, checked_prompt(clicks, box, (source.width, source.height)), context, count, checkpoint
    )


def select_prompted(
    source: Picture, prompt: SelectionPrompt, context: Context, count: int = 1, checkpoint: str = CHECKPOINT
) -> SelectedObjects:
    """The object at `prompt` (see `checked_prompt`), or up to `count` (1..3) candidates.

    Raises `NothingFound`, `ModelUnavailable`.
    """
    embedded = _embed(source, context, checkpoint)
    context.step("finding the object", 0.5)
    size = (source.width, source.height)
    found = embedded.engine.candidates(embedded.embedding, prompt, size, count)
    scale = max(found[0].logits.shape) / max(size)
    clicks = [(x * scale, y * scale, label) for x, y, label in prompt.clicks]
    cleaned = [_without_specks(candidate, clicks) for candidate in found]
    kept = [one for one in cleaned if _is_object(one, clicks)]
    if not kept:
        raise NothingFound(_NOTHING)
    return embedded.select(kept, size)


def select_salient(
    source: Picture, engine: MattingEngine, context: Context, checkpoint: str = CHECKPOINT
) -> SelectedObjects:
    """The most salient object: the largest of the matte by `engine`, with the segmenter's outline.

    If the segmenter found a different object, the matte's outline is used. Raises `NothingFound`,
    `ModelUnavailable`.
    """
    embedded = _embed(source, context, checkpoint)
    context.step("finding the foreground", 0.4)
    seen = foreground.flatten_on_white(source)
    matte = _largest_object(engine.matte(seen))
    context.step("finding the object", 0.7)
    size = (source.width, source.height)
    left, top, width, height = cv2.boundingRect((matte > _INSIDE).astype(np.uint8))
    across, down = source.width / matte.shape[1], source.height / matte.shape[0]
    prompt = SelectionPrompt(box=(left * across, top * down, (left + width) * across, (top + height) * down))
    found = [
        _without_specks(one, [])
        for one in embedded.engine.objects(
            seen,
            embedded.embedding,
            prompt,
            lambda done: context.step("finding the object", 0.7 + 0.1 * done),
        )
    ]
    inner_height, inner_width = found[0].logits.shape if found else matte.shape
    logits = cv2.resize(matte, (inner_width, inner_height), interpolation=cv2.INTER_LINEAR) - _INSIDE
    overlaps = [_overlap(one.logits > 0, logits > 0) for one in found]
    agreement = max(overlaps, default=0.0)
    if agreement >= _MIN_AGREEMENT:
        return replace(embedded.select([found[int(np.argmax(overlaps))]], size), agreement=agreement)
    own = Candidate(logits * _MATTE_TO_LOGITS, float(matte[matte > _INSIDE].mean()))
    return SelectedObjects(
        [own], size, engine.checkpoint, engine.device, embedded.artefacts, embedded.engine, agreement
    )


def _largest_object(matte: Matte) -> Matte:
    """`matte` with 0 outside its largest connected part. Raises `NothingFound`."""
    inside = (matte > _INSIDE).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside)
    if count == 1 or stats[1:, cv2.CC_STAT_AREA].max() < _MIN_OBJECT_SHARE * matte.size:
        raise NothingFound("No salient object was found in this image.")
    largest = int(stats[1:, cv2.CC_STAT_AREA].argmax()) + 1
    # Keep its soft edge.
    near = cv2.dilate((labels == largest).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    answer: Matte = np.where(near & ((labels == largest) | (labels == 0)), matte, np.float32(0))
    return answer


@dataclass(frozen=True)
class _Embedded:
    engine: SegmentingEngine
    embedding: Embedding
    artefacts: dict[str, bytes]

    def select(self, candidates: list[Candidate], size: tuple[int, int]) -> SelectedObjects:
        checkpoint, device = self.engine.checkpoint, self.engine.device
        return SelectedObjects(candidates, size, checkpoint, device, self.artefacts, self.engine)


def _embed(source: Picture, context: Context, checkpoint: str) -> _Embedded:
    """The picture's embedding: the stored one, else a new one."""
    context.step("loading", 0.0)
    engine: SegmentingEngine = context.engines.segmenting(checkpoint)
    stored = engine.decode_embedding(context.files.get(ARTEFACT_PREFIX + engine.artefact))
    if stored is not None:
        return _Embedded(engine, stored, {})
    context.step("analysing the image", 0.1)
    embedding = engine.embed(foreground.flatten_on_white(source))
    return _Embedded(engine, embedding, {engine.artefact: engine.encode_embedding(embedding)})


def _is_object(candidate: Candidate, clicks: list[Click]) -> bool:
    inside = candidate.logits > 0
    pixels = np.count_nonzero(inside)
    if candidate.score < _MIN_SCORE or not _MIN_PIXELS <= pixels <= _MAX_SHARE * inside.size:
        return False
    wanted = [click for click in clicks if click[2] == 1]
    return not wanted or any(_values_near(inside, click).any() for click in wanted)


def _without_specks(candidate: Candidate, clicks: list[Click]) -> Candidate:
    """`candidate` without small holes and without specks, except those that were clicked on.

    Computed at the network's size, to save memory.
    """
    inside = candidate.logits > 0
    least_pixels = max(_MIN_PIXELS, _SPECK_SHARE * np.count_nonzero(inside))
    logits = candidate.logits.copy()
    logits[_small_parts(inside, least_pixels, [click for click in clicks if click[2] == 1])] = -1
    # Afterwards, because a speck in a hole would otherwise become a hole.
    logits[_small_parts(logits <= 0, least_pixels, [click for click in clicks if click[2] == 0])] = 1
    return replace(candidate, logits=logits)


def _small_parts(inside: _Region, least_pixels: float, kept: list[Click]) -> _Region:
    """The connected parts of `inside` with fewer than `least_pixels`, except those at a click in `kept`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < least_pixels
    small[0] = False
    for click in kept:
        small[_values_near(labels, click)] = False
    answer: _Region = small[labels] if count > 1 else np.zeros_like(inside)
    return answer


def _values_near(values: NDArray[np.generic], click: Click) -> NDArray[np.generic]:
    """The values around a click."""
    column, row = int(click[0]), int(click[1])
    rows = slice(max(0, row - _NEAR_PIXELS), row + _NEAR_PIXELS + 1)
    return values[rows, max(0, column - _NEAR_PIXELS) : column + _NEAR_PIXELS + 1].ravel()


def _stability(logits: NDArray[np.float32]) -> float:
    # With >=, because filled holes and removed specks have just these values.
    return _overlap(logits >= _STABILITY_OFFSET, logits > -_STABILITY_OFFSET)


def _overlap(one: _Region, other: _Region) -> float:
    """Intersection over union."""
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else 0.0
