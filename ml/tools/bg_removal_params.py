"""The parameters of background removal, which are also those of the look of a finished cut-out."""

from typing import Any, Literal

from pydantic import Field, model_validator

from ml.imaging.framing import MarginsField
from ml.imaging.geometry import CornersField, SizeField, box_of_corners
from ml.imaging.gradients import GradientField
from ml.imaging.placement import PositionField, ScaleField
from ml.imaging.scenes import SceneName
from ml.params import ColorField, Length, LengthField, Params, parameter_error
from ml.tools.cutout_presets import NAMES, PRESETS, PresetName

_STYLE_LENGTHS = ("outline_width", "shadow_blur", "shadow_x", "shadow_y")
_SHADOW_FIELDS = ("shadow_opacity", "shadow_color", "shadow_blur")
_SUBJECT_LENGTHS = ("subject_x", "subject_y")
_LONGEST, _LARGEST_PERCENT = 500, 50
_FARTHEST_PIXELS, _FARTHEST_PERCENT = 16_000, 200
_BACKGROUNDS = ("bg_blur", "bg_color", "bg_gradient", "bg_scene")


class BgRemovalParams(Params):
    model: str = Field(
        "auto",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="auto, fast, quality, or the name of an installed checkpoint. auto selects quality if"
        " it is installed, otherwise fast.",
    )
    channels: Literal["rgba", "alpha"] = Field(
        "rgba",
        description="rgba returns the cut-out, alpha its matte as a grayscale image (white = foreground).",
    )
    bg_color: ColorField | None = Field(
        None,
        description="Background colour: #rgb, #rrggbb, #rrggbbaa or a CSS colour name. Default: transparent.",
    )
    bg_gradient: GradientField | None = Field(
        None,
        description='Background gradient: two colours and an angle in degrees as in CSS, e.g. "#fff #dbe7f3'
        ' 135". Without an angle it runs downwards.',
    )
    bg_scene: SceneName | None = Field(
        None,
        description="A background that comes with the program, cropped to fill the result.",
    )
    bg_blur: int = Field(
        0,
        ge=0,
        le=100,
        description="Keep the original background and blur it by this amount. 0 removes the background.",
    )
    preset: PresetName | None = Field(
        None,
        description="A size, the object's share of it and a background: marketplace 2000x2000, 85%, white;"
        " amazon 2000x2000, 88%, white; ebay 1600x1600, 90%, white; etsy 2800x2100, 70%, white; shopify"
        " 2048x2048, 80%, white; square 1080x1080, 80%; story 1080x1920, 80%; passport 827x1063 (35x45 mm at"
        " 600 dpi), 90%, at the lower edge, light grey. Our reading of public rules, without approval."
        " Other parameters override the preset's values.",
    )
    crop: bool = Field(False, description="Crop the result to the foreground.")
    crop_margin: MarginsField | None = Field(
        None,
        description='Margin around the foreground, in pixels or % of its size: "10%", "20 40" (vertical,'
        ' horizontal) or "1 2 3 4" (top, right, bottom, left). May extend beyond the image. Requires crop.',
    )
    scale: ScaleField = Field(
        "original",
        description='Size of the object relative to the result, "10%" to "100%", in the tighter'
        " direction. With crop, the canvas is sized accordingly. original: as in the source, or as the"
        " source fits output_size.",
    )
    position: PositionField | None = Field(
        None,
        description='Position of the object: original, center or "x% y%", the shares of the free space to its'
        " left and above it. Default: center with scale, otherwise original.",
    )
    output_size: SizeField | None = Field(
        None,
        description='Size of the result in pixels, e.g. "1000x800". The image, cropped if requested, is'
        " fitted inside; bg_image and bg_blur fill the whole canvas.",
    )
    roi: CornersField | None = Field(
        None,
        description='Region of interest: "x1 y1 x2 y2", two corners in pixels or %. Everything outside is'
        " background.",
    )
    decontaminate: bool = Field(
        True, description="Remove the original background's colour from soft edges such as hair."
    )
    shift_edge: float = Field(
        0,
        ge=-20,
        le=20,
        description="Move the edge by this many pixels; negative values move it inwards.",
    )
    feather: float = Field(0, ge=0, le=50, description="Soften the edge by this many pixels to either side.")
    outline_width: LengthField | None = Field(
        None,
        description="Draw an outline around the object, as around a sticker, of this width: in pixels of the"
        " image or % of the object's size.",
    )
    outline_color: ColorField | None = Field(
        None, description="Colour of the outline. Default: white. Requires outline_width."
    )
    shadow: Literal["none", "drop", "contact"] = Field(
        "none",
        description="drop: a soft shadow of the object; contact: a flat one where it stands. Neither"
        " enlarges the result.",
    )
    shadow_opacity: int = Field(
        50, ge=0, le=100, description="Opacity of the shadow in percent. Requires shadow."
    )
    shadow_color: ColorField | None = Field(
        None, description="Colour of the shadow. Default: black. Requires shadow."
    )
    shadow_blur: LengthField | None = Field(
        None,
        description="Softness of the shadow's edge, in pixels of the result or % of the object's size."
        " Default: 5%, for contact 3%. Requires shadow.",
    )
    shadow_x: LengthField | None = Field(
        None,
        description="Offset of the shadow to the right, in pixels of the result or % of the object's size;"
        " may be negative. Default: 1.5%. Requires shadow=drop.",
    )
    shadow_y: LengthField | None = Field(
        None, description="Offset of the shadow downwards, as shadow_x. Default: 3.5%. Requires shadow=drop."
    )

    subject_x: LengthField | None = Field(
        None,
        description="Move the subject to the right, in pixels or % of the result's width; may be negative.",
    )
    subject_y: LengthField | None = Field(
        None, description="Move the subject downwards, in pixels or % of the result's height."
    )
    subject_scale: float = Field(
        100, ge=5, le=400, description="Scale the subject about its middle, in percent of its size."
    )
    subject_rotate: float = Field(
        0, ge=-180, le=180, description="Turn the subject about its middle, in degrees clockwise."
    )

    def for_reduced(self, source: tuple[int, int], reduced: tuple[int, int]) -> "BgRemovalParams":
        scaled = {
            name: _scaled(length, reduced[0] / source[0])
            for name in (*_STYLE_LENGTHS, *_SUBJECT_LENGTHS)
            if (length := getattr(self, name)) is not None
        }
        if self.roi is None:
            return self.model_copy(update=scaled) if scaled else self
        # Check it against the size that the caller knows.
        box_of_corners("roi", self.roi, source)
        factors = [after / before for before, after in zip(source, reduced, strict=True)] * 2
        corners = [_scaled(length, factor) for length, factor in zip(self.roi, factors, strict=True)]
        return self.model_copy(update={**scaled, "roi": tuple(corners)})

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, values: Any) -> Any:
        chosen = values.get("preset") if isinstance(values, dict) else None
        return {**PRESETS[chosen].fields, **values} if chosen in NAMES else values

    @model_validator(mode="after")
    def _check_one_background(self) -> "BgRemovalParams":
        given = [name for name in _BACKGROUNDS if getattr(self, name)]
        if len(given) > 1:
            first, second = given[:2]
            named, other = (first, second) if first == "bg_blur" and second == "bg_color" else (second, first)
            raise parameter_error(named, f"cannot be combined with {other}")
        return self

    @model_validator(mode="after")
    def _reject_without_effect(self) -> "BgRemovalParams":
        """Reject parameters that have no effect instead of ignoring them."""
        if self.crop_margin is not None and not self.crop:
            raise parameter_error("crop_margin", "has an effect only with crop=true")
        for name in _BACKGROUNDS:
            if self.channels == "alpha" and getattr(self, name):
                raise parameter_error(name, "has no effect with channels=alpha")
        if self.channels == "alpha" and self.shadow != "none":
            raise parameter_error("shadow", "has no effect with channels=alpha")
        if self.channels == "alpha" and self.outline_width is not None:
            raise parameter_error("outline_width", "has no effect with channels=alpha")
        if self.outline_color is not None and self.outline_width is None:
            raise parameter_error("outline_color", "has an effect only with outline_width")
        for name in _SHADOW_FIELDS:
            if self.shadow == "none" and getattr(self, name) != type(self).model_fields[name].default:
                raise parameter_error(name, "has an effect only with shadow=drop or contact")
        for name in ("shadow_x", "shadow_y"):
            if self.shadow != "drop" and getattr(self, name) is not None:
                raise parameter_error(name, "has an effect only with shadow=drop")
        return self

    @model_validator(mode="after")
    def _check_style_lengths(self) -> "BgRemovalParams":
        for name in _STYLE_LENGTHS:
            length: Length | None = getattr(self, name)
            if length is None:
                continue
            most = _LARGEST_PERCENT if length.percent else _LONGEST
            least = {"outline_width": 0.1, "shadow_blur": 0}.get(name, -most)
            if not least <= length.value <= most:
                unit = "%" if length.percent else " pixels"
                raise parameter_error(name, f"must be from {least} to {most}{unit}")
        return self

    @model_validator(mode="after")
    def _check_subject(self) -> "BgRemovalParams":
        for name in _SUBJECT_LENGTHS:
            length: Length | None = getattr(self, name)
            if length is None:
                continue
            most = _FARTHEST_PERCENT if length.percent else _FARTHEST_PIXELS
            if abs(length.value) > most:
                raise parameter_error(
                    name, f"must be from {-most} to {most}{'%' if length.percent else ' pixels'}"
                )
        return self

    @model_validator(mode="after")
    def _check_framing(self) -> "BgRemovalParams":
        is_scaled, is_sized = self.scale != "original", self.output_size is not None
        is_placed = self.position not in (None, "original")
        if self.crop_margin is not None and is_scaled:
            raise parameter_error(
                "crop_margin", "cannot be combined with scale, because both determine the margin"
            )
        if self.crop and is_scaled and is_sized:
            raise parameter_error("crop", "has no effect with scale and output_size")
        if self.crop and is_placed and not (is_scaled or is_sized):
            raise parameter_error(
                "position", "has an effect with crop=true only if scale or output_size is set"
            )
        return self


def _scaled(length: Length, factor: float) -> Length:
    return length if length.percent else Length(value=length.value * factor)
