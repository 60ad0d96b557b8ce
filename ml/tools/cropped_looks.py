"""The look of a cut-out after its layers were cropped, turned, mirrored or resized.

What was shown stays where it was. The frame of the old look (of a preset, or with a moved subject) is part of
the new layers, so that the new look has none. The background fills the new frame: a colour stays, a gradient
spans it, a blurred photo stays blurred, and a picture is replaced by its part. A contact shadow stays under
the subject; the shadow of what is cut away goes with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ml.params import Length
from ml.tools import cutout_look
from ml.tools.bg_removal_params import BgRemovalParams
from ml.tools.crop import Flip

_FRAME_FIELDS = frozenset(
    {"preset", "crop", "crop_margin", "scale", "position", "output_size"}
    | {"subject_x", "subject_y", "subject_scale", "subject_rotate", "roi"}
)
BACKGROUND_FIELDS = frozenset({"bg_color", "bg_gradient", "bg_scene", "bg_blur"})
_LONGEST_PIXELS, _LARGEST_PERCENT = 500.0, 50.0
_THINNEST_OUTLINE = 0.1
_WIDEST_FEATHER, _FARTHEST_SHIFT = 50.0, 20.0
_STRONGEST_BLUR = 100
# Percentages are kept as they are if the object's size changes by less than this.
_SAME_SIZE = 0.01
_DROP_X, _DROP_Y = Length(value=1.5, percent=True), Length(value=3.5, percent=True)
_SOFTNESS = {"drop": Length(value=5, percent=True), "contact": Length(value=3, percent=True)}


@dataclass(frozen=True)
class FrameChange:
    """How the layers were changed. Sizes are those that percentages refer to, in pixels of each frame.

    `zoom` is of the layers, `scale` of the frame in which they were shown. Clockwise `quarter_turns` come
    before the mirroring.
    """

    quarter_turns: int
    flip: Flip | None
    zoom: float
    scale: float
    edge_before: float
    edge_after: float
    shown_before: float
    shown_after: float
    longer_side_before: int
    longer_side_after: int


def cropped_look(
    fields: Mapping[str, str], look: BgRemovalParams, change: FrameChange, *, has_own_background: bool
) -> dict[str, str]:
    """The form fields of the look; `look` are the validated `fields`. Without region of interest.

    `has_own_background`: the background becomes a picture, which the caller adds.
    """
    made = {name: text for name, text in fields.items() if name not in _FRAME_FIELDS | BACKGROUND_FIELDS}
    if look.dpi is not None:  # a preset may have stated it
        made["dpi"] = str(look.dpi)
    if not has_own_background:
        made |= _background(fields, look, change)
    made |= _edge(look, change)
    if look.outline_width is not None:
        ratio = change.zoom * _ratio(change.edge_before, change.edge_after, look.outline_width.percent)
        made["outline_width"] = _text(_limited(_scaled(look.outline_width, ratio), least=_THINNEST_OUTLINE))
    return made | _shadow(look, change)


def _background(fields: Mapping[str, str], look: BgRemovalParams, change: FrameChange) -> dict[str, str]:
    if look.bg_gradient is not None:
        first, last = fields["bg_gradient"].replace(",", " ").split()[:2]
        return {"bg_gradient": f"{first} {last} {_number(_turned_angle(look.bg_gradient[2], change))}"}
    if look.bg_blur:
        strength = look.bg_blur * change.scale * change.longer_side_before / change.longer_side_after
        return {"bg_blur": str(min(max(round(strength), 1), _STRONGEST_BLUR))}
    if fields.get("bg_color"):
        return {"bg_color": fields["bg_color"]}
    color = cutout_look.color_behind(look)
    return {} if color is None else {"bg_color": f"#{bytes(color[:3]).hex()}"}


def _turned_angle(degrees: float, change: FrameChange) -> float:
    """A direction, 0 upwards and clockwise, in the new frame: from 0 to below 360."""
    turned = degrees + 90 * change.quarter_turns
    if change.flip is not None:
        turned = -turned if change.flip == "h" else 180 - turned
    return turned % 360


def _edge(look: BgRemovalParams, change: FrameChange) -> dict[str, str]:
    made = {}
    if look.feather:
        made["feather"] = _number(min(look.feather * change.zoom, _WIDEST_FEATHER))
    if look.shift_edge:
        shift = look.shift_edge * change.zoom
        made["shift_edge"] = _number(min(max(shift, -_FARTHEST_SHIFT), _FARTHEST_SHIFT))
        if not change.edge_after:  # nothing of the subject is left whose edge could move
            made["shift_edge"] = "0"
    return made


def _shadow(look: BgRemovalParams, change: FrameChange) -> dict[str, str]:
    if look.shadow == "none":
        return {}

    def scaled(length: Length) -> Length:
        ratio = _ratio(change.shown_before, change.shown_after, length.percent)
        return _limited(_scaled(length, change.scale * ratio))

    made = {}
    blur = look.shadow_blur or _SOFTNESS[look.shadow]
    if look.shadow_blur is not None or scaled(blur) != blur:
        made["shadow_blur"] = _text(scaled(blur))
    if look.shadow == "drop":
        right, down = look.shadow_x or _DROP_X, look.shadow_y or _DROP_Y
        moved = _turned_offset(scaled(right), scaled(down), change)
        if moved != (_DROP_X, _DROP_Y) or look.shadow_x is not None or look.shadow_y is not None:
            made |= {"shadow_x": _text(moved[0]), "shadow_y": _text(moved[1])}
    return made


def _turned_offset(right: Length, down: Length, change: FrameChange) -> tuple[Length, Length]:
    for _ in range(change.quarter_turns % 4):
        right, down = _scaled(down, -1), right
    if change.flip == "h":
        right = _scaled(right, -1)
    elif change.flip == "v":
        down = _scaled(down, -1)
    return right, down


def _ratio(before: float, after: float, is_percent: bool) -> float:
    """What a length is multiplied by because the size that it is a percentage of has changed."""
    if not (is_percent and before and after):
        return 1.0
    return before / after


def _scaled(length: Length, factor: float) -> Length:
    near = 1.0 if abs(factor - 1) < _SAME_SIZE else factor
    return Length(value=length.value * near, percent=length.percent)


def _limited(length: Length, least: float | None = None) -> Length:
    most = _LARGEST_PERCENT if length.percent else _LONGEST_PIXELS
    return length.model_copy(
        update={"value": min(max(length.value, -most if least is None else least), most)}
    )


def _text(length: Length) -> str:
    return f"{_number(length.value)}{'%' if length.percent else ''}"


def _number(value: float) -> str:
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
