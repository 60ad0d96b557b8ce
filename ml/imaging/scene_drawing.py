"""Draws the files of `ml.imaging.scenes`: studios, colour washes, tables, stone, fabric, blurred lights.

`python -m ml.imaging.scene_drawing` writes them again. Everything is computed, from fixed seeds, in relative
coordinates; nothing comes from a photo. Drawing some of them takes seconds, so calls use the files.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ml.imaging import scenes
from ml.imaging.scenes import SceneName
from ml.pixels import Pixels

#: Compression that shows no blocks, and keeps each file below 300 KB.
_QUALITY = 90
_THUMBNAIL_SIDE = 120

Color = tuple[int, int, int]
Plane = NDArray[np.float32]  # H x W
Canvas = NDArray[np.float32]  # H x W x 3, 0..255
Draw = Callable[[int], Canvas]


def draw(name: SceneName, side: int) -> Pixels:
    """The scene: `side` x `side` x 3."""
    drawn = _SCENES[name](side)
    # Dithering hides the steps of slow gradients.
    drawn += np.random.default_rng(0).random((side, side, 1), np.float32)
    return np.clip(drawn, 0, 255).astype(np.uint8)


def write_files(folder: Path) -> None:
    """Write the file and the thumbnail of every scene."""
    folder.mkdir(exist_ok=True)
    for name in scenes.NAMES:
        picture = Image.fromarray(draw(name, scenes.SIDE))
        picture.save(folder / f"{name}.webp", quality=_QUALITY, method=6)
        small = picture.resize((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
        small.save(folder / f"{name}-thumbnail.webp", quality=_QUALITY, method=6)


def _grid(side: int) -> tuple[Plane, Plane]:
    """x (1 x W) and y (H x 1) of the pixels' centres, 0..1."""
    line: Plane = (np.arange(side, dtype=np.float32) + 0.5) / np.float32(side)
    return line[None], line[:, None]


def _mix(first: Canvas | Color, second: Canvas | Color, share: Plane) -> Canvas:
    start, end = np.asarray(first, np.float32), np.asarray(second, np.float32)
    mixed: Canvas = start + (end - start) * share[..., None]
    return mixed


def _ramp(values: Plane, low: float, high: float) -> Plane:
    """0 below `low`, 1 above `high`, smooth in between."""
    share = np.clip((values - low) / (high - low), 0, 1)
    smooth: Plane = share * share * (3 - 2 * share)
    return smooth


def _noise(side: int, cells: tuple[int, int], seed: int) -> Plane:
    """Smooth noise, 0..1, of `cells` (across, down) random values."""
    import cv2

    values = np.random.default_rng(seed).random((cells[1] + 3, cells[0] + 3), np.float32)
    x, y = _grid(side)
    across = np.broadcast_to(x * cells[0] + 1, (side, side)).astype(np.float32)
    down = np.broadcast_to(y * cells[1] + 1, (side, side)).astype(np.float32)
    smooth = cv2.remap(values, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    noise: Plane = np.clip(smooth, 0, 1)
    return noise


def _fractal(side: int, cells: tuple[int, int], octaves: int, seed: int) -> Plane:
    """Noise with ever finer detail, 0..1."""
    total, weight, amplitude = np.zeros((side, side), np.float32), 0.0, 1.0
    for octave in range(octaves):
        finer = (cells[0] << octave, cells[1] << octave)
        total += amplitude * _noise(side, finer, seed + octave)
        weight += amplitude
        amplitude /= 2
    answer: Plane = total / np.float32(weight)
    return answer


def _glow(side: int, x: float, y: float, radius: float) -> Plane:
    """Light that fades from 1 around a point."""
    across, down = _grid(side)
    fade: Plane = np.exp(-((across - x) ** 2 + (down - y) ** 2) / np.float32(radius**2))
    return fade


def _studio(side: int, wall: Color, floor: Color, glow: Color) -> Canvas:
    """A paper sweep: a lit wall that turns into the floor."""
    _, y = _grid(side)
    height = np.broadcast_to(y, (side, side))
    sweep = _mix(wall, floor, _ramp(height, 0.48, 0.86))
    lit = _mix(sweep, glow, 0.75 * _glow(side, 0.5, 0.4, 0.42))
    # The fold is slightly darker, and the floor bright again in front.
    fold = np.exp(-(((height - 0.66) / 0.1) ** 2)).astype(np.float32)
    lit = lit * (1 - 0.035 * fold)[..., None]
    front = 0.35 * _ramp(height, 0.74, 1.05)
    return _mix(lit, glow, front) * _vignette(side, 0.1)


def _vignette(side: int, strength: float) -> Canvas:
    x, y = _grid(side)
    distance = np.sqrt((x - 0.5) ** 2 + (y - 0.5) ** 2)
    shade: Canvas = (1 - strength * _ramp(distance, 0.35, 0.8))[..., None]
    return shade


def _spotlight(side: int) -> Canvas:
    wall = _mix((46, 50, 58), (206, 212, 220), _glow(side, 0.5, 0.42, 0.4))
    return wall * _vignette(side, 0.25)


def _wash(side: int, base: Color, spots: Sequence[tuple[float, float, float, Color]]) -> Canvas:
    """Colours that flow into each other."""
    x, y = _grid(side)
    drawn: Canvas = np.broadcast_to(np.array(base, np.float32), (side, side, 3)).copy()
    bend = _noise(side, (2, 2), 5) - 0.5
    for at_x, at_y, radius, color in spots:
        distance = (x + 0.3 * bend - at_x) ** 2 + (y + 0.3 * bend - at_y) ** 2
        drawn = _mix(drawn, color, np.exp(-distance / np.float32(radius**2)))
    return drawn


def _wood(side: int, light: Color, dark: Color, seed: int, planks: int) -> Canvas:
    """Planks that run across, seen from above."""
    import cv2

    _x, y = _grid(side)
    plank = np.floor(y * planks)
    offsets = np.random.default_rng(seed).random(planks + 1).astype(np.float32)
    shift = offsets[np.clip(plank, 0, planks).astype(int)]
    # Rings of a trunk that is cut lengthwise: stretched noise, cut into bands.
    flow = _fractal(side, (2, 12), 3, seed + 20)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (9 * flow + 5 * y * planks + 7 * shift))
    fibre = _fractal(side, (8, 160), 2, seed + 40)
    fibre = cv2.GaussianBlur(fibre, (0, 0), sigmaX=max(side / 130, 0.5), sigmaY=max(side / 2600, 0.3))
    tone = np.clip(0.42 * rings + 0.75 * (fibre - 0.25) + 0.3 * (shift - 0.5), 0, 1)
    wood = _mix(light, dark, tone.astype(np.float32))
    within = y * planks - plank
    seam = np.exp(-((np.minimum(within, 1 - within) / 0.012) ** 2)).astype(np.float32)
    shaded: Canvas = wood * (1 - 0.45 * np.broadcast_to(seam, (side, side)))[..., None]
    return shaded


def _marble(side: int, base: Color, shade: Color, vein: Color, seed: int) -> Canvas:
    x, y = _grid(side)
    cloud = _fractal(side, (3, 3), 5, seed)
    stone = _mix(base, shade, _ramp(cloud, 0.35, 0.75))
    for strength, slope, cells, width in ((0.75, 0.7, 3, 0.018), (0.4, -0.5, 4, 0.010), (0.3, 1.4, 6, 0.006)):
        warp = _fractal(side, (cells, cells), 5, seed + cells * 10)
        line = np.abs(np.mod(1.6 * (x * slope + y) + 1.9 * warp, 1) - 0.5)
        fade = _ramp(_noise(side, (5, 5), seed + cells), 0.25, 0.8)
        stone = _mix(stone, vein, (strength * np.exp(-line / width) * fade).astype(np.float32))
    return stone


def _table(side: int, top: Canvas, wall_high: Color, wall_low: Color, horizon: float = 0.66) -> Canvas:
    """A table top in front of a wall that is out of focus."""
    import cv2

    x, y = _grid(side)
    height = np.broadcast_to(y, (side, side))
    wall = _mix(wall_high, wall_low, _ramp(height, 0.0, horizon))
    wall = _mix(wall, (255, 250, 240), 0.4 * _glow(side, 0.68, 0.22, 0.35))
    # The top recedes: rows near the horizon show more of it.
    depth = np.clip((height - horizon) / (1 - horizon), 0, 1)
    near = 1 / (0.45 + 0.55 * depth)
    across = ((x - 0.5) * near * 0.9 + 0.5) * (side - 1)
    down = (1 - (near - 1) * 0.75) * (side - 1)
    mapped = cv2.remap(top, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_REFLECT)  # fmt: skip
    blurred = cv2.GaussianBlur(mapped, (0, 0), max(side / 140, 0.5))
    mapped = blurred + (mapped - blurred) * _ramp(depth, 0.1, 0.7)[..., None]
    mapped = mapped * (0.8 + 0.24 * _ramp(depth, 0.0, 0.6))[..., None]
    return _mix(wall, mapped, _ramp(height, horizon - 0.006, horizon + 0.006))


def _table_of(side: int, draw_top: Draw, wall_high: Color, wall_low: Color) -> Canvas:
    return _table(side, draw_top(side), wall_high, wall_low)


def _concrete(side: int) -> Canvas:
    cloud = _fractal(side, (3, 3), 6, 61)
    pores = _noise(side, (150, 150), 71)
    wall = _mix((196, 196, 194), (160, 161, 161), _ramp(cloud, 0.3, 0.72))
    return (wall - 22 * _ramp(pores, 0.9, 1.0)[..., None]) * _vignette(side, 0.18)


def _plaster(side: int) -> Canvas:
    """Strokes of a trowel under light from the left."""
    height = _fractal(side, (4, 6), 6, 81)
    slope = np.gradient(height, axis=1) * side
    wall: Canvas = np.array((233, 225, 214), np.float32) + (9 * np.tanh(slope / 3))[..., None]
    return _mix(wall, (252, 247, 240), 0.5 * _glow(side, 0.2, 0.2, 0.6)) * _vignette(side, 0.1)


def _linen(side: int) -> Canvas:
    x, y = _grid(side)
    uneven_x, uneven_y = _noise(side, (220, 6), 91), _noise(side, (6, 220), 92)
    warp = np.sin(2 * np.pi * 110 * x) * np.sin(2 * np.pi * 110 * y)
    weave = 0.5 + 0.12 * warp + 0.35 * (uneven_x - 0.5) + 0.35 * (uneven_y - 0.5)
    cloth = _mix((196, 182, 160), (236, 228, 214), np.clip(weave, 0, 1).astype(np.float32))
    folds = _noise(side, (3, 2), 95)
    return cloth * (0.93 + 0.1 * folds)[..., None]


def _terrazzo(side: int) -> Canvas:
    import cv2

    floor = _mix((240, 236, 230), (230, 225, 218), _fractal(side, (4, 4), 5, 101))
    random = np.random.default_rng(103)
    colors = ((196, 132, 108), (122, 146, 138), (214, 178, 120), (92, 98, 112), (170, 160, 152))
    shift = 4  # fractional bits of OpenCV's coordinates, so that the chips do not depend on the size
    for _ in range(420):
        middle, radius = random.random(2), 0.004 + 0.018 * random.random() ** 2
        corners = int(random.integers(5, 8))
        angles = np.sort(random.random(corners)) * 2 * np.pi
        lengths = radius * (0.6 + 0.6 * random.random(corners))
        outline = middle + np.stack([np.cos(angles), np.sin(angles)], 1) * lengths[:, None]
        points = np.rint(outline * side * (1 << shift)).astype(np.int32)
        color = colors[int(random.integers(len(colors)))]
        cv2.fillPoly(floor, [points], color, cv2.LINE_AA, shift)
    return floor


def _bokeh(side: int, low: Color, high: Color, lights: Sequence[Color], seed: int, count: int) -> Canvas:
    """Lights out of focus."""
    x, y = _grid(side)
    drawn = _mix(high, low, np.broadcast_to(_ramp(y, 0, 1), (side, side)).astype(np.float32))
    drawn = _mix(drawn, high, 0.5 * _noise(side, (3, 3), seed + 1))
    random = np.random.default_rng(seed)
    for _ in range(count):
        at_x, at_y = random.random(2) * (1.1, 0.85) - (0.05, 0.05)
        radius = 0.02 + 0.07 * float(random.random()) ** 1.5
        color = lights[int(random.integers(len(lights)))]
        opacity = 0.12 + 0.35 * float(random.random())
        left, top = (max(0, int((middle - radius) * side)) for middle in (at_x, at_y))
        right, bottom = (max(0, int((middle + radius) * side) + 2) for middle in (at_x, at_y))
        part = slice(top, bottom), slice(left, right)
        distance = np.sqrt((x[:, part[1]] - at_x) ** 2 + (y[part[0]] - at_y) ** 2)
        disc = 1 - _ramp(distance, radius * 0.86, radius)
        rim = np.exp(-(((distance - radius * 0.88) / (radius * 0.1)) ** 2))
        share = (opacity * (0.8 * disc + 0.25 * rim * disc)).astype(np.float32)
        drawn[part] = _mix(drawn[part], color, share)
    return drawn * _vignette(side, 0.2)


def _sky(side: int) -> Canvas:
    _, y = _grid(side)
    height = np.broadcast_to(y, (side, side))
    air = _mix((84, 146, 216), (196, 224, 246), _ramp(height, 0.0, 0.95))
    cloud = _fractal(side, (3, 5), 6, 121)
    return _mix(air, (252, 253, 255), 0.85 * _ramp(cloud, 0.5, 0.78))


_OAK: Draw = partial(_wood, light=(214, 172, 120), dark=(160, 112, 68), seed=11, planks=6)
_WALNUT: Draw = partial(_wood, light=(122, 84, 60), dark=(66, 42, 30), seed=23, planks=6)
_WHITE_MARBLE: Draw = partial(
    _marble, base=(246, 246, 246), shade=(224, 226, 230), vein=(150, 154, 162), seed=31
)


_SCENES: dict[SceneName, Draw] = {
    "studio-white": partial(_studio, wall=(244, 245, 247), floor=(226, 228, 232), glow=(255, 255, 255)),
    "studio-grey": partial(_studio, wall=(176, 180, 186), floor=(142, 146, 153), glow=(214, 217, 221)),
    "studio-sand": partial(_studio, wall=(232, 214, 190), floor=(212, 190, 162), glow=(248, 238, 222)),
    "studio-blue": partial(_studio, wall=(150, 184, 218), floor=(112, 150, 192), glow=(204, 224, 242)),
    "studio-rose": partial(_studio, wall=(240, 196, 200), floor=(224, 168, 176), glow=(252, 226, 226)),
    "studio-mint": partial(_studio, wall=(184, 218, 202), floor=(148, 190, 172), glow=(222, 242, 232)),
    "studio-dark": partial(_studio, wall=(44, 46, 52), floor=(30, 32, 37), glow=(84, 88, 97)),
    "spotlight": _spotlight,
    "wash-sunrise": (
        partial(
            _wash,
            base=(255, 214, 165),
            spots=(
                (0.15, 0.1, 0.5, (255, 170, 140)),
                (0.9, 0.2, 0.45, (255, 232, 170)),
                (0.75, 0.9, 0.5, (236, 130, 150)),
                (0.1, 0.95, 0.4, (250, 190, 130)),
            ),
        )
    ),
    "wash-ocean": (
        partial(
            _wash,
            base=(120, 190, 214),
            spots=(
                (0.1, 0.15, 0.5, (190, 232, 232)),
                (0.95, 0.1, 0.5, (90, 150, 210)),
                (0.8, 0.95, 0.5, (52, 96, 168)),
                (0.1, 0.9, 0.4, (80, 176, 184)),
            ),
        )
    ),
    "wash-lavender": (
        partial(
            _wash,
            base=(214, 200, 240),
            spots=(
                (0.1, 0.1, 0.5, (240, 226, 250)),
                (0.9, 0.15, 0.45, (190, 176, 236)),
                (0.85, 0.9, 0.5, (232, 186, 222)),
                (0.1, 0.9, 0.45, (176, 190, 240)),
            ),
        )
    ),
    "wash-peach": (
        partial(
            _wash,
            base=(252, 224, 206),
            spots=(
                (0.2, 0.1, 0.5, (255, 242, 228)),
                (0.9, 0.3, 0.5, (250, 196, 176)),
                (0.6, 0.95, 0.5, (246, 208, 170)),
            ),
        )
    ),
    "oak-table": partial(_table_of, draw_top=_OAK, wall_high=(226, 220, 210), wall_low=(206, 196, 182)),
    "walnut-table": partial(_table_of, draw_top=_WALNUT, wall_high=(122, 128, 128), wall_low=(88, 92, 92)),
    "marble-table": partial(
        _table_of, draw_top=_WHITE_MARBLE, wall_high=(212, 220, 222), wall_low=(186, 196, 200)
    ),
    "marble-white": _WHITE_MARBLE,
    "marble-black": partial(_marble, base=(30, 31, 34), shade=(52, 54, 60), vein=(206, 200, 190), seed=37),
    "concrete": _concrete,
    "plaster": _plaster,
    "linen": _linen,
    "terrazzo": _terrazzo,
    "bokeh-warm": (
        partial(
            _bokeh,
            low=(96, 58, 36),
            high=(168, 112, 66),
            lights=((255, 214, 140), (255, 186, 104), (255, 240, 204)),
            seed=131,
            count=46,
        )
    ),
    "bokeh-night": (
        partial(
            _bokeh,
            low=(14, 18, 34),
            high=(34, 44, 78),
            lights=((255, 206, 128), (120, 190, 255), (255, 120, 120), (190, 160, 255)),
            seed=141,
            count=54,
        )
    ),
    "bokeh-garden": (
        partial(
            _bokeh,
            low=(52, 92, 46),
            high=(150, 188, 104),
            lights=((220, 238, 160), (248, 250, 214), (120, 176, 96)),
            seed=151,
            count=46,
        )
    ),
    "sky": _sky,
}

if __name__ == "__main__":
    write_files(scenes.FOLDER)
