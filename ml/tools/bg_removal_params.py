"""Background removal's parameters: what they are, and which of them contradict each other."""

from typing import Any, Literal

from pydantic import Field, model_validator

from ml.imaging.framing import MarginsField
from ml.imaging.geometry import CornersField, SizeField
from ml.imaging.placement import PositionField, ScaleField
from ml.params import ColorField, Params, parameter_error

# Apart from its white, which any other background replaces.
_MARKETPLACE = {"output_size": "2000x2000", "scale": "85%", "position": "center"}


class BgRemovalParams(Params):
    model: str = Field(
        "auto",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="auto, fast, quality, or the name of an installed checkpoint. auto is quality if that is"
        " installed, else fast.",
    )
    channels: Literal["rgba", "alpha"] = Field(
        "rgba",
        description="rgba answers the cut-out, alpha its matte as a grey picture (white = foreground).",
    )
    bg_color: ColorField | None = Field(
        None,
        description="Colour behind the foreground: #rgb, #rrggbb, #rrggbbaa or a CSS name. Default: none.",
    )
    bg_blur: int = Field(
        0,
        ge=0,
        le=100,
        description="Keep the photo's own background and blur it this much. 0: do not keep it.",
    )
    preset: Literal["marketplace"] | None = Field(
        None,
        description="marketplace: on white, 2000x2000, the object fills 85% in the middle. Other parameters"
        " override their part of it.",
    )
    crop: bool = Field(False, description="Cut the answer to the foreground.")
    crop_margin: MarginsField | None = Field(
        None,
        description='Room around the foreground (crop): pixels or % of its size, "10%", "20 40" (vertical,'
        ' horizontal) or "1 2 3 4" (top, right, bottom, left). May reach beyond the photo.',
    )
    scale: ScaleField = Field(
        "original",
        description='The object\'s share of the answer, "10%" to "100%", in the tighter direction. With crop'
        " the answer gets as much room. original: as in the photo, or as the photo fits output_size.",
    )
    position: PositionField | None = Field(
        None,
        description='Where the object lies: original, center or "x% y%", the shares of the free space to its'
        " left and above it. Default: center with scale, else original.",
    )
    output_size: SizeField | None = Field(
        None,
        description='Size of the answer in pixels, like "1000x800". The photo, or what crop leaves of it, is'
        " fitted inside; bg_image and bg_blur fill all of it.",
    )
    roi: CornersField | None = Field(
        None,
        description='Where foreground may be: "x1 y1 x2 y2", two corners in pixels or %. All outside is'
        " background.",
    )
    decontaminate: bool = Field(
        True, description="Take the old background's colour out of soft edges such as hair."
    )
    shift_edge: float = Field(
        0,
        ge=-20,
        le=20,
        description="Move the edge by this many pixels of the photo: below 0 inwards, above 0 outwards.",
    )
    feather: float = Field(0, ge=0, le=50, description="Soften the edge by this many pixels.")
    shadow: Literal["none", "drop"] = Field(
        "none", description="drop: a soft shadow under the object; the answer grows no larger for it."
    )
    shadow_opacity: int = Field(50, ge=0, le=100, description="How dark the shadow is.")

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("preset") == "marketplace":
            return {**_MARKETPLACE, **values}
        return values

    @model_validator(mode="after")
    def _one_background(self) -> "BgRemovalParams":
        if self.bg_blur and self.bg_color is not None:
            raise parameter_error("bg_blur", "cannot be combined with bg_color")
        return self

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "BgRemovalParams":
        """A setting that does nothing is a mistake somewhere; better said than ignored."""
        if self.crop_margin is not None and not self.crop:
            raise parameter_error("crop_margin", "has an effect only with crop=true")
        if self.channels == "alpha" and self.bg_color is not None:
            raise parameter_error("bg_color", "has no effect with channels=alpha")
        if self.channels == "alpha" and self.bg_blur:
            raise parameter_error("bg_blur", "has no effect with channels=alpha")
        if self.channels == "alpha" and self.shadow != "none":
            raise parameter_error("shadow", "has no effect with channels=alpha")
        if self.shadow == "none" and self.shadow_opacity != type(self).model_fields["shadow_opacity"].default:
            raise parameter_error("shadow_opacity", "has an effect only with shadow=drop")
        return self

    @model_validator(mode="after")
    def _one_frame(self) -> "BgRemovalParams":
        is_scaled, is_sized = self.scale != "original", self.output_size is not None
        is_placed = self.position not in (None, "original")
        if self.crop_margin is not None and is_scaled:
            raise parameter_error(
                "crop_margin", "cannot be combined with scale: both say how much room there is"
            )
        if self.crop and is_scaled and is_sized:
            raise parameter_error("crop", "has no effect with scale and output_size")
        if self.crop and is_placed and not (is_scaled or is_sized):
            raise parameter_error(
                "position", "has an effect with crop=true only if scale or output_size is set"
            )
        return self
