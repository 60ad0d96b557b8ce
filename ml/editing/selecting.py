"""Selects objects by clicks, boxes or salience."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.editing import candidates, foreground
from ml.editing.candidates import Colors
from ml.engines.matting import MattingEngine
from ml.engines.network import Floats
from ml.engines.network_facts import CHECKPOINT
from ml.engines.segmenting import Candidate, Embedding, SegmentingEngine
from ml.errors import BadParameter, NothingFound
from ml.imaging import selection_edges
from ml.imaging.selection_prompts import Clicks, Corners, SelectionPrompt, checked_prompts
from ml.pixels import Mask, Matte, Picture, Pixels
from ml.tool import ARTEFACT_PREFIX, Context

# Of a matte, 0..1.
_INSIDE = 0.5
_MIN_OBJECT_SHARE = 1e-4
# With less overlap, the segmenter and the matte found different objects.
_MIN_AGREEMENT = 0.75
_MATTE_TO_LOGITS = 12
# An object is identified by at most one click or a box; with more, the network returns one mask.
_MAX_CANDIDATES = 3

# A photo in which hardly any pixel is brighter than this is dark: the segmenter, which is trained on ordinary
# photos, finds only parts in it. It is brightened by at most this factor; beyond, mostly noise is left.
_DARK = 128
_BRIGHTEST_SHARE = 0.999
_MAX_GAIN = 16.0
_SAMPLES_A_SIDE = 512

_Region = NDArray[np.bool_]


@dataclass(frozen=True)
class SelectedObjects:
    """Selected objects, the best first. `artefacts` are for `ToolResult.artefacts`."""

    candidates: list[Candidate]
    picture: Pixels  # H x W x 3, brightened if it is dark
    checkpoint: str
    device: str
    artefacts: dict[str, bytes]
    engine: SegmentingEngine  # converts the candidates to masks
    colors: Colors  # of the picture, at the size of the logits
    agreement: float = 1.0  # the overlap of two networks' masks of the object, if two were asked

    def confidence(self, candidate: Candidate) -> float:
        """How far a mask can be trusted, 0..1.

        By its score, how stable and how visible its outline is, and the agreement.
        """
        score = min(max(candidate.score, 0.0), 1.0)
        distinctness = candidates.distinctness(candidate, self.colors)
        return score * candidates.stability(candidate) * distinctness * self.agreement

    @property
    def mask(self) -> Mask:
        """The best object: H x W, 0 or 255."""
        return next(self.masks())

    def masks(self) -> Iterator[Mask]:
        """One at a time, because full-size masks can be large.

        In a picture larger than the network's grid, the edges are refined to the picture's own.
        """
        height, width = self.picture.shape[:2]
        for candidate in self.candidates:
            if candidate.logits.shape == (height, width):
                yield self.engine.to_mask(candidate.logits, (width, height))
            else:
                yield selection_edges.refine(self.picture, candidate.logits)


def select_objects(
    source: Picture,
    groups: Sequence[Clicks] | None,
    boxes: Sequence[Corners] | None,
    context: Context,
    count: int = 1,
    checkpoint: str = CHECKPOINT,
) -> SelectedObjects:
    """The objects at the clicks and boxes (see `checked_prompts`) as one candidate.

    For a single object, up to `count` (1..3) candidates. Raises `NothingFound`, `ModelUnavailable`, and
    `BadParameter` for `points` and `box`, and for `multimask` with several objects.
    """
    prompts = checked_prompts(groups, boxes, (source.width, source.height))
    if count > 1 and len(prompts) > 1:
        raise BadParameter("multimask", "multimask has no effect with several objects")
    embedded = _embed(source, context, checkpoint)
    context.step("finding the object", 0.5)
    if len(prompts) == 1:
        return embedded.select(_candidates(embedded, prompts[0], count, "at this place"))
    found = []
    for number, prompt in enumerate(prompts):
        context.step("finding the objects", 0.5 + 0.3 * number / len(prompts))
        found += _candidates(embedded, prompt, 1, f"at {_place(prompt)}")
    # The union is as certain as its least certain part.
    union = Candidate(np.maximum.reduce([one.logits for one in found]), min(one.score for one in found))
    return embedded.select([union])


def _candidates(embedded: "_Embedded", prompt: SelectionPrompt, count: int, place: str) -> list[Candidate]:
    """The best candidates for one object. Raises `NothingFound`."""
    wanted_clicks = tuple(click for click in prompt.clicks if click[2] == 1)
    if count == 1 and wanted_clicks and len(wanted_clicks) < len(prompt.clicks):
        # The network often answers a fragment where clicks exclude what it does not select anyway.
        try:
            (without,) = _candidates(embedded, replace(prompt, clicks=wanted_clicks), 1, place)
        except NothingFound:
            pass
        else:
            scale = max(without.logits.shape) / max(embedded.picture.shape[:2])
            if candidates.agrees(without, [(x * scale, y * scale, label) for x, y, label in prompt.clicks]):
                return [without]
    height, width = embedded.picture.shape[:2]
    is_ambiguous = (prompt.box is None and len(prompt.clicks) == 1) or not prompt.clicks
    wanted = _MAX_CANDIDATES if is_ambiguous else count
    found = embedded.engine.candidates(embedded.embedding, prompt, (width, height), wanted)
    scale = max(found[0].logits.shape) / max(width, height)
    clicks = [(x * scale, y * scale, label) for x, y, label in prompt.clicks]
    cleaned = [candidates.clean(candidate, clicks) for candidate in found]
    kept = [one for one in cleaned if candidates.is_object(one, clicks)]
    colors = embedded.colors(found[0].logits)
    kept = candidates.with_a_contour(kept, colors)
    if not kept:
        raise NothingFound(f"No object was found {place}.")
    ordered = candidates.preferred_first(kept, colors) if is_ambiguous else kept
    return [candidates.open_holes(one, embedded.picture, clicks) for one in ordered[:count]]


def _place(prompt: SelectionPrompt) -> str:
    if prompt.box is not None:
        return "the box [{:g}, {:g}, {:g}, {:g}]".format(*prompt.box)
    x, y = next((x, y) for x, y, label in prompt.clicks if label == 1)
    return f"the point ({x:g}, {y:g})"


def select_salient(
    source: Picture, engine: MattingEngine, context: Context, checkpoint: str = CHECKPOINT
) -> SelectedObjects:
    """The most salient object: the largest of the matte by `engine`, with the segmenter's outline.

    If the segmenter found a different object, the matte's outline is used. Raises `NothingFound`,
    `ModelUnavailable`.
    """
    embedded = _embed(source, context, checkpoint)
    context.step("finding the foreground", 0.4)
    matte = _largest_object(engine.matte(foreground.visible_colors(source)))
    context.step("finding the object", 0.7)
    left, top, width, height = cv2.boundingRect((matte > _INSIDE).astype(np.uint8))
    across, down = source.width / matte.shape[1], source.height / matte.shape[0]
    prompt = SelectionPrompt(box=(left * across, top * down, (left + width) * across, (top + height) * down))
    found = [
        candidates.clean(one, [])
        for one in embedded.engine.objects(
            embedded.picture,
            embedded.embedding,
            prompt,
            lambda done: context.step("finding the object", 0.7 + 0.1 * done),
        )
    ]
    inner_height, inner_width = found[0].logits.shape if found else matte.shape
    logits = cv2.resize(matte, (inner_width, inner_height), interpolation=cv2.INTER_LINEAR) - _INSIDE
    # The segmenter's mask of the object often has islands in the background.
    found = [candidates.without_parts_outside(one, logits > 0) for one in found]
    overlaps = [_overlap(one.logits > 0, logits > 0) for one in found]
    agreement = max(overlaps, default=0.0)
    if agreement >= _MIN_AGREEMENT:
        return replace(embedded.select([found[int(np.argmax(overlaps))]]), agreement=agreement)
    own = Candidate(logits * _MATTE_TO_LOGITS, float(matte[matte > _INSIDE].mean()))
    return replace(
        embedded.select([own]), checkpoint=engine.checkpoint, device=engine.device, agreement=agreement
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


@dataclass
class _Embedded:
    engine: SegmentingEngine
    picture: Pixels  # H x W x 3, on white, brightened if it is dark
    embedding: Embedding
    artefacts: dict[str, bytes]
    _colors: Colors | None = None

    def colors(self, logits: Floats) -> Colors:
        """The picture's colours at the size of `logits`, which is the same for all candidates."""
        if self._colors is None or self._colors.shape[:2] != logits.shape:
            self._colors = candidates.colors_of(self.picture, logits)
        return self._colors

    def select(self, found: list[Candidate]) -> SelectedObjects:
        """`found` is not empty."""
        return SelectedObjects(
            found,
            self.picture,
            self.engine.checkpoint,
            self.engine.device,
            self.artefacts,
            self.engine,
            self.colors(found[0].logits),
        )


def _embed(source: Picture, context: Context, checkpoint: str) -> _Embedded:
    """The picture's embedding: the stored one, else a new one."""
    context.step("loading", 0.0)
    engine: SegmentingEngine = context.engines.segmenting(checkpoint)
    stored = engine.decode_embedding(context.files.get(ARTEFACT_PREFIX + engine.artefact))
    picture = _brightened(foreground.flatten_on_white(source))
    if stored is not None:
        return _Embedded(engine, picture, stored, {})
    context.step("analysing the image", 0.1)
    embedding = engine.embed(picture)
    return _Embedded(engine, picture, embedding, {engine.artefact: engine.encode_embedding(embedding)})


def _brightened(picture: Pixels) -> Pixels:
    """`picture` (H x W x 3) with its brightest places as bright as a photo's, if it is dark."""
    apart = max(1, min(picture.shape[:2]) // _SAMPLES_A_SIDE)
    red, green, blue = cv2.split(picture[::apart, ::apart])
    counts = np.bincount(cv2.max(cv2.max(red, green), blue).ravel(), minlength=256).cumsum()
    brightest = int(np.searchsorted(counts, int(_BRIGHTEST_SHARE * (counts[-1] - 1)), side="right"))
    if not 0 < brightest < _DARK:
        return picture
    answer: Pixels = cv2.convertScaleAbs(picture, alpha=min(255 / brightest, _MAX_GAIN))
    return answer


def encode(source: Picture, context: Context, checkpoint: str) -> dict[str, bytes]:
    """The artefacts that spare later selections the encoding; none if they are stored already."""
    return _embed(source, context, checkpoint).artefacts


def _overlap(one: _Region, other: _Region) -> float:
    """Intersection over union."""
    either = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / either if either else 0.0
