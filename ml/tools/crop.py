"""Crop: cut a picture to a box."""

from ml.params import LengthField, Params
from ml.pixels import Picture
from ml.tool import Context, Outcome, Tool


class CropParams(Params):
    x: LengthField | None = None
    y: LengthField | None = None
    width: LengthField | None = None
    height: LengthField | None = None


def run(source: Picture, params: CropParams, context: Context) -> Outcome:
    left = params.x.pixels(source.width) if params.x else 0
    top = params.y.pixels(source.height) if params.y else 0
    width = params.width.pixels(source.width) if params.width else source.width - left
    height = params.height.pixels(source.height) if params.height else source.height - top
    return Outcome(source.pixels[top : top + height, left : left + width])


TOOL = Tool("crop", "Crop", "Cut a picture to a box, a shape or its content.", CropParams, run)
