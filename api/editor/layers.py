"""The layers of a cut-out: its foreground as an image of its own, the photo, and the look drawn from both.

They are kept with every step that still shows the cut-out. Retouching changes the foreground and keeps the
look; another look keeps the foreground; cropping changes the foreground and its photo alike. None of them
runs a network, so none is charged.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect
from sqlmodel import col, select

from api.editor.models import Step
from ml.tools.bg_removal_params import BgRemovalParams

#: The id of a stored background image, beside the parameters of the look.
BACKGROUND_ID = "bg_image_id"
#: What determines the cut-out itself. `roi` also limits its edge, so the look keeps it.
_CUTOUT_FIELDS = frozenset({"model", "channels"})
_ENCODING_FIELDS = frozenset({"format", "quality"})


@dataclass(frozen=True)
class Layers:
    """`look`: form fields; `width` and `height`: the size of cut-out and photo in pixels.

    `background_id`: the look's background image, if it was made by cropping and not stored by the user.
    """

    cutout_id: str
    photo_id: str
    width: int
    height: int
    look: Mapping[str, str] = field(default_factory=dict)
    background_id: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the look is the stored cut-out as it is."""
        if BACKGROUND_ID in self.look:
            return False
        changed = BgRemovalParams.model_validate(self.look).model_copy(update={"roi": None})
        return changed == BgRemovalParams()

    def with_cutout(self, cutout_id: str) -> "Layers":
        return replace(self, cutout_id=cutout_id)

    def with_look(self, look: Mapping[str, str]) -> "Layers":
        """These layers with another look of the same cut-out, whose region cannot change."""
        changed = {name: text for name, text in look_of(look).items() if name != "roi"}
        region = {"roi": self.look["roi"]} if "roi" in self.look else {}
        is_kept = changed.get(BACKGROUND_ID) == self.background_id
        return replace(
            self, look={**changed, **region}, background_id=self.background_id if is_kept else None
        )


def layers_of(step: Step) -> Layers | None:
    """The step's layers; None if it does not show a cut-out that can still be changed."""
    if step.cutout_id is None or step.photo_id is None:
        return None
    look: dict[str, str] = json.loads(step.look or "{}")
    width, height = step.photo_width or 0, step.photo_height or 0
    return Layers(step.cutout_id, step.photo_id, width, height, look, step.background_id)


def look_of(form: Mapping[str, str]) -> dict[str, str]:
    """The fields of a background removal that its cut-out is not made from."""
    fixed = _CUTOUT_FIELDS | _ENCODING_FIELDS
    return {name: text for name, text in form.items() if text and name not in fixed}


def columns_of(layers: Layers | None) -> dict[str, Any]:
    """The columns of `Step` that hold the layers."""
    if layers is None:
        return {}
    return {
        "cutout_id": layers.cutout_id,
        "photo_id": layers.photo_id,
        "photo_width": layers.width,
        "photo_height": layers.height,
        "look": json.dumps(dict(layers.look)),
        "background_id": layers.background_id,
    }


def image_ids_of(condition: ColumnElement[bool]) -> CompoundSelect[str]:
    """The ids of all images of the steps that fulfil the condition, those of their layers included."""
    shown = select(Step.image_id).where(condition)
    layers = (
        select(column).where(column.is_not(None), condition)
        for column in (col(Step.cutout_id), col(Step.photo_id), col(Step.background_id))
    )
    return shown.union(*layers)
