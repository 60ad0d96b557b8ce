"""remove.bg's parameters, and the call of background removal that they stand for.

Clients send defaults, parameters without effect and parameters of other versions, all of which remove.bg
ignores. So unknown names are ignored here and what has no effect is dropped, unlike on our own routes.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from api.errors import InvalidParameter
from api.http import forms
from ml.backend import Delivery
from ml.params import Params
from ml.tools import bg_removal
from ml.tools.bg_removal_params import BgRemovalParams

Size = Literal["auto", "preview", "small", "regular", "medium", "hd", "full", "4k", "50mp"]
ResultFormat = Literal["auto", "png", "jpg", "webp", "zip"]

#: Pixels of the result. `small` and `regular` are names of `preview`, `4k` is one of `full`.
_SIZE_PIXELS: dict[str, int] = {
    "preview": 250_000,
    "small": 250_000,
    "regular": 250_000,
    "medium": 1_500_000,
    "hd": 4_000_000,
    "full": 25_000_000,
    "4k": 25_000_000,
    "auto": 25_000_000,
    "50mp": 50_000_000,
}
_PNG_PIXELS = 10_000_000
_FOREGROUND_TYPES = frozenset(
    {"person", "product", "animal", "car", "car_interior", "car_part", "transportation", "graphics"}
)
_OTHER_TYPE = "other"
_SHORT_HEX_WITH_ALPHA = re.compile(r"#?([0-9a-fA-F]{4})")

#: Our names of parameters and files, where they differ.
NAMES = {"image": "image_file", "bg_image": "bg_image_file", "shadow": "shadow_type"}


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _read_format(value: Any) -> Any:
    name = _lower(value)
    return "jpg" if name == "jpeg" else name


def _read_color(value: Any) -> Any:
    """#rgba is spelled out: our own colours have no such form."""
    match = _SHORT_HEX_WITH_ALPHA.fullmatch(str(value).strip())
    return "".join(digit * 2 for digit in match[1]) if match else value


class RemoveBgFields(BaseModel):
    """The text fields of `POST /v1.0/removebg`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    image_url: str | None = Field(None, description="The image's URL: https, a public host, 25 MiB, 10 s.")
    size: Annotated[Size, BeforeValidator(_lower, json_schema_input_type=Size)] = Field(
        "preview",
        description="Greatest size of the result. preview (also small, regular): 0.25 megapixels. medium:"
        " 1.5. hd: 4. full (also 4k) and auto: 25, or 10 as PNG. 50MP: 50, or 10 as PNG."
        " Each costs 1 credit.",
    )
    type: str = Field(
        "auto",
        max_length=64,
        description="Kind of foreground. Accepted and repeated in X-Type; it does not change the result.",
    )
    type_level: str = Field("1", max_length=64, description="none: the answer has no X-Type.")
    format: Annotated[ResultFormat, BeforeValidator(_read_format, json_schema_input_type=ResultFormat)] = (
        Field(
            "auto",
            description="auto: png where the result is transparent, else jpg. zip: color.jpg and alpha.png.",
        )
    )
    roi: str | None = Field(None, description='Where foreground may be: "x1 y1 x2 y2" in px or %.')
    crop: bool = Field(False, description="Cut the result to the foreground.")
    crop_margin: str | None = Field(None, description="Room around it: 1, 2 or 4 values in px or %.")
    scale: str | None = Field(
        None, description="The foreground's share of the result, 10% to 100%, original."
    )
    position: str | None = Field(None, description="original, center, or one or two percentages.")
    channels: Annotated[Literal["rgba", "alpha"], BeforeValidator(_lower)] = Field(
        "rgba", description="alpha: only the matte, as a grey image."
    )
    add_shadow: bool = Field(False, description="Add a drop shadow.")
    shadow_type: str = Field(
        "auto", max_length=64, description="none: no shadow. Every other type gives a drop shadow."
    )
    shadow_opacity: int = Field(
        BgRemovalParams.model_fields["shadow_opacity"].default, ge=0, le=100, description="Of the shadow."
    )
    semitransparency: bool = Field(
        True, description="Accepted; soft edges are always semi-transparent, and windows are not."
    )
    bg_color: Annotated[str | None, BeforeValidator(_read_color, json_schema_input_type=str)] = Field(
        None, description="Colour behind the foreground: hex with or without #, or a CSS name."
    )
    bg_image_url: str | None = Field(None, description="URL of an image behind the foreground.")

    @property
    def foreground_type(self) -> str | None:
        """The value of `X-Type`; None for an answer without it."""
        if self.type_level.strip().lower() == "none":
            return None
        named = self.type.strip().lower()
        return named if named in _FOREGROUND_TYPES else _OTHER_TYPE

    def params(self) -> BgRemovalParams:
        """The parameters of our background removal. Raises `InvalidParameter`, with remove.bg's name."""
        is_scaled = _lower(self.scale) not in (None, "original")
        texts = {
            "roi": self.roi,
            "crop": "true" if self.crop else None,
            # What has no effect at remove.bg is refused by our own parameters.
            "crop_margin": self.crop_margin if self.crop and not is_scaled else None,
            "scale": self.scale,
            "position": self.position if is_scaled or not self.crop else None,
            "channels": self.channels,
            "format": self._own_format(),
        }
        if self.channels == "rgba":
            texts["bg_color"] = self.bg_color
            if self.add_shadow and self.shadow_type.strip().lower() != "none":
                texts |= {"shadow": "drop", "shadow_opacity": str(self.shadow_opacity)}
        try:
            params: Params = forms.validated(
                BgRemovalParams, {name: text for name, text in texts.items() if text is not None}
            )
        except InvalidParameter as error:
            raise _renamed(error) from None
        assert isinstance(params, BgRemovalParams)
        return params

    def _own_format(self) -> str:
        if self.format != "zip":
            return self.format
        if self.channels == "alpha":
            raise InvalidParameter("format", "format=zip has no effect with channels=alpha: ask for png.")
        return "png"

    def delivery(self, params: BgRemovalParams, *, has_background_image: bool) -> Delivery:
        """The size and the kind of the result."""
        return Delivery(
            max_pixels=self.max_pixels(self.size, params, has_background_image=has_background_image),
            opaque_format="jpg",
            archive=self.format == "zip",
        )

    def max_pixels(self, size: str, params: BgRemovalParams, *, has_background_image: bool) -> int:
        """Greatest pixels of a result of `size` in this format: a PNG has fewer."""
        has_opaque_color = params.bg_color is not None and params.bg_color[3] == 255
        is_opaque = params.channels == "rgba" and (has_opaque_color or has_background_image)
        is_png = self.format == "png" or (self.format == "auto" and not is_opaque)
        return min(_SIZE_PIXELS[size], _PNG_PIXELS) if is_png else _SIZE_PIXELS[size]


#: The fields that hold a source or a background, by kind; all others are texts of `RemoveBgFields`.
FILE_FIELDS = frozenset({"image_file", "bg_image_file"})
BASE64_FIELDS = frozenset({"image_file_b64", "image_base64"})
TEXT_FIELDS = frozenset(RemoveBgFields.model_fields)
TOOL = bg_removal.TOOL


def read(texts: dict[str, str]) -> RemoveBgFields:
    """The fields from their texts, none of them empty. Raises `InvalidParameter` for the first bad one."""
    try:
        return RemoveBgFields.model_validate(texts)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        raise InvalidParameter(name, f"{name}: {first['msg']}") from None


def _renamed(error: InvalidParameter) -> InvalidParameter:
    """With remove.bg's name of the parameter."""
    own = error.param or ""
    name = NAMES.get(own, own)
    return InvalidParameter(name, error.message.replace(own, name, 1) if own else error.message)
