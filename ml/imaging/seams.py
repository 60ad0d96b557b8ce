"""Removes seams from a picture composed of copies, and interpolates holes smoothly.

Gradient-domain composition after Pérez et al., "Poisson Image Editing" (2003): inside each piece the
gradients are kept; between pieces the target is the mean of both pieces' gradients.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging.pyramid import Region
from ml.pixels import Pixels

Colors = NDArray[np.float32]  # H x W x 3
Places = NDArray[Any]  # H x W, whole numbers

# Where pieces differ by more than this (of 255), the seam is an object edge and is kept.
_EDGE_STEP = 80.0
# A correction fades over this share of the hole's size: colour must not bleed from one end to the other.
_FADE_SHARE = 0.35
_MIN_GRID = 8
_CYCLES = 3
_SWEEPS = 2
_COARSEST_SWEEPS = 40
# Damping with which Jacobi iterations smooth best.
_RELAXATION = 0.8
_CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)


def seam_correction(colors: Pixels, painted: Region, down: Places, right: Places) -> tuple[Colors, Region]:
    """The correction to add to the copies in `painted` to remove seams, 0 elsewhere; and the pixels at
    object edges.

    `colors` (H x W x 3) is the picture, from which pixel (y, x) of `painted` is copied at
    (y + down, x + right).
    """
    answer = np.zeros(colors.shape, np.float32)
    height, width = painted.shape
    left, top, across, along = cv2.boundingRect(painted.astype(np.uint8))
    top, bottom = max(0, top - 1), min(height, top + along + 1)
    left, right_end = max(0, left - 1), min(width, left + across + 1)
    box = np.s_[top:bottom, left:right_end]
    inside = painted[box]
    # Unpainted pixels are copies of themselves.
    rows, columns = np.ogrid[top:bottom, left:right_end]
    from_rows = rows + np.where(inside, down[box], 0)
    from_columns = columns + np.where(inside, right[box], 0)
    divergence = np.zeros((*inside.shape, 3), np.float32)
    edges = np.zeros(painted.shape, np.bool_)
    for axis in (0, 1):
        missing = _missing_gradients(colors, inside, from_rows, from_columns, axis)
        size = np.abs(missing).max(axis=2, keepdims=True)
        here, there = _sides(axis)
        edges[box][here] |= size[..., 0] > _EDGE_STEP
        edges[box][there] |= size[..., 0] > _EDGE_STEP
        divergence += _divergence(missing / (1 + (size / _EDGE_STEP) ** 4), axis)
    fade_pixels = max(8.0, _FADE_SHARE * float(np.sqrt(painted.sum())))
    answer[box] = _solve(divergence, inside, 1 / fade_pixels**2, _CYCLES)
    return answer, edges & painted


def membrane(colors: Pixels, hole: Region) -> Pixels:
    """`colors` with the hole interpolated smoothly from its rim (a membrane)."""
    known = colors[~hole]
    mean = known.mean(axis=0) if len(known) else np.full(3, 128.0)
    start = colors.astype(np.float32)
    start[hole] = mean
    divergence = np.zeros_like(start)
    for axis in (0, 1):
        steps = np.diff(start, axis=axis)
        divergence += _divergence(-steps, axis)
    answer = colors.copy()
    filled = start + _solve(divergence, hole, 0.0, 3 * _CYCLES)
    answer[hole] = np.clip(np.rint(filled[hole]), 0, 255).astype(np.uint8)
    return answer


def _missing_gradients(colors: Pixels, painted: Region, rows: Places, columns: Places, axis: int) -> Colors:
    """The difference between the target gradients along `axis` and those of the copies.

    `rows` and `columns` say where each pixel is copied from.
    """
    here, there = _sides(axis)
    along, across = (1, 0) if axis == 0 else (0, 1)
    near = _at(colors, rows[here], columns[here])
    far = _at(colors, rows[there], columns[there])
    after_near = _at(colors, rows[here] + along, columns[here] + across)
    before_far = _at(colors, rows[there] - along, columns[there] - across)
    near_share = painted[here].astype(np.float32)[..., None]
    far_share = painted[there].astype(np.float32)[..., None]
    wanted = (after_near - near) * near_share + (far - before_far) * far_share
    wanted /= np.maximum(near_share + far_share, 1)
    missing = (wanted - (far - near)) * np.minimum(near_share + far_share, 1)
    return np.asarray(missing, np.float32)


def _sides(axis: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Every pixel that has a next one along `axis`, and those next ones."""
    every = slice(None)
    if axis == 0:
        return (slice(None, -1), every), (slice(1, None), every)
    return (every, slice(None, -1)), (every, slice(1, None))


def _at(colors: Pixels, rows: Places, columns: Places) -> Colors:
    height, width = colors.shape[:2]
    picked = colors[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    return np.asarray(picked, np.float32)


def _divergence(steps: Colors, axis: int) -> Colors:
    """The divergence of a gradient field, which is 0 across the picture's border."""
    before = [(0, 0)] * 3
    after = [(0, 0)] * 3
    before[axis], after[axis] = (1, 0), (0, 1)
    return np.asarray(np.pad(steps, after) - np.pad(steps, before), np.float32)


def _solve(divergence: Colors, inside: Region, fade: float, cycles: int) -> Colors:
    """The e with Laplacian(e) - fade * e = divergence, 0 outside of `inside`: multigrid V-cycles."""
    free = inside.astype(np.float32)
    answer = np.zeros_like(divergence)
    for _ in range(cycles):
        answer = _cycle(answer, divergence, free, fade)
    return answer


def _cycle(answer: Colors, divergence: Colors, free: NDArray[np.float32], fade: float) -> Colors:
    if min(free.shape) <= _MIN_GRID:
        return _relax(answer, divergence, free, fade, _COARSEST_SWEEPS)
    answer = _relax(answer, divergence, free, fade, _SWEEPS)
    rest = (divergence - _laplacian(answer, fade)) * free[..., None]
    height, width = free.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    margins = (0, 2 * half[1] - height, 0, 2 * half[0] - width)
    coarse_rest = cv2.resize(_extended(rest, margins), half, interpolation=cv2.INTER_AREA) * 4
    coarse_free = cv2.resize(_extended(free, margins), half, interpolation=cv2.INTER_AREA)
    coarse_free = (coarse_free > 0.99).astype(np.float32)
    correction = _cycle(np.zeros_like(coarse_rest), coarse_rest, coarse_free, 4 * fade)
    size = (2 * half[0], 2 * half[1])
    enlarged = cv2.resize(correction, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
    answer = answer + enlarged * free[..., None]
    return _relax(answer, divergence, free, fade, _SWEEPS)


def _extended(plane: NDArray[np.float32], margins: tuple[int, int, int, int]) -> NDArray[np.float32]:
    if not any(margins):
        return plane
    return np.asarray(cv2.copyMakeBorder(plane, *margins, cv2.BORDER_CONSTANT, value=0), np.float32)


def _relax(answer: Colors, divergence: Colors, free: NDArray[np.float32], fade: float, sweeps: int) -> Colors:
    share = (free * np.float32(_RELAXATION / (4 + fade)))[..., None]
    for _ in range(sweeps):
        answer = answer + (_laplacian(answer, fade) - divergence) * share
    return answer


def _laplacian(plane: Colors, fade: float) -> Colors:
    """The screened Laplacian, with replicated borders."""
    around = cv2.filter2D(plane, cv2.CV_32F, _CROSS, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(around - plane * np.float32(4 + fade), np.float32)
