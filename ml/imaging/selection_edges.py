"""Moves the edge of a large picture's selection from the network's grid to the picture's own edges."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.imaging.matting import parts, refinement
from ml.pixels import Mask, Matte, Pixels

Floats = NDArray[np.float32]

# Turns logits into opacities. The wider the range of logits that counts as uncertain, the farther an edge can
# move: with 1, the contours of a test's composites of 12 megapixels were less often within 3 pixels of the
# true ones (0.63 instead of 0.65 of them; 0.49 without refinement).
_UNCERTAINTY = 2.0
_INSIDE = 127
_MAX_EXPONENT = 30


def refine(picture: Pixels, logits: Floats) -> Mask:
    """The selection of `picture` (H x W x 3) whose `logits`, of any size, are above 0: H x W, 0 or 255."""
    exponents = np.clip(logits / -_UNCERTAINTY, -_MAX_EXPONENT, _MAX_EXPONENT)
    matte: Matte = 1 / (1 + np.exp(exponents, dtype=np.float32))
    # Before islands are removed: in places of the object's colour, faint values connect them to the object.
    inside = cv2.threshold(refinement.refine(picture, matte), _INSIDE, 255, cv2.THRESH_BINARY)[1]
    return parts.remove_islands(inside, matte, near_support=0.5)
