"""Draws objects whose opacity and colours are known exactly, from shapes and photographed textures."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.pixels import Mask, Pixels

Floats = NDArray[np.float32]
Point = tuple[float, float]
Color = tuple[int, int, int]

# Coordinates are drawn with 4 fractional bits.
_SHIFT = 4
# Shading varies slowly, so it is computed at this size.
_SHADING_SIDE = 400


@dataclass(frozen=True)
class Frame:
    """The place of an object in its picture: (0, 0) is the object's centre, and `unit` pixels are 1."""

    center_x: float
    center_y: float
    unit: float

    def pixels(self, points: Sequence[Point], oversampling: int) -> NDArray[np.int32]:
        xy = np.asarray(points, np.float64) * self.unit + (self.center_x, self.center_y)
        return np.rint((xy * oversampling - 0.5) * (1 << _SHIFT)).astype(np.int32)


@dataclass
class Stencil:
    """The opacity of one part, drawn at a multiple of the picture's size and then reduced."""

    width: int
    height: int
    frame: Frame
    oversampling: int
    canvas: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.canvas = np.zeros((self.height * self.oversampling, self.width * self.oversampling), np.uint8)

    def polygon(self, points: Sequence[Point], value: int = 255) -> "Stencil":
        outline = self.frame.pixels(points, self.oversampling)
        cv2.fillPoly(self.canvas, [outline], value, cv2.LINE_AA, _SHIFT)
        return self

    def ellipse(self, center: Point, radii: Point, value: int = 255, turned: float = 0) -> "Stencil":
        return self.polygon(ellipse(center, radii, turned), value)

    def line(self, points: Sequence[Point], width: float, value: int = 255) -> "Stencil":
        """`width` is in units; a line is never thinner than a pixel of the picture."""
        thickness = max(self.oversampling, round(width * self.frame.unit * self.oversampling))
        path = self.frame.pixels(points, self.oversampling)
        cv2.polylines(self.canvas, [path], False, value, thickness, cv2.LINE_AA, _SHIFT)
        return self

    def opacity(self) -> Floats:
        """H x W, 0..1."""
        if self.oversampling > 1:
            reduced = cv2.resize(self.canvas, (self.width, self.height), interpolation=cv2.INTER_AREA)
        else:
            reduced = self.canvas
        answer: Floats = reduced.astype(np.float32) / 255
        return answer


def drawn_window(opacity: Floats) -> tuple[slice, slice]:
    """The smallest window that contains everything drawn."""
    left, top, width, height = cv2.boundingRect((opacity > 0).astype(np.uint8))
    return slice(top, top + height), slice(left, left + width)


class Drawing:
    """An object built up of parts, each laid over the earlier ones."""

    def __init__(self, width: int, height: int, frame: Frame, random: np.random.Generator) -> None:
        self.width, self.height, self.frame, self.random = width, height, frame, random
        self.oversampling = 2 if width * height < 4_000_000 else 1
        self._alpha: Floats = np.zeros((height, width), np.float32)
        self._premultiplied: Floats = np.zeros((height, width, 3), np.float32)

    def stencil(self) -> Stencil:
        return Stencil(self.width, self.height, self.frame, self.oversampling)

    def add(self, opacity: Floats, color: Color | Floats) -> None:
        """A part of this opacity, H x W, in one colour or a colour for each pixel (H x W x 3, 0..255)."""
        window = drawn_window(opacity)
        part = opacity[window][..., None]
        colors = np.asarray(color, np.float32)
        self._premultiplied[window] *= 1 - part
        self._premultiplied[window] += part * (colors[window] if colors.ndim == 3 else colors)
        self._alpha[window] *= 1 - part[..., 0]
        self._alpha[window] += part[..., 0]

    @property
    def alpha(self) -> Mask:
        answer: Mask = np.rint(self._alpha * 255).astype(np.uint8)
        return answer

    @property
    def colors(self) -> Floats:
        """H x W x 3, 0..255; black where nothing was drawn."""
        return np.asarray(self._premultiplied / np.maximum(self._alpha, 1e-6)[..., None], np.float32)


def ellipse(center: Point, radii: Point, turned: float = 0, points: int = 120) -> list[Point]:
    """The outline of an ellipse; `turned` is in degrees."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = radii[0] * np.cos(angle), radii[1] * np.sin(angle)
    turn = np.deg2rad(turned)
    xs = center[0] + x * np.cos(turn) - y * np.sin(turn)
    ys = center[1] + x * np.sin(turn) + y * np.cos(turn)
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def turned_profile(profile: Sequence[Point]) -> list[Point]:
    """The outline of a turned object, such as a vase, from its (half width, y) pairs from top to bottom."""
    heights = np.array([y for _, y in profile])
    fine = np.linspace(heights[0], heights[-1], 160)
    widths = np.interp(fine, heights, [half for half, _ in profile])
    smooth = np.convolve(np.pad(widths, 12, mode="edge"), np.hanning(27)[1:-1] / 13, mode="valid")
    right = list(zip(smooth.tolist(), fine.tolist(), strict=True))
    return right + [(-half, y) for half, y in reversed(right)]


def shaded(opacity: Floats, color: Color | Pixels, light: Point = (-0.5, -0.6), gloss: float = 0.4) -> Floats:
    """Colours, H x W x 3, of a rounded body of this outline in one colour or a texture, lit from one side.

    Black outside of the smallest window around the body.
    """
    window = drawn_window(opacity)
    body = opacity[window]
    answer: Floats = np.zeros((*opacity.shape, 3), np.float32)
    if not body.size:
        return answer
    height, width = body.shape
    scale = min(1.0, _SHADING_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    solid = (cv2.resize(body, size, interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8)
    solid = cv2.copyMakeBorder(solid, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    depth = cv2.distanceTransform(solid, cv2.DIST_L2, 5)[1:-1, 1:-1]
    relief = cv2.GaussianBlur(np.sqrt(depth * max(float(depth.max()), 1.0)), (0, 0), max(size) / 40)
    slope_x, slope_y = cv2.Sobel(relief, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(relief, cv2.CV_32F, 0, 1) / 8
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    toward = np.array([light[0], light[1], 0.75])
    toward /= np.linalg.norm(toward)
    facing = (-slope_x * toward[0] - slope_y * toward[1] + toward[2]) / length
    diffuse = 0.45 + 0.65 * np.clip(facing, 0, 1)
    shine = 255 * gloss * np.clip(facing, 0, 1) ** 24
    factor = cv2.resize(diffuse.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    added = cv2.resize(shine.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    base = np.asarray(color, np.float32)
    if base.ndim == 3:
        base = base[window]
    answer[window] = np.clip(base * factor[..., None] + added[..., None], 0, 255)
    return answer
