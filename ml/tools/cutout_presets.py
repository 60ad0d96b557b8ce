"""Named frames for a cut-out: the sizes, margins and backgrounds that marketplaces and others publish.

The figures are our reading of their public rules, as of November 2026; none of them has approved a result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

PresetName = Literal["marketplace", "amazon", "ebay", "etsy", "shopify", "square", "story", "passport"]
NAMES: tuple[PresetName, ...] = get_args(PresetName)

Color = tuple[int, int, int, int]

_WHITE: Color = (255, 255, 255, 255)
_LIGHT_GREY: Color = (238, 238, 238, 255)


@dataclass(frozen=True)
class Preset:
    """What a preset rules. `fields` are parameters as text; `background` is that of a look without one."""

    title: str
    rule: str
    fields: Mapping[str, str] = field(default_factory=dict)
    background: Color | None = None


def _framed(size: str, scale: str, position: str = "center") -> dict[str, str]:
    return {"output_size": size, "scale": scale, "position": position}


PRESETS: dict[PresetName, Preset] = {
    "marketplace": Preset(
        "Any shop", "2000 × 2000, white, the object fills 85 %.", _framed("2000x2000", "85%"), _WHITE
    ),
    # Main images: pure white (255, 255, 255), at least 85 % of the frame, zoom from 1000 pixels, better
    # 1600. A little more than 85 %, so that a soft edge does not fall short of it.
    "amazon": Preset(
        "Amazon",
        "Main image: 2000 × 2000, pure white, the object fills 88 % (at least 85 % are asked for).",
        _framed("2000x2000", "88%"),
        _WHITE,
    ),
    # At least 500 pixels on the longer side, 1600 advised for zooming; a plain, light background.
    "ebay": Preset("eBay", "1600 × 1600, white, the object fills 90 %.", _framed("1600x1600", "90%"), _WHITE),
    # 2000 pixels or more on the shorter side, shown in 4:3 with room for thumbnails cropped to a square.
    "etsy": Preset(
        "Etsy",
        "4:3 with 2800 × 2100, white, with room for square thumbnails.",
        _framed("2800x2100", "70%"),
        _WHITE,
    ),
    # Square product pictures of 2048 pixels are advised.
    "shopify": Preset(
        "Shopify", "2048 × 2048, white, the object fills 80 %.", _framed("2048x2048", "80%"), _WHITE
    ),
    "square": Preset(
        "Square", "1080 × 1080 for feeds, the object fills 80 %, any background.", _framed("1080x1080", "80%")
    ),
    "story": Preset(
        "Story", "9:16 with 1080 × 1920, the object fills 80 %, any background.", _framed("1080x1920", "80%")
    ),
    # 35 x 45 mm (ICAO) at 600 dpi on a plain light background; shoulders at the lower edge.
    "passport": Preset(
        "Passport",
        "35 × 45 mm at 600 dpi, light grey, head and shoulders at the lower edge. The face is not"
        " measured: check the head's height by your authority's rules.",
        {**_framed("827x1063", "90%", "50% 100%"), "dpi": "600"},
        _LIGHT_GREY,
    ),
}
