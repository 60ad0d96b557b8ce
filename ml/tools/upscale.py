"""Upscale: enlarge a picture two to eight times with super-resolution networks.

A call runs one or two networks; the last one's tiles are resampled to the requested size. Transparency is
always upscaled by the faithful network, because the other one would add texture to it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from ml.engines.network_facts import UPSCALING_FACTS
from ml.errors import BadParameter
from ml.imaging import codecs
from ml.params import Params, parameter_error
from ml.pixels import Picture, Pixels
from ml.tool import Context, Tool, ToolResult

if TYPE_CHECKING:
    from ml.engines.installed import InstalledEngines
    from ml.engines.upscaling import Upscaler

MAX_SCALE = 8
#: Warn if the network failed in more than this share of the picture.
WARNING_SHARE = 0.01

NOISE_REDUCED = "The image is noisy: its noise was reduced, because enlarging would have amplified it."

Mode = Literal["fast", "quality"]


def _read_scale(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.strip() in ("2", "3", "4", "8") else value


class UpscaleParams(Params):
    scale: Annotated[Literal[2, 3, 4, 8], BeforeValidator(_read_scale)] = Field(
        2, description="Enlargement factor of each side."
    )
    target_width: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Width of the result in pixels, instead of scale. The aspect ratio is kept; with"
        " target_height too, the result is the largest that fits into both.",
    )
    target_height: int | None = Field(
        None, ge=1, le=65_535, description="Height of the result in pixels, instead of scale."
    )
    mode: Mode = Field(
        "fast",
        description="fast stays faithful to the source; quality takes about 25 times as long and adds"
        " plausible fine detail.",
    )

    @model_validator(mode="after")
    def _check_one_size(self) -> Self:
        if "scale" in self.model_fields_set and self.has_target:
            raise parameter_error("scale", "give either scale or target_width/target_height, not both")
        return self

    def for_reduced(self, source: tuple[int, int], reduced: tuple[int, int]) -> Self:
        sides = {"target_width": 0, "target_height": 1}
        scaled = {
            name: max(reduced[side] + 1, round(target * reduced[side] / source[side]))
            for name, side in sides.items()
            if (target := getattr(self, name)) is not None
        }
        return self.model_copy(update=scaled) if scaled else self

    @property
    def has_target(self) -> bool:
        return self.target_width is not None or self.target_height is not None


@dataclass(frozen=True)
class Size:
    """The size of a result in pixels; `factor` is the scale of its sides before rounding."""

    width: int
    height: int
    factor: float


def result_size(width: int, height: int, params: UpscaleParams) -> Size:
    """The result's size for a source of `width` x `height` pixels.

    Raises BadParameter if a target is not larger than the source or more than 8 times larger, and
    PictureTooLarge.
    """
    wanted = {"target_width": (params.target_width, width), "target_height": (params.target_height, height)}
    factors = {name: target / side for name, (target, side) in wanted.items() if target is not None}
    factor = min(factors.values(), default=float(params.scale))
    if factors and not 1 < factor <= MAX_SCALE:
        name = min(factors, key=lambda name: factors[name])
        problem = (
            "and upscale only enlarges"
            if factor <= 1
            else f"and this would be {factor:.3g} times larger; at most {MAX_SCALE} times is possible"
        )
        raise BadParameter(name, f"the image has {width} x {height} pixels already, {problem}")
    size = Size(max(1, round(width * factor)), max(1, round(height * factor)), factor)
    codecs.check_output_size(size.width, size.height)
    return size


@dataclass(frozen=True)
class ScalingPass:
    """One pass of a checkpoint, from an array of one height and width to another."""

    checkpoint: str
    source: tuple[int, int]
    result: tuple[int, int]

    @property
    def cost(self) -> float:
        """Seconds on the reference machine."""
        return self.source[0] * self.source[1] / 1e6 * UPSCALING_FACTS[self.checkpoint].seconds_per_megapixel


def answer_size(params: UpscaleParams, source: tuple[int, int]) -> tuple[int, int]:
    """As `result_size`, for `ml.runtime.planning`."""
    size = result_size(*source, params)
    return size.width, size.height


def steps(mode: Mode, source: tuple[int, int], size: Size) -> list[ScalingPass]:
    """The passes from a source of height and width `source` to `size`.

    The smallest sufficient network; beyond 4 times, x4 and then x2, which is faithful in both modes. Reducing
    the larger network's result is better than enlarging the smaller's (at 3 times: by 0.2 to 0.5 dB).
    """
    four = "realesrgan-x4plus" if mode == "quality" else "span-x4"
    result = (size.height, size.width)
    if size.factor > 4:
        between = (4 * source[0], 4 * source[1])
        return [ScalingPass(four, source, between), ScalingPass("span-x2", between, result)]
    return [ScalingPass("span-x2" if mode == "fast" and size.factor <= 2 else four, source, result)]


def run(source: Picture, params: UpscaleParams, context: Context) -> ToolResult:
    size = result_size(source.width, source.height, params)
    shape = (source.height, source.width)
    colour_steps = steps(params.mode, shape, size)
    alpha_steps = steps("fast", shape, size) if source.has_alpha else []
    all_costs = sum(step.cost for step in (*colour_steps, *alpha_steps))
    result = np.empty((size.height, size.width, source.pixels.shape[2]), np.uint8)
    cost_done = 0.0
    replaced_share = 0.0

    def enlarge(plan: list[ScalingPass], pixels: Any, target: Any) -> None:
        nonlocal cost_done, replaced_share
        for step in plan:
            upscaler = _upscaler(context, step.checkpoint)
            enlarged = target if step is plan[-1] else np.empty((*step.result, *target.shape[2:]), np.uint8)
            before = cost_done

            def report(share: float, before: float = before, cost: float = step.cost) -> None:
                context.step("upscaling", (before + share * cost) / all_costs)

            report(0.0)
            share = upscaler.enlarge(pixels, enlarged, report)
            replaced_share = max(replaced_share, share)
            cost_done += step.cost
            pixels = enlarged

    clean, warnings = _without_noise(source, params.mode, context)
    enlarge(colour_steps, clean, result[:, :, :3])
    if source.has_alpha:
        alpha = np.ascontiguousarray(source.pixels[:, :, 3])
        enlarge(alpha_steps, alpha, result[:, :, 3])
    return ToolResult(
        result,
        model=colour_steps[0].checkpoint,
        warnings=[*warnings, *_warnings(params, size, replaced_share)],
    )


def _without_noise(source: Picture, mode: Mode, context: Context) -> tuple[Pixels, list[str]]:
    """The source's pixels without JPEG's block edges and strong noise, and warnings.

    The faithful network would sharpen both; the other one is trained to remove them. Noise is not measured in
    pictures with transparency, whose hidden colours are arbitrary.
    """
    from ml.imaging import denoising

    if mode == "quality" or source.has_alpha:
        return source.pixels, []

    def report(_done: float) -> None:
        context.step("upscaling", 0.0)

    deviation = denoising.noise_deviation(source.pixels)
    if deviation >= denoising.NOISY:
        tables = denoising.noise_tables(deviation)
        return denoising.reduce(source.pixels, tables, report), [NOISE_REDUCED]
    if source.jpeg_tables is not None and denoising.has_visible_blocks(source.jpeg_tables):
        return denoising.reduce(source.pixels, source.jpeg_tables, report), []
    return source.pixels, []


def _upscaler(context: Context, checkpoint: str) -> "Upscaler":
    engine: Upscaler = context.engines.upscaler(checkpoint)
    return engine


def _warnings(params: UpscaleParams, size: Size, replaced_share: float) -> list[str]:
    warnings = []
    wanted = (params.target_width or size.width, params.target_height or size.height)
    if wanted != (size.width, size.height):
        warnings.append(
            f"The image's aspect ratio differs from {wanted[0]} x {wanted[1]}: the result is the largest that"
            f" fits, {size.width} x {size.height} pixels, neither stretched nor cropped."
        )
    if replaced_share > WARNING_SHARE:
        warnings.append(
            f"In {replaced_share:.0%} of the image the network's result did not match the source,"
            " so a plainer method was used there."
        )
    return warnings


def cost(params: UpscaleParams, megapixels: float) -> float:
    """Expected seconds for a source of so many megapixels on the reference machine.

    The source's shape is not known here, so a target size is estimated as for a square.
    """
    side = max(1, round((megapixels * 1e6) ** 0.5))
    targets = [target / side for target in (params.target_width, params.target_height) if target is not None]
    factor = min(max(min(targets, default=params.scale), 1.0), MAX_SCALE)
    size = Size(round(side * factor), round(side * factor), factor)
    return sum(step.cost for step in steps(params.mode, (side, side), size))


def _check_installed(params: UpscaleParams, engines: "InstalledEngines") -> None:
    if params.has_target and params.mode == "fast":
        return  # The network depends on the picture's size.
    factor = 1.0 if params.has_target else float(params.scale)
    for step in steps(params.mode, (1, 1), Size(1, 1, factor)):
        engines.check_upscaling(step.checkpoint)


TOOL = Tool(
    name="upscale",
    title="Upscale",
    summary="Enlarge an image 2 to 8 times with sharp detail. Transparency is kept.",
    params=UpscaleParams,
    run=run,
    checkpoints=("span-x2", "span-x4", "realesrgan-x4plus"),
    cost=cost,
    answer_size=answer_size,
    check_installed=_check_installed,
)
