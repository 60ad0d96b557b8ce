"""Workflows of one client over HTTP with the real models."""

import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from ml.catalogue import TOOLS
from tests.support.ml.photos import photo, png_bytes
from tests.support.server import RunningServer

STROKE = json.dumps([{"points": [[60, 60], [120, 80]], "size": 20}])

#: One good call of each tool; `image` is the astronaut, 512 x 512.
GOOD_CALLS: dict[str, dict[str, str]] = {
    "bg-removal": {"bg_color": "white"},
    "upscale": {"scale": "2"},
    "generative-fill": {"strokes": STROKE},
    "generative-expand": {"left": "10%"},
    "magic-select": {"points": "[[250,120,1]]"},
    "crop": {"aspect_ratio": "1:1", "gravity": "subject"},
    "brush": {"op": "erase", "strokes": STROKE},
}


def _pixels(client: httpx.Client, data: dict[str, Any]) -> Any:
    return np.asarray(Image.open(io.BytesIO(client.get(data["imageUrl"]).content)))


def _run(client: httpx.Client, tool: str, data: dict[str, str], **files: bytes) -> dict[str, Any]:
    answer = client.post(f"/api/tools/{tool}", data=data, files=files or None)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


def test_a_clicked_object_is_removed_and_the_rest_is_unchanged(server: RunningServer) -> None:
    customer = server.new_customer()
    source = photo("rocket")
    with server.client(customer) as client:
        uploaded = client.post("/api/images", files={"image": png_bytes(source)}).json()["data"]["imageId"]
        selected = _run(client, "magic-select", {"image_id": uploaded, "box": "[308,120,350,415]"})
        mask = _pixels(client, selected)
        filled = _run(client, "generative-fill", {"image_id": uploaded, "mask_id": selected["maskId"]})
        answer = _pixels(client, filled)
    assert answer.shape == source.shape
    far = np.asarray(_distance_from(mask)) > 5 + 8
    assert (answer[far] == source[far]).all()
    # The rocket is bright against the evening sky; what has taken its place is not.
    inside = mask > 0
    assert source[inside].mean() > 1.5 * answer[inside].mean()
    assert server.balance(customer) == (13, 0)


def _distance_from(mask: Any) -> Any:
    import cv2

    return cv2.distanceTransform((mask == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_processes_a_photo_for_one_credit(server: RunningServer, tool: str) -> None:
    customer = server.new_customer()
    with server.client(customer) as client:
        data = _run(client, tool, GOOD_CALLS[tool], image=png_bytes(photo("astronaut")))
        picture = _pixels(client, data)
    assert (picture.shape[1], picture.shape[0]) == (data["width"], data["height"])
    assert data["creditsCharged"] == 1
    assert server.balance(customer) == (14, 0)


@pytest.mark.parametrize(
    ("tool", "form", "status", "code", "param"),
    [
        ("generative-fill", {"strokes": STROKE, "prompt": "a red door"}, 503, "MODEL_UNAVAILABLE", None),
        ("generative-expand", {"left": "10%", "prompt": "a beach"}, 503, "MODEL_UNAVAILABLE", None),
        ("generative-fill", {"mask_id": "img_" + "0" * 22}, 404, "NOT_FOUND", None),
        ("generative-fill", {"strokes": "[]"}, 422, "INVALID_PARAMETER", "strokes"),
        ("generative-fill", {"points": "[[900,900,1]]"}, 422, "INVALID_PARAMETER", "points"),
        ("generative-fill", {}, 422, "INVALID_PARAMETER", "mask"),
        ("magic-select", {"points": "[[NaN,1,1]]"}, 422, "INVALID_PARAMETER", "points"),
        ("magic-select", {"box": "[-5,0,100,100]"}, 422, "INVALID_PARAMETER", "box"),
        ("upscale", {"scale": "5"}, 422, "INVALID_PARAMETER", "scale"),
        ("upscale", {"target_width": "100"}, 422, "INVALID_PARAMETER", "target_width"),
        ("generative-expand", {}, 422, "INVALID_PARAMETER", None),
        ("crop", {"width": "0", "height": "10"}, 422, "INVALID_PARAMETER", "width"),
        ("brush", {"strokes": STROKE}, 422, "INVALID_PARAMETER", "op"),
        ("brush", {"op": "paint", "strokes": STROKE}, 422, "INVALID_PARAMETER", "color"),
        ("bg-removal", {"roi": "500 500 900 900"}, 422, "INVALID_PARAMETER", "roi"),
    ],
)
def test_impossible_requests_are_explained_and_not_charged(
    server: RunningServer, tool: str, form: dict[str, str], status: int, code: str, param: str | None
) -> None:
    customer = server.new_customer()
    with server.client(customer) as client:
        answer = client.post(f"/api/tools/{tool}", data=form, files={"image": png_bytes(photo("astronaut"))})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code), error
    assert param is None or error["param"] == param, error
    assert server.balance(customer) == (15, 0)
